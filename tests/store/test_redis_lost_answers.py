"""A script has run, but its answer was lost: callers are told that the outcome is unknown, and may repeat the call."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tailrace.server.domain.errors import StoreUnavailableError
from tailrace.server.domain.lease import DELIVERY_LEASE_MS
from tailrace.server.domain.retry import RetryPolicy
from tailrace.server.domain.task import Place, TaskState
from tailrace.server.store.changes import EpochBreak, TaskChanged
from tailrace.server.store.redis import RedisStore
from tailrace.server.store.redis.scripts import assemble
from tailrace.server.store.values import Beat, Delivery, LeaseHeld, Release
from tests.store.builders import LOST, a_failure, a_lease_request, a_submission, a_success
from tests.store.redis_harness import CLOCK, RedisHarness, open_redis
from tests.store.redis_listener import Listener, listening_to
from tests.store.redis_proxy import RedisProxy, redis_proxy


class Lossy:
    """A store whose next answer is going to be lost, and the harness that its data is in."""

    def __init__(self, harness: RedisHarness, proxy: RedisProxy, store: RedisStore, listener: Listener) -> None:
        self.harness = harness
        self.store = store
        self.listener = listener
        self._proxy = proxy

    @asynccontextmanager
    async def loses_answer_to(self, script: str) -> AsyncIterator[None]:
        """Expect the block's call to fail once it has run in Redis."""
        self._proxy.lose_answer_to(assemble(script, CLOCK).sha)
        with pytest.raises(StoreUnavailableError, match="the server's Redis broke the connection"):
            yield
        assert self._proxy.lost == 1

    async def leased(self, task_id: str = "task-1") -> Delivery:
        await self.store.submit_tasks(0, [a_submission(task_id)])
        return (await self.store.lease_tasks(0, a_lease_request())).deliveries[0]

    async def ready_count(self) -> int:
        return int(await self.harness.admin.llen(f"{self.harness.prefix()}q:default:0"))


@pytest.fixture
async def lossy(redis_url: str) -> AsyncIterator[Lossy]:
    async with redis_proxy(redis_url) as proxy, open_redis(redis_url) as harness:
        store = await harness.another_store("lossy", url=proxy.url)
        async with listening_to(store) as listener:
            yield Lossy(harness, proxy, store, listener)
        await store.close()


async def test_a_repeated_submit_finds_the_task_that_it_created(lossy: Lossy) -> None:
    async with lossy.loses_answer_to("submit_tasks"):
        await lossy.store.submit_tasks(0, [a_submission()])

    submitted = (await lossy.store.submit_tasks(0, [a_submission()]))[0]

    assert not submitted.is_created
    assert not submitted.is_conflict
    assert await lossy.ready_count() == 1


async def test_a_repeated_read_reads(lossy: Lossy) -> None:
    await lossy.store.submit_tasks(0, [a_submission()])
    async with lossy.loses_answer_to("read_tasks"):
        await lossy.store.read_tasks(0, ["task-1"])

    assert [snapshot and snapshot.state for snapshot in await lossy.store.read_tasks(0, ["task-1"])] == ["PENDING"]


async def test_a_repeated_registration_registers_once(lossy: Lossy) -> None:
    await lossy.store.submit_tasks(0, [a_submission()])
    async with lossy.loses_answer_to("register_waits"):
        await lossy.store.register_waits(0, ["task-1"])

    await lossy.store.register_waits(0, ["task-1"])

    assert await lossy.harness.admin.hget(f"{lossy.harness.prefix()}t:task-1", "w") == b"lossy"


async def test_what_a_lost_answer_delivered_comes_back_after_the_delivery_lease(lossy: Lossy) -> None:
    await lossy.store.submit_tasks(0, [a_submission()])
    await lossy.store.reap_leases(0, 10, LOST)
    async with lossy.loses_answer_to("lease_tasks"):
        await lossy.store.lease_tasks(0, a_lease_request())
    repeated = await lossy.store.lease_tasks(0, a_lease_request(first_nonce=2))
    for _ in range(3):
        await lossy.harness.advance(DELIVERY_LEASE_MS // 3 + 1)
        await lossy.store.reap_leases(0, 10, LOST)

    delivery = (await lossy.store.lease_tasks(0, a_lease_request(first_nonce=3))).deliveries[0]

    assert repeated.deliveries == ()
    assert (delivery.attempt, delivery.lease_token[:4]) == (1, b"\0\0\0\2")


async def test_a_lost_answer_to_a_start_on_delivery_makes_everybody_read_anew(lossy: Lossy) -> None:
    await lossy.store.submit_tasks(0, [a_submission()])
    async with lossy.loses_answer_to("lease_tasks"):
        await lossy.store.lease_tasks(0, a_lease_request(start_immediately=True))

    await lossy.listener.hears(lambda change: isinstance(change, EpochBreak))


async def test_a_repeated_beat_starts_no_second_attempt(lossy: Lossy) -> None:
    delivery = await lossy.leased()
    beats = [Beat(task_id="task-1", lease_token=delivery.lease_token)]
    async with lossy.loses_answer_to("beat_leases"):
        await lossy.store.beat_leases(0, beats)

    (held,) = await lossy.store.beat_leases(0, beats)
    snapshot = (await lossy.store.read_tasks(0, ["task-1"]))[0]

    assert held == LeaseHeld(expire_ms=lossy.harness.now_ms + delivery.lease_ms)
    assert snapshot is not None
    assert (snapshot.state, snapshot.attempt, snapshot.revision) == (TaskState.STARTED, 1, 2)


@pytest.mark.parametrize("is_failure", [False, True])
async def test_a_repeated_result_is_a_duplicate(lossy: Lossy, *, is_failure: bool) -> None:
    token = (await lossy.leased()).lease_token
    policy = RetryPolicy(max_attempts=3)
    end = a_failure("task-1", token, default_retry_policy=policy) if is_failure else a_success("task-1", token)
    async with lossy.loses_answer_to("store_results"):
        await lossy.store.store_results(0, [end])

    stored = (await lossy.store.store_results(0, [end]))[0]
    snapshot = (await lossy.store.read_tasks(0, ["task-1"]))[0]

    assert stored is not None
    assert stored.is_duplicate
    assert stored.state is (TaskState.RETRY if is_failure else TaskState.SUCCESS)
    assert snapshot is not None
    assert (snapshot.attempt, snapshot.revision) == (1, 3)


async def test_those_who_wait_here_are_told_that_a_task_may_have_ended(lossy: Lossy) -> None:
    token = (await lossy.leased()).lease_token
    async with lossy.loses_answer_to("store_results"):
        await lossy.store.store_results(0, [a_success("task-1", token)])

    await lossy.listener.hears_exactly(TaskChanged(task_id="task-1", snapshot=None, is_done=None))


async def test_a_repeated_release_leaves_the_task_on_its_queue_once(lossy: Lossy) -> None:
    releases = [Release(task_id="task-1", lease_token=(await lossy.leased()).lease_token)]
    async with lossy.loses_answer_to("release_leases"):
        await lossy.store.release_leases(0, releases, LOST)

    assert await lossy.store.release_leases(0, releases, LOST) == [False]
    assert await lossy.ready_count() == 1


async def test_a_repeated_reap_takes_a_task_once(lossy: Lossy) -> None:
    await lossy.leased()
    for _ in range(2):
        await lossy.store.reap_leases(0, 10, LOST)
        await lossy.harness.advance(DELIVERY_LEASE_MS // 2)
    async with lossy.loses_answer_to("reap_leases"):
        await lossy.store.reap_leases(0, 10, LOST)

    assert (await lossy.store.reap_leases(0, 10, LOST)).count == 0
    assert await lossy.ready_count() == 1
    await lossy.listener.hears(lambda change: isinstance(change, EpochBreak))


async def test_a_repeated_promotion_moves_a_task_once(lossy: Lossy) -> None:
    await lossy.store.submit_tasks(0, [a_submission(start_delay_ms=1)])
    await lossy.harness.advance(1)
    async with lossy.loses_answer_to("promote_due"):
        await lossy.store.promote_due(0, 10)

    assert (await lossy.store.promote_due(0, 10)).count == 0
    assert await lossy.ready_count() == 1
    snapshot = (await lossy.store.read_tasks(0, ["task-1"]))[0]
    assert snapshot is not None
    assert snapshot.place is Place.READY


async def test_a_repeated_expiry_removes_nothing_else(lossy: Lossy) -> None:
    await lossy.store.submit_tasks(0, [a_submission("task-2")])
    token = (await lossy.leased()).lease_token
    await lossy.store.store_results(0, [a_success("task-2", token)])
    await lossy.harness.advance(a_submission().result_ttl_ms)
    async with lossy.loses_answer_to("expire_done"):
        await lossy.store.expire_done(0, 10)

    assert (await lossy.store.expire_done(0, 10)).count == 0
    found = await lossy.store.read_tasks(0, ["task-1", "task-2"])
    assert [snapshot is not None for snapshot in found] == [True, False]
