"""Changes are told to this process as they happen: to those who wait for tasks, and to those who have workers."""

from collections.abc import AsyncIterator

import pytest

from tailrace.server.store.changes import LeaseNews, QueueReady, TaskChanged
from tailrace.server.store.values import Beat
from tests.store.builders import STOP, a_failure, a_policy, a_submission, a_success
from tests.store.harness import Harness
from tests.store.redis_listener import Listener, listening_to
from tests.store.steps import Steps


@pytest.fixture
async def listener(harness: Harness) -> AsyncIterator[Listener]:
    async with listening_to(harness.store) as listener:
        yield listener


async def hears_what_is(steps: Steps, listener: Listener, task_id: str = "task-1") -> None:
    """Wait until the newest revision of a task was told, and whatever came with it was the truth."""
    now = await steps.read(task_id)

    def is_it(change: object) -> bool:
        if not isinstance(change, TaskChanged) or change.task_id != task_id:
            return False
        return change.snapshot == now or (change.snapshot is None and change.is_done in {None, now.is_done})

    heard = await listener.hears(is_it)
    assert isinstance(heard, TaskChanged)
    assert heard.is_done in {None, now.is_done}
    listener.changes.clear()


async def hears_ready(listener: Listener, queue: str) -> None:
    await listener.hears(lambda change: change == QueueReady(queue))
    listener.changes.clear()


async def test_a_new_task_is_told(steps: Steps, listener: Listener) -> None:
    await steps.submit_one()

    await hears_what_is(steps, listener)


async def test_a_start_is_told(steps: Steps, listener: Listener) -> None:
    await steps.submit_and_start()

    await hears_what_is(steps, listener)


async def test_a_start_on_delivery_is_told(steps: Steps, listener: Listener) -> None:
    await steps.submit_one()
    await steps.deliver(start_immediately=True)

    await hears_what_is(steps, listener)


async def test_every_end_of_an_attempt_is_told(steps: Steps, listener: Listener) -> None:
    first = await steps.submit_and_start(a_submission(retry_policy=a_policy(2)))
    listener.changes.clear()

    await steps.end(a_failure("task-1", first.lease_token, next_retry_delay_ms=0))
    await hears_what_is(steps, listener)
    second = await steps.start()
    await hears_what_is(steps, listener)
    await steps.end(a_failure("task-1", second.lease_token))
    await hears_what_is(steps, listener)


async def test_a_duplicate_is_told_again_for_those_who_missed_the_first(steps: Steps, listener: Listener) -> None:
    delivery = await steps.submit_and_start()
    await steps.end(a_success("task-1", delivery.lease_token))
    await hears_what_is(steps, listener)

    await steps.end(a_success("task-1", delivery.lease_token))

    await hears_what_is(steps, listener)


async def test_a_released_attempt_is_told(steps: Steps, listener: Listener) -> None:
    delivery = await steps.submit_and_start()
    await hears_what_is(steps, listener)

    await steps.release(delivery)

    await hears_what_is(steps, listener)
    assert (await steps.deliver()).task_id == "task-1"


async def test_a_lost_lease_is_told_and_so_is_the_last_one(steps: Steps, listener: Listener) -> None:
    await steps.submit(a_submission(lease_ms=2_000, max_lost_leases=2))
    for _ in range(2):
        await steps.start()
        await hears_what_is(steps, listener)
        await steps.pass_time(2_000)
        await hears_what_is(steps, listener)

    assert (await steps.read()).is_done


async def test_changes_of_one_call_are_told_for_each_task(steps: Steps, listener: Listener) -> None:
    await steps.submit(*(a_submission(task_id) for task_id in "abc"))
    deliveries = (await steps.lease(count=3)).deliveries
    listener.changes.clear()

    await steps.store.beat_leases(0, [Beat(task_id=d.task_id, lease_token=d.lease_token) for d in deliveries])

    for task_id in "abc":
        change = await listener.hears_of(task_id)
        assert change.snapshot in {None, await steps.read(task_id)}
        assert not change.is_done


async def test_what_changes_no_revision_tells_nothing_of_the_task(steps: Steps, listener: Listener) -> None:
    delivery = await steps.submit_and_start(a_submission("task-1"))
    await hears_what_is(steps, listener)

    await steps.beat(delivery)
    await steps.store.register_waits(0, ["task-1"])
    await steps.submit_one(a_submission("task-1"))
    await steps.submit_one(a_submission("last", queue="a-sign-that-all-has-arrived"))

    await listener.hears(lambda change: change == QueueReady("a-sign-that-all-has-arrived"))
    assert listener.of_task("task-1") == []


async def test_a_queue_is_ready_when_a_task_is_submitted_to_it(steps: Steps, listener: Listener) -> None:
    await steps.submit(a_submission("a", queue="one"), a_submission("b", queue="two"))

    await listener.hears(lambda change: change == QueueReady("one"))
    await listener.hears(lambda change: change == QueueReady("two"))


async def test_a_queue_is_ready_when_a_lease_is_released_or_lost(steps: Steps, listener: Listener) -> None:
    delivery = await steps.submit_and_start(a_submission(lease_ms=2_000))
    listener.changes.clear()
    await steps.release(delivery)
    await hears_ready(listener, "default")

    await steps.start()
    listener.changes.clear()
    await steps.pass_time(2_000)
    await hears_ready(listener, "default")


async def test_a_queue_is_ready_when_a_task_is_due_or_tried_again_at_once(steps: Steps, listener: Listener) -> None:
    await steps.submit(a_submission(start_delay_ms=10, retry_policy=a_policy(2)))
    await steps.harness.advance(10)
    await steps.promote()
    await hears_ready(listener, "default")

    delivery = await steps.start()
    listener.changes.clear()
    await steps.end(a_failure("task-1", delivery.lease_token, next_retry_delay_ms=0))
    await hears_ready(listener, "default")


async def test_the_changes_end_when_the_store_is_closed(harness: Harness) -> None:
    changes = harness.store.changes()
    await harness.store.submit_tasks(0, [a_submission()])

    await harness.store.close()

    assert QueueReady("default") in [change async for change in changes]


async def test_a_revocation_is_told(steps: Steps, listener: Listener) -> None:
    await steps.submit_one()

    await steps.revoke()

    await hears_what_is(steps, listener)


async def test_the_holder_of_a_lease_is_told_that_its_task_is_to_stop_once(steps: Steps, listener: Listener) -> None:
    delivery = await steps.submit_and_start()

    await steps.revoke()
    await steps.revoke()
    await steps.submit_one(a_submission("last"))

    news = LeaseNews(task_id="task-1", lease_token=delivery.lease_token, revocation=STOP)
    await listener.hears_exactly(news)
    await listener.hears_of("last")
    assert [change for change in listener.changes if isinstance(change, LeaseNews)] == [news]


@pytest.mark.parametrize("is_started", [False, True])
async def test_the_holder_of_a_lease_is_told_that_force_ended_it(
    steps: Steps, listener: Listener, is_started: bool
) -> None:
    await steps.submit_one()
    delivery = await (steps.start() if is_started else steps.deliver())

    await steps.revoke(is_forced=True)

    await listener.hears_exactly(LeaseNews(task_id="task-1", lease_token=delivery.lease_token, revocation=None))


async def test_the_holder_of_a_lease_that_ran_out_is_told(steps: Steps, listener: Listener) -> None:
    delivery = await steps.submit_and_start(a_submission(lease_ms=2_000))

    await steps.pass_time(2_000)

    await listener.hears_exactly(LeaseNews(task_id="task-1", lease_token=delivery.lease_token, revocation=None))


async def test_revoking_a_task_that_nobody_holds_tells_no_holder(steps: Steps, listener: Listener) -> None:
    delivery = await steps.submit_and_start(a_submission(retry_policy=a_policy(2)))
    await steps.end(a_failure("task-1", delivery.lease_token))

    await steps.revoke(is_forced=True)

    await hears_what_is(steps, listener)
    assert not [change for change in listener.changes if isinstance(change, LeaseNews)]
