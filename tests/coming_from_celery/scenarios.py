"""What both shops are asked to do, and what has to come of it."""

from dataclasses import dataclass
from typing import Any

Seen = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One function of `celery_calls.py` and `tailrace_calls.py`."""

    name: str
    celery: Seen
    """What Celery's caller has to see."""
    tailrace: Seen
    arguments: tuple[str, ...] = ()
    place: str | None = None
    """Where its task leaves a mark at each attempt, under the function's first argument."""
    attempts: tuple[int, int] = (1, 1)
    """How many of them there have to be with Celery, and how many with Tailrace."""
    rests_s: tuple[tuple[float, float], ...] = ()
    """How long Celery and Tailrace have to wait at least before each further attempt."""


def same(name: str, *arguments: str, seen: Seen, **rest: Any) -> Scenario:
    """Expect one outcome of both."""
    return Scenario(name=name, arguments=arguments, celery=seen, tailrace=seen, **rest)


def different(name: str, *arguments: str, celery: Seen, tailrace: Seen, **rest: Any) -> Scenario:
    """Expect what `docs/coming_from_celery.md` says of each."""
    return Scenario(name=name, arguments=arguments, celery=celery, tailrace=tailrace, **rest)


def success(value: object) -> Seen:
    return {"value": value, "state": "SUCCESS"}


def failure(error: str, message: str) -> Seen:
    return {"error": error, "message": message, "state": "FAILURE"}


def revoked(message: str) -> Seen:
    return {"error": "TaskRevokedError", "message": message, "state": "REVOKED"}


NO_PAPER = "no 500 sheets left"

SCENARIOS = [
    same("plain_result", seen=success(87)),
    # Celery waits the whole backoff, Tailrace between half of it and all of it.
    same(
        "retried_with_backoff",
        "a-photo",
        seen=success("the photo from a-photo"),
        place="photo-host",
        attempts=(3, 3),
        rests_s=((1, 0.5), (2, 1)),
    ),
    same(
        "retried_when_the_task_says",
        "an-order",
        seen=success("charged an-order"),
        place="bank",
        attempts=(3, 3),
        rests_s=((1, 1), (1, 1)),
    ),
    same(
        "retried_too_often",
        "an-order",
        seen=failure("ConnectionError", "nobody takes the mail about an-order"),
        place="mail-server",
        attempts=(3, 3),
    ),
    different(
        "ended_at_its_hard_limit",
        celery=failure("TimeLimitExceeded", "TimeLimitExceeded(1,)"),
        tailrace=failure(
            "TaskFailedError", "ExecutionTimeout: the attempt ran longer than its execution_timeout of 1 s"
        ),
    ),
    same(
        "after_a_countdown",
        "soon",
        seen=success("reminded of soon") | {"waited": True},
        place="customer",
    ),
    same(
        "at_an_eta",
        "then",
        seen=success("reminded of then") | {"waited": True},
        place="customer",
    ),
    different(
        "revoked_before_its_time",
        "never",
        celery={"answer": None} | revoked("revoked"),
        tailrace={"answer": "REVOKED"} | revoked("not wanted"),
        place="customer",
        attempts=(0, 0),
    ),
    different("revoked_while_it_runs", "a-blurred-roll", celery=revoked("terminated"), tailrace=revoked("not wanted")),
    different(
        "watched_while_it_runs",
        "a-roll",
        celery={"state then": "PROGRESS", "progress": {"current": 4, "total": 4}} | success("4 frames of a-roll"),
        tailrace={"state then": "STARTED", "progress": {"current": 4, "total": 4}} | success("4 frames of a-roll"),
    ),
    same("many_at_once", seen={"values": [87, 29, 58]}),
    same("many_of_which_one_fails", seen={"raised": NO_PAPER, "all": ["87", f"OutOfStockError('{NO_PAPER}')", "29"]}),
    same(
        "own_exception",
        seen={
            "caught": NO_PAPER,
            "traceback": f"examples.from_celery.outside.OutOfStockError: {NO_PAPER}",
            "state": "FAILURE",
        },
    ),
    same("with_headers", "ada", seen={"id is the task's": True, "attempt": 1, "queue": "shop", "visitor": "ada"}),
    same("to_another_queue", seen={"queue": "printer"}),
    same(
        "sent_twice_with_one_id",
        "an-order",
        seen={"receipts": ["receipt-an-order", "receipt-an-order"]},
        place="receipts",
        attempts=(2, 1),
    ),
    same("one_after_the_other", "a-slide", seen=success("a print of the photo from a-slide"), place="photo-host"),
    different(
        "forgotten",
        celery={"error": "TimeoutError", "state": "PENDING"},
        tailrace={"error": "TaskNotFoundError"},
    ),
    different(
        "unknown",
        celery={"error": "TimeoutError", "state": "PENDING"},
        tailrace={"error": "TaskNotFoundError"},
    ),
    different(
        "of_a_type_that_nobody_knows",
        celery={"error": "NotRegistered", "state": "FAILURE"},
        tailrace={"state": "RETRY"},
    ),
]
