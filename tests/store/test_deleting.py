"""Removing tasks that are done before their time."""

from tailrace.server.domain.task import TaskState
from tailrace.server.store.values import Tick
from tests.store.builders import a_submission, a_success
from tests.store.conftest import OpenHarness
from tests.store.steps import Steps


async def done(steps: Steps, task_id: str = "task-1", result_ttl_ms: int = 60_000) -> None:
    delivery = await steps.submit_and_start(a_submission(task_id, result_ttl_ms=result_ttl_ms))
    await steps.end(a_success(task_id, delivery.lease_token))


async def test_a_task_that_is_done_is_gone_at_once(steps: Steps) -> None:
    await done(steps)

    assert await steps.delete("task-1") == [True]

    assert await steps.find() is None
    assert await steps.walk() == []
    assert await steps.expire() == Tick(count=0, next_due_ms=None)


async def test_a_task_that_is_not_done_stays(steps: Steps) -> None:
    await steps.submit(a_submission("scheduled", start_delay_ms=10), a_submission("held"), a_submission("started"))
    held, started = (await steps.lease(count=2)).deliveries
    await steps.beat(started)
    await steps.submit(a_submission("ready"))

    assert await steps.delete("ready", "scheduled", "held", "started") == [False] * 4

    assert await steps.beat(held) is not None
    assert await steps.beat(started) is not None
    assert await steps.drain() == ["ready"]
    assert (await steps.queue()).schedule_count == 1


async def test_unknown_and_expired_tasks_are_said_to_be(steps: Steps) -> None:
    await done(steps, "expired", result_ttl_ms=5)
    await steps.harness.advance(5)
    await done(steps, "done")

    assert await steps.delete("unknown", "done", "expired", "done") == [None, True, None, None]


async def test_an_id_is_free_again(steps: Steps) -> None:
    await done(steps)
    await steps.delete("task-1")

    again = await steps.submit_one(a_submission(payload=b"another"))

    assert (again.is_created, again.snapshot.revision) == (True, 1)
    assert (await steps.deliver()).request == a_submission(payload=b"another").request


async def test_a_task_that_was_revoked_where_it_was_ready_comes_back_at_the_tail(steps: Steps) -> None:
    await steps.submit(a_submission("first"), a_submission("a"), a_submission("b"))
    await steps.revoke("a")
    await steps.delete("a")

    await steps.submit(a_submission("a"))

    assert (await steps.queue()).ready_count == 3
    assert await steps.drain() == ["first", "b", "a"]


async def test_the_token_of_a_deleted_task_is_void(steps: Steps) -> None:
    delivery = await steps.submit_and_start()
    await steps.end(a_success("task-1", delivery.lease_token))
    await steps.delete("task-1")

    assert await steps.end(a_success("task-1", delivery.lease_token)) is None
    await steps.submit_one()
    assert await steps.end(a_success("task-1", delivery.lease_token)) is None
    assert (await steps.read()).state is TaskState.PENDING


async def test_a_task_is_deleted_in_its_partition_only(open_harness: OpenHarness) -> None:
    harness = await open_harness(partitions=2)
    for partition in (0, 1):
        await harness.store.submit_tasks(partition, [a_submission(f"in-{partition}")])
    steps = Steps(harness)
    await steps.revoke("in-0")

    assert await steps.delete("in-0") == [True]
    assert (await harness.store.read_tasks(1, ["in-1"]))[0] is not None


async def test_a_deleted_task_is_gone_after_a_restart(steps: Steps) -> None:
    await done(steps)
    await steps.delete("task-1")

    await steps.harness.reopen()

    assert await steps.delete("task-1") == [None]
