"""Tasks that are of no use any more when they start too late."""

import pytest

from tailrace.server.domain.lease import DELIVERY_LEASE_MS
from tailrace.server.domain.task import Place, TaskState
from tailrace.server.store.values import Tick
from tests.store.builders import MISSED, a_failure, a_policy, a_submission, a_success
from tests.store.harness import START_MS
from tests.store.redis_listener import listening_to
from tests.store.steps import Steps


async def state_of(steps: Steps, task_id: str = "task-1") -> tuple[TaskState, Place, bytes | None]:
    snapshot = await steps.read(task_id)
    return snapshot.state, snapshot.place, snapshot.failure


REVOKED = (TaskState.REVOKED, Place.DONE, MISSED.start)


async def test_a_task_that_nobody_took_in_time_is_revoked(steps: Steps) -> None:
    await steps.submit(a_submission(start_within_ms=1_000, result_ttl_ms=60_000))
    await steps.harness.advance(999)
    assert await steps.end_overdue() == Tick(count=0, next_due_ms=1)
    await steps.harness.advance(1)

    assert await steps.end_overdue() == Tick(count=1, next_due_ms=None)

    snapshot = await steps.read()
    assert await state_of(steps) == REVOKED
    assert (snapshot.revision, snapshot.attempt, snapshot.update_ms) == (2, 0, START_MS + 1_000)
    assert snapshot.expire_ms == START_MS + 61_000
    assert await steps.drain() == []
    assert (await steps.queue()).ready_count == 0


async def test_a_deadline_may_be_a_point_in_time(steps: Steps) -> None:
    await steps.submit(a_submission(start_deadline_ms=START_MS + 70))

    assert await steps.end_overdue() == Tick(count=0, next_due_ms=70)


async def test_without_deadlines_there_is_nothing_to_do(steps: Steps) -> None:
    await steps.submit_one()

    assert await steps.end_overdue() == Tick(count=0, next_due_ms=None)


async def test_what_is_being_delivered_by_then_keeps_its_delivery_lease(steps: Steps) -> None:
    await steps.submit(a_submission(start_within_ms=1_000))
    delivery = await steps.deliver()
    await steps.harness.advance(5_000)

    assert await steps.end_overdue() == Tick(count=0, next_due_ms=None)
    assert await steps.beat(delivery) is not None
    assert (await steps.read()).state is TaskState.STARTED


async def test_a_delivery_that_nobody_confirmed_is_late_once_it_is_back(steps: Steps) -> None:
    await steps.submit(a_submission(start_within_ms=1_000))
    await steps.deliver()
    await steps.pass_time(DELIVERY_LEASE_MS)
    assert (await steps.read()).place is Place.READY

    assert (await steps.end_overdue()).count == 1
    assert await state_of(steps) == REVOKED


@pytest.mark.parametrize("delay_ms", [0, 60_000])
async def test_an_attempt_that_was_given_back_never_started(steps: Steps, delay_ms: int) -> None:
    delivery = await steps.submit_and_start(a_submission(start_within_ms=1_000))
    await steps.harness.advance(2_000)
    await steps.release(delivery, delay_ms=delay_ms)

    assert await steps.end_overdue() == Tick(count=1, next_due_ms=None)
    assert await state_of(steps) == REVOKED
    assert await steps.promote() == Tick(count=0, next_due_ms=None)


async def test_a_task_that_started_once_has_met_its_deadline(steps: Steps) -> None:
    delivery = await steps.submit_and_start(a_submission(start_within_ms=1_000, retry_policy=a_policy(2)))
    await steps.end(a_failure("task-1", delivery.lease_token, next_retry_delay_ms=0))
    await steps.harness.advance(2_000)

    assert await steps.end_overdue() == Tick(count=0, next_due_ms=None)
    assert await steps.drain() == ["task-1"]


async def test_a_task_on_the_schedule_is_revoked_too(steps: Steps) -> None:
    await steps.submit(a_submission(start_delay_ms=500, start_within_ms=1_000))
    await steps.harness.advance(1_500)

    assert (await steps.end_overdue()).count == 1
    assert await state_of(steps) == REVOKED
    assert await steps.promote() == Tick(count=0, next_due_ms=None)


async def test_a_task_that_is_late_is_not_handed_out_but_ended(steps: Steps) -> None:
    await steps.submit(
        a_submission("late-1", start_within_ms=10),
        a_submission("late-2", start_within_ms=20),
        a_submission("good", start_within_ms=30),
        a_submission("any"),
    )
    await steps.harness.advance(20)

    leased = await steps.lease(count=2)

    assert [delivery.task_id for delivery in leased.deliveries] == ["good", "any"]
    assert leased.is_drained
    assert await state_of(steps, "late-1") == REVOKED
    assert await state_of(steps, "late-2") == REVOKED
    assert await steps.end_overdue() == Tick(count=0, next_due_ms=None)


async def test_a_queue_of_nothing_but_late_tasks_is_drained(steps: Steps) -> None:
    await steps.submit(*(a_submission(f"late-{number}", start_within_ms=10) for number in range(5)))
    await steps.harness.advance(10)

    leased = await steps.lease(count=5)

    assert (leased.deliveries, leased.is_drained) == ((), True)
    assert (await steps.queue()).ready_count == 0


async def test_the_earliest_go_first_and_ties_by_id_and_no_more_than_asked_for(steps: Steps) -> None:
    for task_id, within_ms in {"d": 30, "b": 20, "a": 20, "c": 10}.items():
        await steps.submit(a_submission(task_id, start_within_ms=within_ms))
    await steps.harness.advance(20)

    assert await steps.end_overdue(jitters=[0, 0]) == Tick(count=2, next_due_ms=0)

    states = [(await steps.read(task_id)).state for task_id in "abcd"]
    assert states == [TaskState.REVOKED, TaskState.PENDING, TaskState.REVOKED, TaskState.PENDING]
    assert await steps.end_overdue(jitters=[0, 0]) == Tick(count=1, next_due_ms=10)


async def test_deadlines_hold_in_a_paused_queue(steps: Steps) -> None:
    await steps.submit(a_submission(start_within_ms=10))
    await steps.pause()
    await steps.harness.advance(10)

    assert (await steps.end_overdue()).count == 1
    assert await state_of(steps) == REVOKED


async def test_a_missed_deadline_is_told(steps: Steps) -> None:
    async with listening_to(steps.store) as listener:
        await steps.submit(a_submission("by-maintenance", start_within_ms=10))
        await steps.submit(a_submission("by-delivery", start_within_ms=20))
        await steps.harness.advance(10)
        listener.changes.clear()

        await steps.end_overdue()
        assert (await listener.hears_of("by-maintenance")).is_done is not False
        await steps.harness.advance(10)
        await steps.lease()
        assert (await listener.hears_of("by-delivery")).is_done is not False


async def test_a_deadline_is_kept_over_a_restart(steps: Steps) -> None:
    await steps.submit(a_submission(start_within_ms=10))

    await steps.harness.reopen()
    await steps.harness.advance(10)

    assert (await steps.end_overdue()).count == 1
    assert await state_of(steps) == REVOKED


async def test_an_id_that_is_free_again_has_no_deadline_of_the_task_before(steps: Steps) -> None:
    delivery = await steps.submit_and_start(a_submission(start_within_ms=5_000, result_ttl_ms=1))
    await steps.end(a_success("task-1", delivery.lease_token))
    await steps.harness.advance(1)
    await steps.submit_one(a_submission())
    await steps.harness.advance(10_000)

    assert await steps.end_overdue() == Tick(count=0, next_due_ms=None)
    assert await steps.drain() == ["task-1"]
