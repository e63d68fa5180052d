"""When a task runs out of time, and what becomes of it then."""

from dataclasses import replace
from typing import Any

import pytest

from tailrace.server.domain.deadline import (
    EXECUTION_GRACE_MS,
    DeadlineFailures,
    deadline_of,
    has_but_overrun,
    is_overdue,
    miss_deadline,
)
from tailrace.server.domain.lease import EXECUTION_TIMEOUT_TYPE, lose, release
from tailrace.server.domain.retry import JITTER_STEPS, RetryPolicy
from tailrace.server.domain.task import Place, TaskRecord, TaskState, finish, revoke, wait_until_due
from tests.unit.domain.records import NOW_MS, a_delivered, a_record, a_started, token_of, with_counts

FAILURES = DeadlineFailures(start=b"start", execution=b"execution", total=b"total")
ALL_TIMES: dict[str, Any] = {"start_within_ms": 20, "execution_timeout_ms": 300, "total_timeout_ms": 50_000}


def missed(record: TaskRecord, *, jitter: int = 0, now_ms: int | None = None) -> TaskRecord:
    """Act at the very deadline, or later."""
    deadline_ms = deadline_of(record)
    assert deadline_ms is not None
    return miss_deadline(record, FAILURES, jitter=jitter, now_ms=deadline_ms if now_ms is None else now_ms)


def released(record: TaskRecord) -> TaskRecord:
    back = release(record, token_of(record), delay_ms=0, failure=b"lost", now_ms=NOW_MS)
    assert back is not None
    return back


@pytest.mark.parametrize("record", [a_record(), a_record(start_delay_ms=5), a_delivered(), a_started()])
def test_a_task_without_time_limits_has_no_deadline(record: TaskRecord) -> None:
    assert deadline_of(record) is None
    assert not is_overdue(record, now_ms=NOW_MS + 10**12)


@pytest.mark.parametrize(
    ("record", "deadline_ms"),
    [
        (a_record(start_within_ms=20), NOW_MS + 20),
        (a_record(start_within_ms=20, start_delay_ms=5), NOW_MS + 25),
        (a_delivered(start_within_ms=20), None),
        (a_started(start_within_ms=20), None),
        (released(a_delivered(start_within_ms=20)), NOW_MS + 20),
        (released(a_started(start_within_ms=20)), NOW_MS + 20),
        (lose(a_delivered(start_within_ms=20), failure=b"lost", now_ms=NOW_MS), NOW_MS + 20),
        (lose(a_started(start_within_ms=20), failure=b"lost", now_ms=NOW_MS), None),
    ],
    ids=[
        "ready", "scheduled", "delivered", "started", "released", "released after its start", "lost delivery",
        "lost lease",
    ],
)  # fmt: skip
def test_a_start_deadline_holds_for_what_is_pending_and_not_being_delivered(
    record: TaskRecord, deadline_ms: int | None
) -> None:
    assert deadline_of(record) == deadline_ms


def test_an_execution_timeout_holds_from_the_start_of_each_attempt_with_a_grace_for_the_worker() -> None:
    started = replace(a_started(execution_timeout_ms=300), start_ms=NOW_MS + 7)

    assert deadline_of(started) == NOW_MS + 307 + EXECUTION_GRACE_MS
    for not_running in (a_record(execution_timeout_ms=300), a_delivered(execution_timeout_ms=300), released(started)):
        assert deadline_of(not_running) is None


@pytest.mark.parametrize(
    "record",
    [
        a_record(total_timeout_ms=700),
        a_record(total_timeout_ms=700, start_delay_ms=5),
        a_delivered(total_timeout_ms=700),
        a_started(total_timeout_ms=700),
        lose(a_started(total_timeout_ms=700), failure=b"lost", now_ms=NOW_MS + 9),
    ],
    ids=["ready", "scheduled", "delivered", "started", "retried"],
)
def test_a_total_timeout_holds_from_acceptance_wherever_a_task_stands(record: TaskRecord) -> None:
    assert deadline_of(record) == NOW_MS + 700

    ended = missed(record)

    assert (ended.state, ended.place, ended.failure) == (TaskState.FAILURE, Place.DONE, b"total")
    assert (ended.revision, ended.update_ms, ended.lease_token) == (record.revision + 1, NOW_MS + 700, None)


@pytest.mark.parametrize("state", [TaskState.SUCCESS, TaskState.FAILURE, TaskState.REVOKED])
def test_a_task_that_is_done_has_no_deadline(state: TaskState) -> None:
    done = finish(a_started(**ALL_TIMES), state, now_ms=NOW_MS)

    assert deadline_of(done) is None
    assert not is_overdue(done, now_ms=NOW_MS + 10**12)


@pytest.mark.parametrize(
    ("times", "deadline_ms"),
    [
        ({"start_within_ms": 20, "total_timeout_ms": 30}, NOW_MS + 20),
        ({"start_within_ms": 30, "total_timeout_ms": 20}, NOW_MS + 20),
    ],
)
def test_the_first_of_several_deadlines_counts(times: dict[str, int], deadline_ms: int) -> None:
    assert deadline_of(a_record(**times)) == deadline_ms


def test_a_deadline_is_missed_from_the_very_millisecond() -> None:
    record = a_record(start_within_ms=20)

    assert not is_overdue(record, now_ms=NOW_MS + 19)
    assert is_overdue(record, now_ms=NOW_MS + 20)


@pytest.mark.parametrize("delay_ms", [0, 5])
def test_what_did_not_start_in_time_is_revoked(delay_ms: int) -> None:
    record = a_record(start_within_ms=20, start_delay_ms=delay_ms)

    ended = missed(record)

    assert (ended.state, ended.place, ended.failure) == (TaskState.REVOKED, Place.DONE, b"start")
    assert (ended.request, ended.due_ms) == (record.request, None)


def test_of_both_a_missed_start_and_the_total_timeout_the_total_one_is_told() -> None:
    ended = missed(a_record(start_within_ms=20, total_timeout_ms=30), now_ms=NOW_MS + 30)

    assert (ended.state, ended.failure) == (TaskState.FAILURE, b"total")


def test_of_both_an_overrun_and_the_total_timeout_the_total_one_is_told() -> None:
    record = a_started(execution_timeout_ms=1, total_timeout_ms=2, retry_policy=RetryPolicy(max_attempts=9))

    ended = missed(record, now_ms=NOW_MS + 2 * EXECUTION_GRACE_MS)

    assert (ended.state, ended.failure) == (TaskState.FAILURE, b"total")


def test_an_attempt_that_ran_too_long_has_failed() -> None:
    record = with_counts(a_started(execution_timeout_ms=300), lost_leases=2, releases=7)

    ended = missed(record)

    assert (ended.state, ended.failure, ended.lease_token) == (TaskState.FAILURE, b"execution", None)
    assert (ended.failed_attempts, ended.lost_leases, ended.releases) == (1, 0, 0)


def test_it_is_tried_again_as_the_submitters_policy_says() -> None:
    policy = RetryPolicy(max_attempts=2, initial_backoff_ms=1_000)
    record = a_started(execution_timeout_ms=300, retry_policy=policy)
    now_ms = NOW_MS + 300 + EXECUTION_GRACE_MS

    soonest, latest = missed(record, jitter=0), missed(record, jitter=JITTER_STEPS)

    assert (soonest.state, soonest.place, soonest.last_failure) == (TaskState.RETRY, Place.SCHEDULE, b"execution")
    assert (soonest.due_ms, latest.due_ms) == (now_ms + 500, now_ms + 1_000)
    assert (soonest.failure, soonest.lease_token, soonest.revision) == (None, None, record.revision + 1)


def test_it_is_not_tried_again_where_the_policy_names_the_timeout() -> None:
    policy = RetryPolicy(max_attempts=2, non_retryable_types=(EXECUTION_TIMEOUT_TYPE,))

    ended = missed(a_started(execution_timeout_ms=300, retry_policy=policy))

    assert (ended.state, ended.failure) == (TaskState.FAILURE, b"execution")


def test_the_last_attempt_that_is_allowed_is_not_tried_again() -> None:
    policy = RetryPolicy(max_attempts=2)
    record = with_counts(a_started(execution_timeout_ms=300, retry_policy=policy), failed_attempts=1)

    assert missed(record).state is TaskState.FAILURE


def test_an_attempt_that_ended_by_itself_is_not_ended_again() -> None:
    record = wait_until_due(replace(a_started(execution_timeout_ms=300), state=TaskState.RETRY), 0, now_ms=NOW_MS)

    assert deadline_of(record) is None


@pytest.mark.parametrize("times", [{"execution_timeout_ms": 300}, {"total_timeout_ms": 300}])
def test_a_task_that_was_asked_to_stop_ends_as_it_was_asked_to(times: dict[str, int]) -> None:
    policy = RetryPolicy(max_attempts=9)
    asked = revoke(a_started(retry_policy=policy, **times), b"stop", is_forced=False, now_ms=NOW_MS)

    ended = missed(asked)

    assert (ended.state, ended.failure, ended.revocation) == (TaskState.REVOKED, b"stop", None)


@pytest.mark.parametrize(
    ("record", "has_but"),
    [
        (a_started(execution_timeout_ms=300), True),
        (a_started(execution_timeout_ms=300, total_timeout_ms=20), False),
        (a_started(execution_timeout_ms=300, total_timeout_ms=21), True),
        (a_record(start_within_ms=20), False),
        (a_delivered(total_timeout_ms=20), False),
    ],
)
def test_only_a_running_attempt_with_time_left_in_all_has_but_overrun(record: TaskRecord, has_but: bool) -> None:
    assert has_but_overrun(record, now_ms=NOW_MS + 20) is has_but
