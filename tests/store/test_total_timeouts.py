"""Tasks that have to be over some time after they were accepted."""

from collections.abc import Awaitable, Callable

import pytest

from tailrace.server.domain.task import Place, TaskState
from tailrace.server.store.changes import LeaseNews
from tailrace.server.store.values import ResultStored, Tick
from tests.store.builders import LOST, MISSED, STOP, a_failure, a_policy, a_submission, a_success
from tests.store.harness import START_MS
from tests.store.redis_listener import listening_to
from tests.store.steps import Steps

TOTAL_MS = 60_000


async def be_ready(steps: Steps) -> None:
    await steps.submit(a_submission(total_timeout_ms=TOTAL_MS))


async def be_on_the_schedule(steps: Steps) -> None:
    await steps.submit(a_submission(total_timeout_ms=TOTAL_MS, start_delay_ms=TOTAL_MS * 2))


async def be_delivered(steps: Steps) -> None:
    await be_ready(steps)
    await steps.deliver()


async def be_started(steps: Steps) -> None:
    await be_ready(steps)
    await steps.start()


async def be_in_backoff(steps: Steps) -> None:
    delivery = await steps.submit_and_start(a_submission(total_timeout_ms=TOTAL_MS, retry_policy=a_policy(3)))
    await steps.end(a_failure("task-1", delivery.lease_token, next_retry_delay_ms=TOTAL_MS - 1))


async def be_released_for_long(steps: Steps) -> None:
    await be_ready(steps)
    await steps.release(await steps.start(), delay_ms=TOTAL_MS * 2)


STAGES = [be_ready, be_on_the_schedule, be_delivered, be_started, be_in_backoff, be_released_for_long]


async def ended(steps: Steps) -> tuple[TaskState, bytes | None]:
    snapshot = await steps.read()
    return snapshot.state, snapshot.failure


@pytest.mark.parametrize("reach", STAGES)
async def test_a_task_fails_wherever_it_stands(steps: Steps, reach: Callable[[Steps], Awaitable[None]]) -> None:
    await reach(steps)
    before = await steps.read()
    await steps.harness.advance(TOTAL_MS - 1)
    assert await steps.end_overdue() == Tick(count=0, next_due_ms=1)
    await steps.harness.advance(1)

    assert await steps.end_overdue() == Tick(count=1, next_due_ms=None)

    snapshot = await steps.read()
    assert (snapshot.state, snapshot.place, snapshot.failure) == (TaskState.FAILURE, Place.DONE, MISSED.total)
    assert (snapshot.revision, snapshot.update_ms) == (before.revision + 1, START_MS + TOTAL_MS)
    assert snapshot.last_failure is None
    assert await steps.drain() == []
    queue = await steps.queue()
    assert (queue.ready_count, queue.schedule_count, queue.lease_count) == (0, 0, 0)
    assert await steps.promote() == Tick(count=0, next_due_ms=None)


async def test_the_token_of_an_attempt_that_took_too_long_is_void_and_its_holder_is_told(steps: Steps) -> None:
    async with listening_to(steps.store) as listener:
        await be_ready(steps)
        delivery = await steps.start()
        await steps.harness.advance(TOTAL_MS)

        await steps.end_overdue()

        assert await steps.end(a_success("task-1", delivery.lease_token)) is None
        assert await steps.beat(delivery) is None
        assert await steps.release(delivery) == [False]
        await listener.hears_exactly(LeaseNews(task_id="task-1", lease_token=delivery.lease_token, revocation=None))
    assert await ended(steps) == (TaskState.FAILURE, MISSED.total)


async def test_a_result_that_comes_before_anybody_acted_is_accepted(steps: Steps) -> None:
    await be_ready(steps)
    delivery = await steps.start()
    await steps.harness.advance(TOTAL_MS * 2)

    stored = await steps.end(a_success("task-1", delivery.lease_token))

    assert stored == ResultStored(state=TaskState.SUCCESS, is_duplicate=False)
    assert await steps.end_overdue() == Tick(count=0, next_due_ms=None)
    assert (await steps.read()).state is TaskState.SUCCESS


async def test_a_task_that_was_asked_to_stop_ends_as_it_was_asked_to(steps: Steps) -> None:
    await be_ready(steps)
    await steps.start()
    await steps.revoke()
    await steps.harness.advance(TOTAL_MS)

    await steps.end_overdue()

    assert await ended(steps) == (TaskState.REVOKED, STOP)


@pytest.mark.parametrize(("delay_ms", "state"), [(999, TaskState.RETRY), (1_000, TaskState.FAILURE)])
async def test_a_retry_that_would_come_too_late_is_not_waited_for(
    steps: Steps, delay_ms: int, state: TaskState
) -> None:
    submission = a_submission(total_timeout_ms=TOTAL_MS, retry_policy=a_policy(9), lease_ms=TOTAL_MS)
    delivery = await steps.submit_and_start(submission)
    await steps.harness.advance(TOTAL_MS - 1_000)

    stored = await steps.end(a_failure("task-1", delivery.lease_token, failure=b"own", next_retry_delay_ms=delay_ms))

    assert stored == ResultStored(state=state, is_duplicate=False)
    snapshot = await steps.read()
    assert (snapshot.state, snapshot.failure or snapshot.last_failure) == (state, b"own")


async def test_a_lease_that_runs_out_after_the_deadline_is_the_last_one(steps: Steps) -> None:
    delivery = await steps.submit_and_start(a_submission(total_timeout_ms=5_000, lease_ms=4_000))
    await steps.harness.advance(3_000)
    assert await steps.beat(delivery) is not None

    await steps.pass_time(4_000)

    assert await ended(steps) == (TaskState.FAILURE, LOST)


async def test_a_task_whose_time_is_over_is_not_handed_out_but_ended(steps: Steps) -> None:
    await be_ready(steps)
    await steps.submit(a_submission("behind"))
    await steps.harness.advance(TOTAL_MS)

    assert await steps.drain() == ["behind"]
    assert await ended(steps) == (TaskState.FAILURE, MISSED.total)


async def test_the_total_timeout_goes_before_the_start_deadline(steps: Steps) -> None:
    await steps.submit(a_submission(total_timeout_ms=20, start_within_ms=10))
    await steps.harness.advance(10)
    assert (await steps.end_overdue(jitters=[])).count == 0
    await steps.harness.advance(10)

    await steps.end_overdue()

    assert await ended(steps) == (TaskState.FAILURE, MISSED.total)


async def test_a_total_timeout_is_kept_over_a_restart(steps: Steps) -> None:
    await be_started(steps)

    await steps.harness.reopen()
    await steps.harness.advance(TOTAL_MS)

    assert (await steps.end_overdue()).count == 1
    assert await ended(steps) == (TaskState.FAILURE, MISSED.total)


async def test_a_task_that_is_done_has_no_deadline(steps: Steps) -> None:
    await be_ready(steps)
    delivery = await steps.start()
    await steps.end(a_success("task-1", delivery.lease_token))

    assert await steps.end_overdue() == Tick(count=0, next_due_ms=None)
    await steps.harness.advance(TOTAL_MS)
    assert await steps.end_overdue() == Tick(count=0, next_due_ms=None)
