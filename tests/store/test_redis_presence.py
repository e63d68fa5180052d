"""What several processes on one Redis know of each other's workers."""

import json
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, replace

import pytest

from tailrace.server.domain.errors import StoreUnavailableError
from tailrace.server.store.changes import DrainRequested
from tailrace.server.store.operators import PRESENCE_MS, WorkerPresence
from tailrace.server.store.redis import RedisStore
from tests.store.harness import REPLICA_ID, SECOND_REPLICA_ID
from tests.store.redis_harness import RedisHarness, open_redis
from tests.store.redis_listener import listening_to

ONE = WorkerPresence(
    worker_id="one",
    session_id="session-1",
    queues=("default", "slow"),
    sdk="python/0.1.0",
    outstanding_count=3,
    max_outstanding_tasks=16,
    is_draining=False,
    connect_ms=1_700_000_000_000,
    last_seen_ms=1_700_000_001_000,
)
TWO = replace(ONE, worker_id="two")
DAY_NS = 86_400_000_000_000


@pytest.fixture
async def harness(redis_url: str) -> AsyncIterator[RedisHarness]:
    async with open_redis(redis_url) as harness:
        yield harness


def workers_key(harness: RedisHarness, replica_id: str = REPLICA_ID) -> str:
    return f"tr:{harness.namespace}:workers:{replica_id}"


def replicas_key(harness: RedisHarness) -> str:
    return f"tr:{harness.namespace}:replicas"


async def test_a_process_that_falls_silent_is_forgotten_with_its_workers(harness: RedisHarness) -> None:
    other = await harness.second_store()
    await harness.store.announce_workers([ONE])
    await other.announce_workers([TWO])
    ttl_ms = await harness.admin.pttl(workers_key(harness))

    await harness.admin.pexpire(workers_key(harness), 0)

    assert 0 < ttl_ms <= PRESENCE_MS
    assert await other.list_workers() == [TWO]


async def test_a_process_whose_clock_is_wrong_is_found(harness: RedisHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    other, now_ns = await harness.second_store(), time.time_ns()
    with monkeypatch.context() as patch:
        patch.setattr(time, "time_ns", lambda: now_ns - DAY_NS)
        await harness.store.announce_workers([ONE])

    await other.announce_workers([TWO])

    assert await other.list_workers() == [ONE, TWO]


async def test_a_process_that_speaks_again_is_heard_again(harness: RedisHarness) -> None:
    await harness.store.announce_workers([ONE])
    await harness.admin.pexpire(workers_key(harness), 0)
    assert await harness.store.list_workers() == []

    await harness.store.announce_workers([ONE])

    assert await harness.store.list_workers() == [ONE]


async def test_processes_that_have_been_silent_for_long_are_looked_for_no_more(harness: RedisHarness) -> None:
    now_ms = time.time_ns() // 1_000_000
    ages = {"gone": now_ms - 2 * 3_600_000, "silent": now_ms - 600_000, SECOND_REPLICA_ID: now_ms}
    await harness.admin.zadd(replicas_key(harness), ages)

    await harness.store.announce_workers([ONE])

    replicas = await harness.admin.zrange(replicas_key(harness), 0, -1)
    assert sorted(replicas) == sorted([b"silent", SECOND_REPLICA_ID.encode(), REPLICA_ID.encode()])
    assert await harness.store.list_workers() == [ONE]


async def test_a_process_without_workers_leaves_nothing_behind(harness: RedisHarness) -> None:
    await harness.store.announce_workers([ONE])

    await harness.store.announce_workers([])

    assert await harness.admin.exists(workers_key(harness), replicas_key(harness)) == 0


async def test_what_a_newer_release_says_beside_is_passed_over(harness: RedisHarness) -> None:
    newer = asdict(ONE) | {"mood": "sunny"}
    await harness.admin.set(workers_key(harness, "newer"), json.dumps([newer]))
    await harness.admin.zadd(replicas_key(harness), {"newer": 1})

    assert await harness.store.list_workers() == [ONE]


async def test_a_drain_is_told_to_every_process_once(harness: RedisHarness) -> None:
    other = await harness.second_store()
    async with listening_to(harness.store) as here, listening_to(other) as there:
        await harness.store.drain_worker("one of many")
        await harness.store.drain_worker("two")
        for listener in (here, there):
            await listener.hears_exactly(DrainRequested("two"))

        assert here.changes == there.changes == [DrainRequested("one of many"), DrainRequested("two")]


async def test_a_process_that_is_started_again_speaks_for_itself_anew(harness: RedisHarness) -> None:
    await harness.store.announce_workers([ONE, TWO])
    await harness.reopen()

    await harness.store.announce_workers([TWO])

    assert await harness.store.list_workers() == [TWO]


async def test_workers_of_another_namespace_are_not_listed(harness: RedisHarness, redis_url: str) -> None:
    async with open_redis(redis_url) as elsewhere:
        await elsewhere.store.announce_workers([ONE])

        assert await harness.store.list_workers() == []


async def test_a_store_that_is_not_open_says_so(redis_url: str) -> None:
    store = RedisStore(redis_url, replica_id="0a0a0a0a")

    with pytest.raises(StoreUnavailableError, match="not open"):
        await store.list_workers()
    with pytest.raises(StoreUnavailableError, match="not open"):
        await store.announce_workers([ONE])
    with pytest.raises(StoreUnavailableError, match="not open"):
        await store.drain_worker("one")
    await store.close()
