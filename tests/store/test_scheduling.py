"""Tasks that are not due yet."""

from tailrace.server.domain.task import Place, TaskState
from tailrace.server.store.values import Tick
from tests.store.builders import a_submission
from tests.store.steps import Steps


async def test_a_task_is_promoted_to_its_queue_when_its_time_has_come(steps: Steps) -> None:
    await steps.submit(a_submission(start_delay_ms=500))
    await steps.harness.advance(499)
    assert await steps.promote() == Tick(count=0, next_due_ms=1)
    await steps.harness.advance(1)

    assert await steps.promote() == Tick(count=1, next_due_ms=None)

    promoted = await steps.read()
    assert (promoted.state, promoted.place, promoted.revision) == (TaskState.PENDING, Place.READY, 1)
    assert await steps.drain() == ["task-1"]


async def test_promoted_tasks_queue_behind_those_that_wait_already(steps: Steps) -> None:
    await steps.submit(a_submission("delayed", start_delay_ms=10))
    await steps.harness.advance(20)
    await steps.submit(a_submission("waiting"))

    await steps.promote()

    assert await steps.drain() == ["waiting", "delayed"]


async def test_promotion_goes_by_due_time_then_by_id_and_keeps_priorities(steps: Steps) -> None:
    await steps.submit(
        a_submission("late", start_delay_ms=30),
        a_submission("tie-b", start_delay_ms=20),
        a_submission("early", start_delay_ms=10),
        a_submission("tie-a", start_delay_ms=20),
        a_submission("urgent", start_delay_ms=30, priority=9),
    )
    await steps.harness.advance(30)

    assert await steps.promote() == Tick(count=5, next_due_ms=None)

    assert await steps.drain() == ["urgent", "early", "tie-a", "tie-b", "late"]


async def test_a_promotion_takes_no_more_than_its_limit_the_earliest_first(steps: Steps) -> None:
    for task_id, delay_ms in {"c": 30, "a": 10, "b": 20, "d": 99}.items():
        await steps.submit(a_submission(task_id, start_delay_ms=delay_ms))
    await steps.harness.advance(40)

    assert await steps.promote(limit=2) == Tick(count=2, next_due_ms=0)
    assert await steps.promote(limit=2) == Tick(count=1, next_due_ms=59)
    assert await steps.drain() == ["a", "b", "c"]


async def test_nothing_on_the_schedule_is_nothing_to_do(steps: Steps) -> None:
    await steps.submit_one()

    assert await steps.promote() == Tick(count=0, next_due_ms=None)
