"""When a task may start at the earliest: after a span, or from a point in time on."""

from tailrace.server.domain.task import Place, TaskState
from tailrace.server.store.values import Tick
from tests.store.builders import a_submission
from tests.store.harness import START_MS
from tests.store.steps import Steps


async def test_a_task_waits_on_the_schedule_for_its_point_in_time(steps: Steps) -> None:
    submitted = await steps.submit_one(a_submission(schedule_ms=START_MS + 500))
    assert (submitted.snapshot.state, submitted.snapshot.place) == (TaskState.PENDING, Place.SCHEDULE)
    await steps.harness.advance(499)
    assert await steps.promote() == Tick(count=0, next_due_ms=1)
    await steps.harness.advance(1)

    assert await steps.promote() == Tick(count=1, next_due_ms=None)

    assert await steps.drain() == ["task-1"]


async def test_a_point_in_time_that_has_passed_delays_nothing(steps: Steps) -> None:
    submitted = await steps.submit(a_submission("long-ago", schedule_ms=1), a_submission("now", schedule_ms=START_MS))

    assert [one.snapshot.place for one in submitted] == [Place.READY, Place.READY]
    assert await steps.drain() == ["long-ago", "now"]


async def test_a_span_to_start_within_counts_from_acceptance(steps: Steps) -> None:
    await steps.harness.advance(7)
    await steps.submit(a_submission(start_within_ms=1_000))

    assert await steps.end_overdue() == Tick(count=0, next_due_ms=1_000)


async def test_a_span_to_start_within_counts_from_the_scheduled_start_if_that_is_later(steps: Steps) -> None:
    await steps.submit(a_submission("by-delay", start_delay_ms=500, start_within_ms=1_000))
    assert await steps.end_overdue() == Tick(count=0, next_due_ms=1_500)
    await steps.submit(a_submission("by-time", schedule_ms=START_MS + 300, start_within_ms=1_000))
    assert await steps.end_overdue() == Tick(count=0, next_due_ms=1_300)
    await steps.submit(a_submission("passed", schedule_ms=START_MS - 300, start_within_ms=1_000))
    assert await steps.end_overdue() == Tick(count=0, next_due_ms=1_000)


async def test_times_do_not_make_it_another_request_and_the_first_ones_hold(steps: Steps) -> None:
    await steps.submit_one(a_submission(total_timeout_ms=5_000))

    again = await steps.submit_one(a_submission(total_timeout_ms=1, schedule_ms=START_MS + 9, start_within_ms=3))

    assert (again.is_created, again.is_conflict) == (False, False)
    assert await steps.end_overdue() == Tick(count=0, next_due_ms=5_000)
