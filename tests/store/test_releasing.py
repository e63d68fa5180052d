"""Leases given back by their holder: the task is as it was, at the head of its queue."""

from dataclasses import replace

from tailrace.server.domain.lease import RELEASES_PER_LOST_LEASE
from tailrace.server.domain.task import Place, TaskState
from tests.store.builders import LOST, a_failure, a_policy, a_submission
from tests.store.harness import START_MS
from tests.store.steps import Steps


async def test_a_released_task_goes_to_the_head_of_its_queue(steps: Steps) -> None:
    await steps.submit(a_submission("first"), a_submission("second"))
    delivery = await steps.deliver()

    assert await steps.release(delivery) == [True]

    assert await steps.drain() == ["first", "second"]


async def test_several_go_to_the_head_in_the_order_of_the_call(steps: Steps) -> None:
    await steps.submit(*(a_submission(task_id) for task_id in "abcd"))
    a, b, c = (await steps.lease(count=3)).deliveries

    assert await steps.release(c, a, b) == [True, True, True]

    assert await steps.drain() == ["c", "a", "b", "d"]


async def test_each_goes_back_to_the_head_of_its_own_priority_and_queue(steps: Steps) -> None:
    await steps.submit(
        a_submission("low-1"),
        a_submission("low-2"),
        a_submission("high-1", priority=5),
        a_submission("high-2", priority=5),
        a_submission("other", queue="other"),
    )
    high_1, _, low_1, _, other = (await steps.lease("default", "other", count=5)).deliveries
    await steps.submit(a_submission("high-3", priority=5), a_submission("low-3"))

    await steps.release(low_1, high_1, other)

    assert await steps.drain() == ["high-1", "high-3", "low-1", "low-3"]
    assert await steps.drain("other") == ["other"]


async def test_a_delivery_that_never_started_goes_back_without_a_trace(steps: Steps) -> None:
    submitted = await steps.submit_one()
    delivery = await steps.deliver()

    await steps.release(delivery)

    assert await steps.read() == submitted.snapshot


async def test_a_started_attempt_is_taken_back(steps: Steps) -> None:
    delivery = await steps.submit_and_start()
    await steps.harness.advance(9)

    await steps.release(delivery)

    released = await steps.read()
    assert (released.state, released.place, released.attempt) == (TaskState.PENDING, Place.READY, 0)
    assert (released.revision, released.update_ms) == (3, START_MS + 9)
    assert (await steps.deliver()).attempt == 1


async def test_a_task_that_failed_before_goes_back_to_retry(steps: Steps) -> None:
    first = await steps.submit_and_start(a_submission(retry_policy=a_policy(2)))
    await steps.end(a_failure("task-1", first.lease_token, failure=b"broken", next_retry_delay_ms=0))

    await steps.release(await steps.start())

    released = await steps.read()
    assert (released.state, released.attempt, released.last_failure) == (TaskState.RETRY, 1, b"broken")


async def test_a_task_whose_lease_was_lost_before_goes_back_to_retry(steps: Steps) -> None:
    await steps.submit_and_start(a_submission(lease_ms=2_000))
    await steps.pass_time(2_000)

    await steps.release(await steps.start())

    assert (await steps.read()).state is TaskState.RETRY


async def test_a_release_uses_up_no_attempt(steps: Steps) -> None:
    await steps.submit(a_submission(retry_policy=a_policy(2)))
    for _ in range(5):
        await steps.release(await steps.start())

    stored = await steps.end(a_failure("task-1", (await steps.start()).lease_token))

    assert stored is not None
    assert (stored.state, (await steps.read()).attempt) == (TaskState.RETRY, 1)


async def test_a_release_with_a_delay_puts_the_task_on_the_schedule(steps: Steps) -> None:
    delivery = await steps.submit_and_start()

    assert await steps.release(delivery, delay_ms=500) == [True]

    assert (await steps.read()).place is Place.SCHEDULE
    assert await steps.drain() == []
    assert (await steps.promote()).next_due_ms == 500


async def test_a_token_that_is_not_the_current_one_releases_nothing(steps: Steps) -> None:
    await steps.submit(a_submission("a"), a_submission("b"))
    a, b = (await steps.lease(count=2)).deliveries
    foreign, unknown = replace(a, lease_token=b.lease_token), replace(a, task_id="unknown")

    assert await steps.release(foreign, unknown, b, b) == [False, False, True, False]
    assert await steps.release(b) == [False]
    assert await steps.drain() == ["b"]


async def test_the_hundredth_release_in_a_row_counts_as_a_lost_lease(steps: Steps) -> None:
    await steps.submit(a_submission("task-1"), a_submission("other"))
    for _ in range(RELEASES_PER_LOST_LEASE - 1):
        await steps.release(await steps.start())
    assert (await steps.read()).state is TaskState.PENDING

    await steps.release(await steps.start())

    lost = await steps.read()
    assert (lost.state, lost.place, lost.last_failure, lost.attempt) == (TaskState.RETRY, Place.READY, LOST, 0)
    assert await steps.drain() == ["task-1", "other"]


async def test_the_hundredth_release_is_final_where_no_lease_may_be_lost(steps: Steps) -> None:
    await steps.submit(a_submission(max_lost_leases=1))
    for _ in range(RELEASES_PER_LOST_LEASE):
        await steps.release(await steps.deliver())

    failed = await steps.read()
    assert (failed.state, failed.place, failed.failure) == (TaskState.FAILURE, Place.DONE, LOST)


async def test_the_hundredth_release_keeps_its_delay(steps: Steps) -> None:
    await steps.submit_one()
    for _ in range(RELEASES_PER_LOST_LEASE - 1):
        await steps.release(await steps.deliver())

    await steps.release(await steps.deliver(), delay_ms=700)

    assert (await steps.promote()).next_due_ms == 700


async def test_an_ended_attempt_makes_the_count_of_releases_begin_anew(steps: Steps) -> None:
    await steps.submit(a_submission(retry_policy=a_policy(5)))
    for _ in range(RELEASES_PER_LOST_LEASE - 1):
        await steps.release(await steps.deliver())
    ended = await steps.deliver()
    await steps.end(a_failure("task-1", ended.lease_token, failure=b"broken", next_retry_delay_ms=0))

    await steps.release(await steps.deliver())

    assert (await steps.read()).last_failure == b"broken"
