"""Deliveries and who takes them, everything filled in that a test does not care about."""

from collections.abc import Sequence

from tailrace.server.dispatch.holders import Holders
from tailrace.server.dispatch.session import WorkerSession
from tailrace.server.store.changes import LeaseNews
from tailrace.server.store.values import Delivery
from tests.unit.server.messages import a_submit

NOW_MS = 1_800_000_000_000


def a_delivery(
    number: int = 1,
    *,
    request: bytes | None = None,
    last_failure: bytes | None = None,
    task_id: str | None = None,
    input_bytes: int = 0,
    progress: bytes | None = None,
) -> Delivery:
    return Delivery(
        task_id=task_id or f"task-{number}",
        lease_token=number.to_bytes(12, "big"),
        request=a_submit().SerializeToString() if request is None else request,
        attempt=1,
        lease_ms=30_000,
        lease_expire_ms=NOW_MS + 10_000,
        create_ms=NOW_MS,
        last_failure=last_failure,
        input_bytes=input_bytes,
        progress=progress,
    )


def deliveries(*numbers: int) -> list[Delivery]:
    return [a_delivery(number) for number in numbers]


def key_of(delivery: Delivery) -> tuple[str, bytes]:
    return delivery.task_id, delivery.lease_token


class Wakes:
    """Counts how often a session said that it was assigned something."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


def unheard(_: LeaseNews) -> None:
    """Take news that a test has no part in."""


def a_session(
    *,
    max_outstanding: int = 10,
    max_bytes: int = 0,
    queues: Sequence[str] = ("default",),
    told: list[LeaseNews] | None = None,
    holders: Holders | None = None,
) -> WorkerSession:
    """Make a session with credit; ``told`` takes the news that it passes on."""
    session = WorkerSession(
        session_id="s",
        worker_id="w",
        queues=tuple(queues),
        holders=Holders() if holders is None else holders,
        on_assigned=Wakes(),
        on_news=([] if told is None else told).append,
    )
    session.set_max_outstanding(max_outstanding, max_bytes)
    return session
