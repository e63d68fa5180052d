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
