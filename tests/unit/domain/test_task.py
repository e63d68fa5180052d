"""The record of a task: accepted, moved, ended, expired."""

from dataclasses import replace

import pytest

from tailrace.server.domain.task import (
    UNKEPT_RESULT_TTL_MS,
    Place,
    TaskRecord,
    TaskState,
    finish,
    revoke,
    snapshot_of,
    wait_until_due,
)
from tests.unit.domain.records import NOW_MS, a_delivered, a_record, a_started


def test_three_states_are_terminal_and_three_are_not() -> None:
    assert {state for state in TaskState if state.is_done} == {TaskState.SUCCESS, TaskState.FAILURE, TaskState.REVOKED}


def test_a_new_task_is_pending_and_ready_at_its_first_revision() -> None:
    record = a_record()

    assert (record.state, record.place, record.revision, record.due_ms) == (TaskState.PENDING, Place.READY, 1, None)
    assert (record.create_ms, record.update_ms, record.attempt) == (NOW_MS, NOW_MS, 0)


def test_a_new_task_with_a_delay_is_on_the_schedule_until_it_is_over() -> None:
    record = a_record(start_delay_ms=70)

    assert (record.state, record.place, record.due_ms) == (TaskState.PENDING, Place.SCHEDULE, NOW_MS + 70)


def test_a_new_task_may_name_the_time_of_its_start() -> None:
    record = a_record(schedule_ms=NOW_MS + 70)

    assert (record.state, record.place, record.due_ms) == (TaskState.PENDING, Place.SCHEDULE, NOW_MS + 70)


@pytest.mark.parametrize("schedule_ms", [0, NOW_MS - 1, NOW_MS])
def test_a_start_in_the_past_is_a_start_now(schedule_ms: int) -> None:
    record = a_record(schedule_ms=schedule_ms)

    assert (record.place, record.due_ms) == (Place.READY, None)


@pytest.mark.parametrize(
    ("times", "start_deadline_ms"),
    [
        ({}, None),
        ({"start_deadline_ms": NOW_MS + 3}, NOW_MS + 3),
        ({"start_within_ms": 40}, NOW_MS + 40),
        ({"start_within_ms": 40, "start_delay_ms": 7}, NOW_MS + 47),
        ({"start_within_ms": 40, "schedule_ms": NOW_MS + 9}, NOW_MS + 49),
        ({"start_within_ms": 40, "schedule_ms": NOW_MS - 9}, NOW_MS + 40),
        ({"start_within_ms": 0}, NOW_MS),
    ],
)
def test_the_latest_start_is_counted_from_the_earliest(times: dict[str, int], start_deadline_ms: int | None) -> None:
    assert a_record(**times).start_deadline_ms == start_deadline_ms


@pytest.mark.parametrize("start_delay_ms", [0, 50])
def test_the_total_timeout_is_counted_from_acceptance(start_delay_ms: int) -> None:
    record = a_record(total_timeout_ms=900, start_delay_ms=start_delay_ms)

    assert record.total_deadline_ms == NOW_MS + 900
    assert a_record().total_deadline_ms is None


@pytest.mark.parametrize(("delay_ms", "place", "due_ms"), [(0, Place.READY, None), (5, Place.SCHEDULE, NOW_MS + 5)])
def test_a_task_that_waits_is_held_by_nobody(delay_ms: int, place: Place, due_ms: int | None) -> None:
    started = a_started()

    record = wait_until_due(started, delay_ms, now_ms=NOW_MS)

    assert (record.place, record.due_ms) == (place, due_ms)
    assert (record.lease_token, record.lease_expire_ms) == (None, None)
    assert (record.state, record.revision) == (started.state, started.revision)


def test_a_success_keeps_the_head_of_its_request_and_drops_the_input() -> None:
    record = finish(a_started(), TaskState.SUCCESS, now_ms=NOW_MS, result=b"3")

    assert (record.request, record.result) == (b"head:", b"3")


@pytest.mark.parametrize("state", [TaskState.FAILURE, TaskState.REVOKED])
def test_any_other_end_keeps_the_whole_request(state: TaskState) -> None:
    record = finish(a_started(), state, now_ms=NOW_MS, failure=b"why")

    assert (record.request, record.failure) == (b"head:input", b"why")


def test_an_ended_task_is_in_nobodys_hands_and_expires_after_its_ttl() -> None:
    started = a_started(result_ttl_ms=9_000)

    record = finish(started, TaskState.SUCCESS, now_ms=NOW_MS + 5)

    assert (record.place, record.lease_token, record.lease_expire_ms, record.due_ms) == (Place.DONE, None, None, None)
    assert (record.revision, record.update_ms) == (started.revision + 1, NOW_MS + 5)
    assert record.expire_ms == NOW_MS + 5 + 9_000


@pytest.mark.parametrize("state", [TaskState.SUCCESS, TaskState.FAILURE, TaskState.REVOKED])
def test_an_ended_task_has_no_progress_any_more_but_says_who_ran_it_since_when(state: TaskState) -> None:
    started = replace(a_started(), progress=b"half", worker_id="w", start_ms=NOW_MS + 3)

    record = finish(started, state, now_ms=NOW_MS + 5)

    assert (record.progress, record.worker_id, record.start_ms) == (None, "w", NOW_MS + 3)


def test_a_ttl_of_zero_keeps_no_result_and_the_record_for_a_minute() -> None:
    record = finish(a_started(result_ttl_ms=0), TaskState.SUCCESS, now_ms=NOW_MS, result=b"3")

    assert (record.result, record.expire_ms) == (None, NOW_MS + UNKEPT_RESULT_TTL_MS)


def test_a_record_is_expired_from_the_very_millisecond() -> None:
    record = finish(a_started(result_ttl_ms=10), TaskState.SUCCESS, now_ms=NOW_MS)

    assert not record.is_expired(NOW_MS + 9)
    assert record.is_expired(NOW_MS + 10)


def test_a_task_that_is_not_done_never_expires() -> None:
    assert not a_record(result_ttl_ms=0).is_expired(NOW_MS + 10**12)


def test_a_snapshot_says_what_the_record_says() -> None:
    record = finish(a_started(), TaskState.FAILURE, now_ms=NOW_MS + 1, failure=b"why")

    snapshot = snapshot_of(record)

    shared = [name for name in snapshot.__slots__ if name not in {"is_whole", "is_queue_paused"}]
    assert {name: getattr(snapshot, name) for name in shared} == {name: getattr(record, name) for name in shared}
    assert snapshot.is_whole
    assert snapshot.is_done


@pytest.mark.parametrize(
    ("record", "is_kept_by_it"),
    [
        (a_record(), True),
        (a_record(start_delay_ms=5), False),
        (a_delivered(), False),
        (finish(a_started(), TaskState.SUCCESS, now_ms=NOW_MS), False),
    ],
    ids=["ready", "scheduled", "delivered", "done"],
)
def test_a_paused_queue_keeps_only_what_is_ready(record: TaskRecord, is_kept_by_it: bool) -> None:
    assert snapshot_of(record, is_queue_paused=True).is_queue_paused is is_kept_by_it
    assert not snapshot_of(record).is_queue_paused


@pytest.mark.parametrize("is_forced", [False, True])
@pytest.mark.parametrize("record", [a_record(), a_record(start_delay_ms=5), a_delivered()])
def test_a_task_that_has_not_started_is_revoked_at_once(record: TaskRecord, is_forced: bool) -> None:
    revoked = revoke(record, b"why", is_forced=is_forced, now_ms=NOW_MS + 1)

    assert (revoked.state, revoked.place, revoked.failure) == (TaskState.REVOKED, Place.DONE, b"why")
    assert (revoked.revision, revoked.lease_token, revoked.request) == (record.revision + 1, None, record.request)


def test_a_started_task_is_only_asked_to_stop_and_its_revision_stays() -> None:
    started = a_started()

    assert revoke(started, b"why", is_forced=False, now_ms=NOW_MS + 1) == replace(started, revocation=b"why")


def test_a_started_task_is_revoked_at_once_by_force() -> None:
    asked = revoke(a_started(), b"why", is_forced=False, now_ms=NOW_MS)

    revoked = revoke(asked, b"now", is_forced=True, now_ms=NOW_MS)

    assert (revoked.state, revoked.failure, revoked.revocation) == (TaskState.REVOKED, b"now", None)


@pytest.mark.parametrize("state", [TaskState.SUCCESS, TaskState.FAILURE, TaskState.REVOKED])
def test_a_task_that_is_done_is_not_revoked(state: TaskState) -> None:
    done = finish(a_started(), state, now_ms=NOW_MS)

    assert revoke(done, b"why", is_forced=True, now_ms=NOW_MS) is done
