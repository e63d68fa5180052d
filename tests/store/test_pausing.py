"""Queues from which nothing is delivered until further notice."""

from dataclasses import replace

from tailrace.server.domain.task import Place, TaskState
from tailrace.server.store.changes import QueueReady
from tailrace.server.store.operators import QueueStats
from tests.store.builders import a_failure, a_policy, a_submission, a_success
from tests.store.redis_listener import listening_to
from tests.store.steps import Steps


async def test_nothing_is_delivered_from_a_paused_queue(steps: Steps) -> None:
    await steps.submit(a_submission("a"), a_submission("b"))

    await steps.pause()

    leased = await steps.lease(count=5)
    assert (leased.deliveries, leased.is_drained, leased.is_blocked) == ((), True, False)
    await steps.submit(a_submission("c"))
    assert await steps.drain() == []


async def test_other_queues_go_on(steps: Steps) -> None:
    await steps.submit(a_submission("a", queue="one"), a_submission("b", queue="two"), a_submission("c", queue="two"))
    await steps.pause("one")

    leased = await steps.lease("one", "two", count=1)

    assert [delivery.task_id for delivery in leased.deliveries] == ["b"]
    assert not leased.is_drained
    assert await steps.drain("one", "two") == ["c"]


async def test_what_a_worker_has_it_finishes(steps: Steps) -> None:
    delivery = await steps.submit_and_start()
    await steps.pause()

    assert await steps.beat(delivery) is not None
    stored = await steps.end(a_success("task-1", delivery.lease_token))

    assert stored is not None
    assert stored.state is TaskState.SUCCESS


async def test_what_comes_back_meanwhile_waits_like_the_others(steps: Steps) -> None:
    await steps.submit(a_submission("delayed", start_delay_ms=10))
    failing = await steps.submit_and_start(a_submission("failing", retry_policy=a_policy(2)))
    released = await steps.submit_and_start(a_submission("released"))
    await steps.pause()
    await steps.harness.advance(10)

    await steps.promote()
    await steps.end(a_failure("failing", failing.lease_token, next_retry_delay_ms=0))
    await steps.release(released)

    assert await steps.drain() == []
    await steps.pause(is_paused=False)
    assert await steps.drain() == ["released", "delayed", "failing"]


async def test_a_resumed_queue_delivers_in_the_order_that_it_had(steps: Steps) -> None:
    await steps.submit(a_submission("a"), a_submission("b", priority=3))
    await steps.pause()
    await steps.submit(a_submission("c"))

    await steps.pause(is_paused=False)

    assert await steps.drain() == ["b", "a", "c"]


async def test_pausing_and_resuming_answer_with_the_queue(steps: Steps) -> None:
    await steps.submit(a_submission("a"), a_submission("b", start_delay_ms=10), a_submission("c", priority=1))
    await steps.start()
    await steps.harness.advance(70)

    paused = await steps.pause()

    assert paused == QueueStats(
        queue="default", is_paused=True, ready_count=1, schedule_count=1, lease_count=1, oldest_age_ms=70
    )
    assert await steps.pause() == paused
    assert await steps.pause(is_paused=False) == replace(paused, is_paused=False)
    assert await steps.pause(is_paused=False) == replace(paused, is_paused=False)


async def test_a_queue_may_be_paused_before_it_has_a_task(steps: Steps) -> None:
    stats = await steps.pause("new")

    assert stats == QueueStats(
        queue="new", is_paused=True, ready_count=0, schedule_count=0, lease_count=0, oldest_age_ms=None
    )
    assert await steps.queue("new") == stats
    await steps.submit(a_submission(queue="new"))
    assert await steps.drain("new") == []


async def test_resuming_a_queue_that_never_was_does_not_make_it_known(steps: Steps) -> None:
    stats = await steps.pause("new", is_paused=False)

    assert stats == QueueStats(
        queue="new", is_paused=False, ready_count=0, schedule_count=0, lease_count=0, oldest_age_ms=None
    )
    assert await steps.store.list_queues(0, "", 10) == []


async def test_a_ready_task_tells_that_its_queue_is_paused(steps: Steps) -> None:
    await steps.submit(a_submission("ready"), a_submission("scheduled", start_delay_ms=10))
    await steps.submit(a_submission("held", priority=9), a_submission("elsewhere", queue="other"))
    await steps.deliver()
    await steps.pause()

    snapshots = await steps.store.read_tasks(0, ["ready", "scheduled", "held", "elsewhere"])
    registered = await steps.store.register_waits(0, ["ready", "scheduled", "held", "elsewhere"])

    assert [snapshot and snapshot.is_queue_paused for snapshot in snapshots] == [True, False, False, False]
    assert registered == snapshots
    assert (await steps.detail("ready")).snapshot.is_queue_paused
    walked = {detail.snapshot.task_id: detail.snapshot.is_queue_paused for detail in await steps.walk()}
    assert walked == {"ready": True, "scheduled": False, "held": False, "elsewhere": False}
    await steps.pause(is_paused=False)
    assert not (await steps.read("ready")).is_queue_paused


async def test_a_task_submitted_to_a_paused_queue_is_answered_as_it_is_read(steps: Steps) -> None:
    await steps.pause()

    created = await steps.submit_one()
    existing = await steps.submit_one()

    assert created.snapshot == existing.snapshot == await steps.read()
    assert created.snapshot.is_queue_paused


async def test_workers_are_told_when_a_queue_that_has_tasks_goes_on(steps: Steps) -> None:
    await steps.submit(a_submission(queue="full"))
    await steps.pause("full")
    await steps.pause("empty")
    async with listening_to(steps.store) as listener:
        await steps.submit(a_submission("first-sign", queue="first-sign"))
        await listener.hears_exactly(QueueReady("first-sign"))
        listener.changes.clear()

        await steps.pause("empty", is_paused=False)
        await steps.pause("full", is_paused=False)

        await listener.hears_exactly(QueueReady("full"))
        assert "empty" not in listener.queues()


async def test_a_pause_is_kept_over_a_restart_and_after_the_last_task(steps: Steps) -> None:
    delivery = await steps.submit_and_start(a_submission(result_ttl_ms=1))
    await steps.pause()
    await steps.end(a_success("task-1", delivery.lease_token))
    await steps.harness.advance(1)
    await steps.expire()

    await steps.harness.reopen()

    assert (await steps.queue()).is_paused
    await steps.submit_one()
    assert await steps.drain() == []


async def test_a_paused_queue_takes_revocations(steps: Steps) -> None:
    await steps.submit_one()
    await steps.pause()

    await steps.revoke()

    snapshot = await steps.read()
    assert (snapshot.state, snapshot.place, snapshot.is_queue_paused) == (TaskState.REVOKED, Place.DONE, False)
