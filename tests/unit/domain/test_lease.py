"""The life of a lease, rule by rule; what stores make of them is in tests/store."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.server.domain.lease import (
    DELIVERY_LEASE_MS,
    RELEASES_PER_LOST_LEASE,
    AttemptEnd,
    beat,
    deliver,
    end_attempt,
    holds,
    lease_token,
    lose,
    overrun,
    release,
    start,
)
from tailrace.server.domain.retry import RetryPolicy
from tailrace.server.domain.task import Place, TaskRecord, TaskState
from tests.unit.domain.records import NONCE, NOW_MS, a_delivered, a_record, a_started, token_of, with_counts

Rule = Callable[[TaskRecord, bytes], object]
LOST = b"lost"
RULES: dict[str, Rule] = {
    "beat": lambda record, token: beat(record, token, is_waiting=False, now_ms=NOW_MS),
    "waiting beat": lambda record, token: beat(record, token, is_waiting=True, now_ms=NOW_MS),
    "end": lambda record, token: end_attempt(record, a_failure(record, token), now_ms=NOW_MS),
    "release": lambda record, token: release(record, token, delay_ms=0, failure=LOST, now_ms=NOW_MS),
}


def a_failure(record: TaskRecord, token: bytes | None = None, **fields: Any) -> AttemptEnd:
    end = AttemptEnd(
        task_id=record.task_id,
        lease_token=token_of(record) if token is None else token,
        state=TaskState.FAILURE,
        failure=b"broken",
        failure_type="ValueError",
    )
    return replace(end, **fields)


def ended(record: TaskRecord, end: AttemptEnd) -> TaskRecord:
    outcome = end_attempt(record, end, now_ms=NOW_MS)
    assert outcome is not None
    return outcome.record


def test_a_token_is_the_number_of_the_delivery_and_a_nonce() -> None:
    assert lease_token(1, NONCE) == b"\0\0\0\1" + NONCE
    assert len(lease_token(2**32 - 1, NONCE)) == 12


def test_a_delivery_changes_neither_state_nor_revision_nor_attempt() -> None:
    ready = a_record()

    delivered = deliver(ready, nonce=NONCE, start_immediately=False, now_ms=NOW_MS)

    assert (delivered.place, delivered.delivery_count) == (Place.LEASE, 1)
    assert (delivered.lease_token, delivered.lease_expire_ms) == (lease_token(1, NONCE), NOW_MS + DELIVERY_LEASE_MS)
    assert (delivered.state, delivered.revision, delivered.attempt) == (ready.state, ready.revision, ready.attempt)


def test_a_start_counts_the_attempt_and_gives_the_full_lease() -> None:
    started = start(a_delivered(lease_ms=45_000), now_ms=NOW_MS + 3)

    assert (started.state, started.attempt, started.revision) == (TaskState.STARTED, 1, 2)
    assert (started.update_ms, started.lease_expire_ms) == (NOW_MS + 3, NOW_MS + 3 + 45_000)


def test_each_attempt_has_its_own_start() -> None:
    first = start(a_delivered(), now_ms=NOW_MS + 3)
    again = deliver(lose(first, failure=LOST, now_ms=NOW_MS), nonce=NONCE, start_immediately=False, now_ms=NOW_MS)

    assert a_delivered().start_ms is None
    assert (first.start_ms, again.start_ms) == (NOW_MS + 3, NOW_MS + 3)
    assert start(again, now_ms=NOW_MS + 9).start_ms == NOW_MS + 9


def test_a_delivery_that_starts_at_once_has_the_full_lease() -> None:
    record = a_record(lease_ms=45_000)

    delivered = deliver(record, nonce=NONCE, start_immediately=True, now_ms=NOW_MS, worker_id="w-1")

    assert (delivered.state, delivered.attempt, delivered.start_ms) == (TaskState.STARTED, 1, NOW_MS)
    assert (delivered.lease_expire_ms, delivered.worker_id) == (NOW_MS + 45_000, "w-1")


def beaten(record: TaskRecord, *, is_waiting: bool = False, now_ms: int = NOW_MS, **said: Any) -> TaskRecord:
    kept = beat(record, token_of(record), is_waiting=is_waiting, now_ms=now_ms, **said)
    assert kept is not None
    return kept


def test_who_runs_a_task_is_known_from_the_delivery_or_else_from_a_beat() -> None:
    named = deliver(a_record(), nonce=NONCE, start_immediately=False, now_ms=NOW_MS, worker_id="w-1")

    assert a_delivered().worker_id == ""
    assert beaten(a_delivered(), worker_id="w-2").worker_id == "w-2"
    assert beaten(a_delivered(), is_waiting=True, worker_id="w-2").worker_id == "w-2"
    assert [beaten(named).worker_id, beaten(named, worker_id="w-2").worker_id] == ["w-1", "w-2"]


def test_the_first_beat_that_is_not_waiting_starts_the_attempt_and_the_next_extend_it() -> None:
    waiting = beaten(a_delivered(lease_ms=45_000), is_waiting=True, now_ms=NOW_MS + 1)
    first = beaten(waiting, now_ms=NOW_MS + 2)
    second = beaten(first, now_ms=NOW_MS + 3)
    late = beaten(second, is_waiting=True, now_ms=NOW_MS + 4)

    assert [r.attempt for r in (waiting, first, second, late)] == [0, 1, 1, 1]
    assert [r.revision for r in (waiting, first, second, late)] == [1, 2, 2, 2]
    assert waiting.lease_expire_ms == NOW_MS + 1 + DELIVERY_LEASE_MS
    assert [r.lease_expire_ms for r in (first, second, late)] == [NOW_MS + 45_000 + at for at in (2, 3, 4)]


def test_progress_replaces_what_was_said_before_and_changes_no_state() -> None:
    started = a_started()

    half = beaten(started, progress=b"half")
    silent = beaten(half)

    assert (half.progress, silent.progress) == (b"half", b"half")
    assert beaten(half, progress=b"most").progress == b"most"
    assert (half.state, half.revision, half.update_ms) == (started.state, started.revision, started.update_ms)


def test_progress_counts_from_the_beat_that_starts_the_attempt() -> None:
    assert beaten(a_delivered(), is_waiting=True, progress=b"none yet").progress is None
    assert beaten(a_delivered(), progress=b"half").progress == b"half"


@pytest.mark.parametrize(
    "leave",
    [
        lambda record: lose(record, failure=LOST, now_ms=NOW_MS),
        lambda record: release(record, token_of(record), delay_ms=0, failure=LOST, now_ms=NOW_MS),
        lambda record: ended(record, a_failure(record, default_retry_policy=RetryPolicy(max_attempts=2))),
    ],
    ids=["lost", "released", "failed"],
)
def test_progress_goes_on_to_the_next_attempt(leave: Callable[[TaskRecord], TaskRecord]) -> None:
    half = beaten(a_started(), progress=b"half")

    again = deliver(leave(half), nonce=NONCE, start_immediately=False, now_ms=NOW_MS)

    assert again.progress == b"half"


def test_a_success_ends_what_was_asked_to_stop_in_success_and_nothing_else_does() -> None:
    asked = replace(a_started(), revocation=b"stop")
    token = token_of(asked)
    policy = RetryPolicy(max_attempts=9)

    success = ended(asked, a_failure(asked, state=TaskState.SUCCESS, result=b"3", failure=None))
    others = [
        ended(asked, a_failure(asked, default_retry_policy=policy)),
        lose(asked, failure=LOST, now_ms=NOW_MS),
        release(asked, token, delay_ms=0, failure=LOST, now_ms=NOW_MS),
    ]

    assert (success.state, success.result, success.revocation) == (TaskState.SUCCESS, b"3", None)
    assert [other and (other.state, other.failure) for other in others] == [(TaskState.REVOKED, b"stop")] * 3


@pytest.mark.parametrize(("delay_ms", "state"), [(499, TaskState.RETRY), (500, TaskState.FAILURE)])
def test_a_retry_that_would_come_after_the_total_timeout_is_not_waited_for(delay_ms: int, state: TaskState) -> None:
    record = a_started(total_timeout_ms=500, retry_policy=RetryPolicy(max_attempts=2))

    after = ended(record, a_failure(record, next_retry_delay_ms=delay_ms))

    assert after.state is state
    assert (after.failure or after.last_failure) == b"broken"


def test_a_backoff_beyond_the_total_timeout_is_not_waited_for_either() -> None:
    policy = RetryPolicy(max_attempts=2, initial_backoff_ms=1_000)
    record = a_started(total_timeout_ms=500, execution_timeout_ms=1, retry_policy=policy)

    after = overrun(record, failure=b"ran too long", jitter=0, now_ms=NOW_MS)

    assert (after.state, after.failure) == (TaskState.FAILURE, b"ran too long")


def test_a_lease_lost_after_the_total_timeout_is_the_end() -> None:
    lost = lose(a_started(total_timeout_ms=500), failure=LOST, now_ms=NOW_MS + 500)

    assert (lost.state, lost.failure) == (TaskState.FAILURE, LOST)


@pytest.mark.parametrize("late_ms", [0, 10**9])
def test_a_result_that_comes_before_anybody_acted_on_the_deadline_is_taken(late_ms: int) -> None:
    record = a_started(total_timeout_ms=500, execution_timeout_ms=1)
    end = a_failure(record, state=TaskState.SUCCESS, result=b"3", failure=None)

    outcome = end_attempt(record, end, now_ms=NOW_MS + 500 + late_ms)

    assert outcome is not None
    assert outcome.state is TaskState.SUCCESS


def test_the_number_of_a_delivery_only_grows() -> None:
    record = a_record()
    for number in range(1, 5):
        record = deliver(record, nonce=NONCE, start_immediately=False, now_ms=NOW_MS)
        assert token_of(record)[:4] == number.to_bytes(4, "big")
        record = lose(record, failure=LOST, now_ms=NOW_MS)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("held", [a_delivered(), a_started()], ids=["delivered", "started"])
def test_no_rule_takes_a_token_that_is_not_the_current_one(name: str, held: TaskRecord) -> None:
    older = lease_token(0, NONCE)
    foreign = lease_token(1, b"another!")

    for token in (older, foreign, b"", token_of(held)[:-1]):
        assert RULES[name](held, token) is None
    assert RULES[name](held, token_of(held)) is not None


@pytest.mark.parametrize("name", RULES)
def test_no_rule_takes_a_token_of_a_task_that_nobody_holds(name: str) -> None:
    held = a_started()

    for record in (a_record(), lose(held, failure=LOST, now_ms=NOW_MS)):
        assert not holds(record, token_of(held))
        assert RULES[name](record, token_of(held)) is None


def test_no_missing_token_ever_matches_a_missing_token() -> None:
    assert not holds(a_record(), b"")


@given(st.integers(0, 99), st.integers(0, 2), st.integers(0, 9))
def test_a_failed_attempt_forgets_losses_and_releases(releases: int, lost_leases: int, failed: int) -> None:
    record = with_counts(a_started(), releases=releases, lost_leases=lost_leases, failed_attempts=failed)
    policy = RetryPolicy(max_attempts=100)

    after = ended(record, a_failure(record, default_retry_policy=policy))

    assert (after.releases, after.lost_leases, after.failed_attempts) == (0, 0, failed + 1)
    assert (after.state, after.last_failure) == (TaskState.RETRY, b"broken")


def test_the_submitters_policy_decides_where_there_is_one() -> None:
    patient, strict = RetryPolicy(max_attempts=2), RetryPolicy(max_attempts=1)
    record = a_started(retry_policy=strict)
    free = a_started()

    assert ended(record, a_failure(record, default_retry_policy=patient)).state is TaskState.FAILURE
    assert ended(free, a_failure(free, default_retry_policy=patient)).state is TaskState.RETRY
    assert ended(free, a_failure(free)).state is TaskState.FAILURE


def test_an_end_is_known_again_by_its_token() -> None:
    record = a_started()
    end = a_failure(record)
    first = ended(record, end)

    again = end_attempt(first, end, now_ms=NOW_MS + 1)

    assert again is not None
    assert (again.record, again.state, again.is_duplicate) == (first, TaskState.FAILURE, True)


def test_an_end_before_the_start_counts_as_both() -> None:
    delivered = a_delivered()
    end = replace(a_failure(delivered), state=TaskState.SUCCESS, result=b"3", failure=None)

    done = ended(delivered, end)

    assert (done.state, done.attempt, done.revision) == (TaskState.SUCCESS, 1, 3)


def test_a_lost_lease_is_no_failed_attempt() -> None:
    lost = lose(a_started(), failure=LOST, now_ms=NOW_MS + 4)

    assert (lost.state, lost.place, lost.last_failure) == (TaskState.RETRY, Place.READY, LOST)
    assert (lost.lost_leases, lost.failed_attempts, lost.attempt) == (1, 0, 1)


@pytest.mark.parametrize("max_lost_leases", [1, 2, 3, 7])
def test_the_last_loss_in_a_row_that_is_allowed_is_final(max_lost_leases: int) -> None:
    record = with_counts(a_started(max_lost_leases=max_lost_leases), lost_leases=max_lost_leases - 1)

    lost = lose(record, failure=LOST, now_ms=NOW_MS)

    assert (lost.state, lost.place, lost.failure, lost.last_failure) == (TaskState.FAILURE, Place.DONE, LOST, None)


def test_a_lost_delivery_is_no_lost_lease() -> None:
    delivered = a_delivered(max_lost_leases=1)

    lost = lose(delivered, failure=LOST, now_ms=NOW_MS + 4)

    assert (lost.state, lost.place, lost.lost_leases) == (TaskState.PENDING, Place.READY, 0)
    assert (lost.revision, lost.update_ms) == (delivered.revision, delivered.update_ms)


def test_a_release_takes_back_the_attempt_that_was_started_and_no_other() -> None:
    started, delivered = with_counts(a_started(), attempt=4), with_counts(a_delivered(), attempt=3)

    attempts = [release(r, token_of(r), delay_ms=0, failure=LOST, now_ms=NOW_MS) for r in (started, delivered)]

    assert [record and (record.attempt, record.revision) for record in attempts] == [(3, 3), (3, 1)]


@pytest.mark.parametrize(
    ("counts", "state"),
    [
        ({}, TaskState.PENDING),
        ({"failed_attempts": 1}, TaskState.RETRY),
        ({"lost_leases": 1}, TaskState.RETRY),
    ],
)
def test_a_released_task_is_pending_unless_an_attempt_was_failed_or_lost(
    counts: dict[str, int], state: TaskState
) -> None:
    record = with_counts(a_started(), **counts)

    back = release(record, token_of(record), delay_ms=0, failure=LOST, now_ms=NOW_MS)

    assert back is not None
    assert (back.state, back.place, back.releases) == (state, Place.READY, 1)


def test_the_hundredth_release_in_a_row_is_a_lost_lease() -> None:
    record = with_counts(a_started(), releases=RELEASES_PER_LOST_LEASE - 1)

    back = release(record, token_of(record), delay_ms=50, failure=LOST, now_ms=NOW_MS)

    assert back is not None
    assert (back.state, back.lost_leases, back.releases, back.last_failure) == (TaskState.RETRY, 1, 0, LOST)
    assert (back.place, back.due_ms, back.attempt) == (Place.SCHEDULE, NOW_MS + 50, 0)
