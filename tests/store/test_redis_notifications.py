"""How server processes that share a Redis hear of each other's changes."""

import asyncio

import pytest
from redis.asyncio import Redis

from tailrace.server.domain.retry import RetryPolicy
from tailrace.server.domain.task import TaskState
from tailrace.server.store.changes import DrainRequested, EpochBreak, LeaseNews, QueueReady, TaskChanged
from tailrace.server.store.values import Beat, Release, Revocation
from tests.redis_server import redis_server
from tests.store.builders import LOST, STOP, a_failure, a_lease_request, a_submission, a_success
from tests.store.redis_harness import RedisHarness, open_redis
from tests.store.redis_listener import listening_to


async def leased(harness: RedisHarness, task_id: str = "task-1") -> bytes:
    await harness.store.submit_tasks(0, [a_submission(task_id)])
    delivery = (await harness.store.lease_tasks(0, a_lease_request())).deliveries[0]
    assert delivery.task_id == task_id
    return delivery.lease_token


async def test_a_process_that_registered_hears_of_every_later_change_that_another_makes(redis_url: str) -> None:
    async with open_redis(redis_url) as harness:
        token = await leased(harness)
        other = await harness.second_store()
        await other.register_waits(0, ["task-1"])

        async with listening_to(other) as listener:
            await harness.store.beat_leases(0, [Beat(task_id="task-1", lease_token=token)])
            assert await listener.hears_of("task-1") == TaskChanged(task_id="task-1", is_done=False)
            await harness.store.store_results(0, [a_success("task-1", token)])
            end = TaskChanged(task_id="task-1", is_done=True)
            await listener.hears_exactly(end)


async def test_a_process_that_did_not_register_is_left_in_peace(redis_url: str) -> None:
    async with open_redis(redis_url) as harness:
        token = await leased(harness)
        other = await harness.second_store()

        async with listening_to(other) as listener:
            await harness.store.store_results(0, [a_success("task-1", token)])
            await harness.store.submit_tasks(0, [a_submission("task-2", queue="a-sign-that-all-has-arrived")])
            await listener.hears_exactly(QueueReady("a-sign-that-all-has-arrived"))

        assert listener.of_task("task-1") == []


async def test_nothing_falls_between_reading_and_registering(redis_url: str) -> None:
    """Whatever the read did not show yet is told of, at whatever moment the other process ends the task."""
    async with open_redis(redis_url) as harness:
        other = await harness.second_store()
        async with listening_to(other) as listener:
            for number in range(50):
                task_id = f"task-{number}"
                end = a_success(task_id, await leased(harness, task_id))
                async with asyncio.TaskGroup() as tasks:
                    ending = tasks.create_task(harness.store.store_results(0, [end])) if number % 2 else None
                    reading = tasks.create_task(other.register_waits(0, [task_id]))
                    ending = ending or tasks.create_task(harness.store.store_results(0, [end]))

                snapshot = reading.result()[0]

                assert snapshot is not None
                if not snapshot.is_done:
                    told = TaskChanged(task_id=task_id, is_done=True)
                    await listener.hears_exactly(told)


async def test_the_process_that_makes_a_change_tells_itself_the_outcome_without_a_read(redis_url: str) -> None:
    async with open_redis(redis_url) as harness:
        token = await leased(harness)
        await harness.store.register_waits(0, ["task-1"])

        async with listening_to(harness.store) as listener:
            await harness.store.store_results(0, [a_success("task-1", token, result=b"\x00\xff")])
            change = await listener.hears(lambda change: isinstance(change, TaskChanged) and change.is_done is True)

        assert isinstance(change, TaskChanged)
        assert change.snapshot == (await harness.store.read_tasks(0, ["task-1"]))[0]
        assert change.snapshot is not None
        assert change.snapshot.result == b"\x00\xff"


async def test_the_process_that_makes_a_change_does_not_hear_of_it_from_redis(redis_url: str) -> None:
    async with open_redis(redis_url) as harness:
        token = await leased(harness)
        other = await harness.second_store()
        await harness.store.register_waits(0, ["task-1"])

        async with listening_to(harness.store) as listener:
            await listener.hears_of("task-1")
            told_before = len(listener.of_task("task-1"))
            await harness.store.store_results(0, [a_success("task-1", token)])
            await other.submit_tasks(0, [a_submission("task-2", queue="a-sign-that-all-has-arrived")])
            await listener.hears_exactly(QueueReady("a-sign-that-all-has-arrived"))

        assert len(listener.of_task("task-1")) == told_before + 1


async def test_an_outcome_made_by_this_process_is_the_one_that_is_stored(redis_url: str) -> None:
    """Put together from what was sent, it must not differ from what a reader gets: for every kind of end."""
    async with open_redis(redis_url) as harness:
        policy = RetryPolicy(max_attempts=5)
        await harness.store.submit_tasks(
            0,
            [
                a_submission("kept"),
                a_submission("not-kept", result_ttl_ms=0),
                a_submission("failed"),
                a_submission("retried", retry_policy=policy),
            ],
        )
        deliveries = (await harness.store.lease_tasks(0, a_lease_request(count=4))).deliveries
        tokens = {delivery.task_id: delivery.lease_token for delivery in deliveries}
        ends = [
            a_success("kept", tokens["kept"]),
            a_success("not-kept", tokens["not-kept"]),
            a_failure("failed", tokens["failed"]),
            a_failure("retried", tokens["retried"]),
        ]

        async with listening_to(harness.store) as listener:
            await harness.store.store_results(0, ends)
            stored = await harness.store.read_tasks(0, list(tokens))
            await listener.hears(lambda change: isinstance(change, TaskChanged) and change.snapshot == stored[-1])

        told = [listener.of_task(task_id)[-1].snapshot for task_id in tokens]
        assert told == stored
        assert [snapshot.state for snapshot in stored if snapshot] == [
            TaskState.SUCCESS,
            TaskState.SUCCESS,
            TaskState.FAILURE,
            TaskState.RETRY,
        ]


async def test_a_fourth_process_that_registers_has_all_of_them_told(redis_url: str) -> None:
    async with open_redis(redis_url) as harness:
        token = await leased(harness)
        others = [await harness.another_store(f"replica-{number}") for number in range(4)]
        for other in others:
            await other.register_waits(0, ["task-1"])

        await harness.store.store_results(0, [a_success("task-1", token)])

        for other in others:
            async with listening_to(other) as listener:
                assert await listener.hears_of("task-1") == TaskChanged(task_id="task-1", is_done=True)


async def test_what_all_are_told_and_this_process_did_itself_is_told_here_once(redis_url: str) -> None:
    async with open_redis(redis_url) as harness:
        token = await leased(harness)
        others = [await harness.another_store(f"replica-{number}") for number in range(3)]
        for waiting in (*others, harness.store):
            await waiting.register_waits(0, ["task-1"])

        async with listening_to(harness.store) as listener:
            await listener.hears_of("task-1")
            told_before = len(listener.of_task("task-1"))
            await harness.store.store_results(0, [a_success("task-1", token)])
            await harness.store.submit_tasks(0, [a_submission("task-2", queue="woken-once")])
            await others[0].submit_tasks(0, [a_submission("task-3", queue="a-sign-that-all-has-arrived")])
            await listener.hears_exactly(QueueReady("a-sign-that-all-has-arrived"))

        assert len(listener.of_task("task-1")) == told_before + 1
        assert listener.queues().count("woken-once") == 1


async def test_each_way_in_which_a_task_changes_is_told(redis_url: str) -> None:
    async with open_redis(redis_url) as harness:
        other = await harness.second_store()
        token = await leased(harness)
        await other.register_waits(0, ["task-1"])
        store = harness.store

        async with listening_to(other) as listener:

            async def tells(count: int) -> None:
                await listener.hears(lambda _: len(listener.of_task("task-1")) == count)

            await store.beat_leases(0, [Beat(task_id="task-1", lease_token=token)])
            await tells(1)
            await store.release_leases(0, [Release(task_id="task-1", lease_token=token)], LOST)
            await tells(2)
            await store.lease_tasks(0, a_lease_request(first_nonce=2, start_immediately=True))
            await tells(3)
            await store.reap_leases(0, 10, LOST)
            await harness.advance(4_000)
            for _ in range(8):
                await store.reap_leases(0, 10, LOST)
                await harness.advance(4_000)
            await tells(4)

        snapshot = (await store.read_tasks(0, ["task-1"]))[0]
        assert snapshot is not None
        assert (snapshot.state, snapshot.revision) == (TaskState.RETRY, 5)


async def test_other_processes_are_woken_when_a_queue_gets_its_first_task(redis_url: str) -> None:
    async with open_redis(redis_url) as harness:
        other = await harness.second_store()

        async with listening_to(other) as listener:
            await harness.store.submit_tasks(0, [a_submission("task-1", queue="first")])
            await harness.store.submit_tasks(0, [a_submission("task-2", queue="first")])
            await harness.store.submit_tasks(0, [a_submission("task-3", queue="second")])
            await listener.hears_exactly(QueueReady("second"))
            assert listener.queues() == ["first", "second"]

            await harness.store.lease_tasks(0, a_lease_request("first", count=2))
            await harness.store.submit_tasks(0, [a_submission("task-4", queue="first", start_delay_ms=1)])
            await harness.advance(1)
            await harness.store.promote_due(0, 10)
            await listener.hears(lambda _: listener.queues() == ["first", "second", "first"])


async def test_nobody_is_woken_by_tasks_of_a_paused_queue(redis_url: str) -> None:
    async with open_redis(redis_url) as harness:
        other = await harness.second_store()
        await harness.store.pause_queue(0, "paused", is_paused=True)

        async with listening_to(other) as listener:
            await harness.store.submit_tasks(0, [a_submission("task-1", queue="paused")])
            await harness.store.submit_tasks(0, [a_submission("task-2", queue="a-sign-that-all-has-arrived")])
            await listener.hears_exactly(QueueReady("a-sign-that-all-has-arrived"))
            assert listener.queues() == ["a-sign-that-all-has-arrived"]


async def test_a_deadline_that_a_call_for_work_found_missed_is_told_everywhere(redis_url: str) -> None:
    async with open_redis(redis_url) as harness:
        other = await harness.second_store()
        await harness.store.submit_tasks(0, [a_submission("task-1", start_within_ms=1)])
        await other.register_waits(0, ["task-1"])
        await harness.advance(1)
        end = TaskChanged(task_id="task-1", is_done=True)

        async with listening_to(other) as there, listening_to(harness.store) as here:
            await harness.store.lease_tasks(0, a_lease_request())
            await there.hears_exactly(end)
            await here.hears_exactly(end)


async def test_this_process_is_told_that_its_own_call_made_a_task_ready(redis_url: str) -> None:
    async with open_redis(redis_url) as harness, listening_to(harness.store) as listener:
        await harness.store.submit_tasks(0, [a_submission("task-1"), a_submission("task-2", queue="other")])

        await listener.hears_exactly(QueueReady("default"))
        await listener.hears_exactly(QueueReady("other"))


async def test_a_lost_subscription_is_renewed_and_announced(redis_url: str) -> None:
    async with open_redis(redis_url) as harness:
        token = await leased(harness)
        other = await harness.second_store()
        await other.register_waits(0, ["task-1"])

        async with listening_to(other) as listener:
            await harness.admin.client_kill_filter(_type="pubsub")
            await listener.hears(lambda change: isinstance(change, EpochBreak))
            await harness.store.store_results(0, [a_success("task-1", token)])

            assert await listener.hears_of("task-1") == TaskChanged(task_id="task-1", is_done=True)


async def test_a_restart_of_redis_is_announced_once_it_can_be_heard_again() -> None:
    with redis_server(appendonly="yes", appendfsync="always") as server:
        async with open_redis(server.url) as harness, listening_to(harness.store) as listener:
            await harness.store.submit_tasks(0, [a_submission()])
            server.kill()
            server.start()

            await listener.hears(lambda change: isinstance(change, EpochBreak))

            assert (await harness.store.register_waits(0, ["task-1"]))[0] is not None


@pytest.mark.parametrize("payload", [b"not ours", b"", b"other\ntask-1 one", b"other\ntask-1 1 1 1"])
async def test_a_notification_that_cannot_be_understood_is_not_passed_over(redis_url: str, payload: bytes) -> None:
    async with open_redis(redis_url) as harness, listening_to(harness.store) as listener:
        await harness.admin.publish(f"tr:{harness.namespace}:n:0a0a0a0a", payload)

        await listener.hears(lambda change: isinstance(change, EpochBreak))


async def test_a_process_hears_from_another_that_a_task_it_delivered_is_to_stop(redis_url: str) -> None:
    async with open_redis(redis_url) as harness:
        token = await leased(harness)
        await harness.store.beat_leases(0, [Beat(task_id="task-1", lease_token=token)])
        other = await harness.second_store()

        async with listening_to(harness.store) as listener, listening_to(other) as elsewhere:
            await other.revoke_tasks(0, [Revocation(task_id="task-1", failure=STOP + b"\n\x00 \xff")])
            asked = LeaseNews(task_id="task-1", lease_token=token, revocation=STOP + b"\n\x00 \xff")
            await listener.hears_exactly(asked)
            await other.revoke_tasks(0, [Revocation(task_id="task-1", failure=STOP, is_forced=True)])
            await listener.hears_exactly(LeaseNews(task_id="task-1", lease_token=token, revocation=None))
            assert not [change for change in elsewhere.changes if isinstance(change, LeaseNews)]


async def test_a_process_hears_from_another_that_a_lease_ran_out(redis_url: str) -> None:
    async with open_redis(redis_url) as harness:
        token = await leased(harness)
        other = await harness.second_store()

        async with listening_to(harness.store) as listener:
            await harness.advance(10_000)
            await other.reap_leases(0, 10, LOST)
            await listener.hears_exactly(LeaseNews(task_id="task-1", lease_token=token, revocation=None))


async def test_a_process_hears_from_another_that_a_lease_was_ended_there_and_not_what_it_ended_itself(
    redis_url: str,
) -> None:
    async with open_redis(redis_url) as harness:
        token = await leased(harness)
        other = await harness.second_store()

        async with listening_to(harness.store) as listener, listening_to(other) as elsewhere:
            await other.release_leases(0, [Release(task_id="task-1", lease_token=token)], LOST)
            await listener.hears_exactly(LeaseNews(task_id="task-1", lease_token=token, revocation=None))
            (again,) = (await harness.store.lease_tasks(0, a_lease_request())).deliveries
            await other.store_results(0, [a_success("task-1", again.lease_token)])
            await listener.hears_exactly(LeaseNews(task_id="task-1", lease_token=again.lease_token, revocation=None))
            await harness.store.store_results(0, [a_success("task-2", await leased(harness, "task-2"))])
            await other.submit_tasks(0, [a_submission("task-3", queue="a-sign-that-all-has-arrived")])
            await listener.hears_exactly(QueueReady("a-sign-that-all-has-arrived"))

            tokens = [change.lease_token for change in listener.changes if isinstance(change, LeaseNews)]
            assert tokens == [token, again.lease_token]
            assert not [change for change in elsewhere.changes if isinstance(change, LeaseNews)]


async def test_the_process_that_took_the_latest_beat_is_the_one_that_hears_of_the_lease(redis_url: str) -> None:
    async with open_redis(redis_url) as harness:
        token = await leased(harness)
        other = await harness.second_store()
        await other.beat_leases(0, [Beat(task_id="task-1", lease_token=token)])

        async with listening_to(harness.store) as listener, listening_to(other) as moved_to:
            await harness.store.revoke_tasks(0, [Revocation(task_id="task-1", failure=STOP)])
            await moved_to.hears_exactly(LeaseNews(task_id="task-1", lease_token=token, revocation=STOP))
            assert not [change for change in listener.changes if isinstance(change, LeaseNews)]


async def test_processes_hear_nothing_of_another_database_of_the_same_redis(redis_url: str) -> None:
    """Whoever shares a Redis gives each deployment a database of its own, but channels belong to all databases."""
    async with open_redis(redis_url) as harness:
        apart, together = [await harness.another_store(name, url=f"{redis_url}/1") for name in ("apart", "together")]
        async with listening_to(apart) as listener:
            await harness.store.submit_tasks(0, [a_submission()])
            await harness.store.drain_worker("worker-1")
            await together.drain_worker("a-sign-that-all-has-arrived")
            await listener.hears_exactly(DrainRequested("a-sign-that-all-has-arrived"))

        assert listener.changes == [DrainRequested("a-sign-that-all-has-arrived")]
    async with Redis.from_url(f"{redis_url}/1") as admin:
        await admin.flushdb()


async def test_a_resumed_queue_is_told_to_the_other_processes_if_it_has_tasks(redis_url: str) -> None:
    async with open_redis(redis_url) as harness:
        await harness.store.pause_queue(0, "full", is_paused=True)
        await harness.store.pause_queue(0, "empty", is_paused=True)
        await harness.store.submit_tasks(0, [a_submission(queue="full")])
        other = await harness.second_store()

        async with listening_to(other) as listener:
            await harness.store.pause_queue(0, "empty", is_paused=False)
            await harness.store.pause_queue(0, "full", is_paused=False)
            await harness.store.submit_tasks(0, [a_submission("task-2", queue="a-sign-that-all-has-arrived")])
            await listener.hears_exactly(QueueReady("a-sign-that-all-has-arrived"))

        assert listener.queues() == ["full", "a-sign-that-all-has-arrived"]
