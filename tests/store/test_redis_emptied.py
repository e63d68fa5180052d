"""A Redis that loses its data: every server notices, once, and goes on with what is there now."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from tailrace.server.domain.errors import StoreUnavailableError
from tailrace.server.store.changes import EpochBreak, StoreEmptied
from tailrace.server.store.redis import RedisStore, epoch_watch
from tests.redis_server import RedisServer, redis_server
from tests.store.builders import a_submission
from tests.store.redis_listener import Listener, listening_to
from tests.wait import eventually_answers

NAMESPACE = "emptied"
META = f"tr:{NAMESPACE}:meta"


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """Run a Redis that keeps nothing on disk."""
    with redis_server(appendonly="no") as server:
        yield server


@pytest.fixture
def looking_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epoch_watch, "CHECK_S", 0.1)


def a_store(server: RedisServer, replica_id: str = "replica", partitions: int | None = None) -> RedisStore:
    return RedisStore(server.url, replica_id=replica_id, namespace=NAMESPACE, partitions=partitions)


@pytest.fixture
async def store(server: RedisServer) -> AsyncIterator[RedisStore]:
    store = a_store(server, partitions=4)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def admin(server: RedisServer) -> AsyncIterator[Redis]:
    async with Redis.from_url(server.url, protocol=2) as admin:
        yield admin


def emptyings(listener: Listener) -> int:
    return listener.changes.count(StoreEmptied())


@pytest.mark.usefixtures("looking_often")
async def test_a_flushed_redis_is_noticed_once_and_used_on(server: RedisServer, admin: Redis) -> None:
    store = a_store(server, partitions=4)
    await store.open()
    epoch = await admin.hget(META, "epoch")
    async with listening_to(store) as listener:
        with capture_logs() as logs:
            await admin.flushall()
            await listener.hears_exactly(StoreEmptied())
        meta = await admin.hgetall(META)
        checks = await admin.info("commandstats")
        await store.submit_tasks(3, [a_submission()])
        await eventually_answers(lambda: has_looked_again(admin, checks), expected=True)

    assert emptyings(listener) == 1
    assert [line["event"] for line in logs] == ["store_set_up_anew"]
    assert (meta[b"partitions"], meta[b"schema"]) == (b"4", b"2")
    assert meta[b"epoch"] != epoch
    assert (await store.read_tasks(3, ["task-1"]))[0] is not None
    await store.close()


async def has_looked_again(admin: Redis, before: dict[str, dict[str, int]]) -> bool:
    statistics = await admin.info("commandstats")
    return bool(statistics["cmdstat_hgetall"]["calls"] > before["cmdstat_hgetall"]["calls"] + 3)


async def test_a_redis_restarted_without_its_data_is_noticed_before_waits_are_looked_after(
    store: RedisStore, server: RedisServer
) -> None:
    async with listening_to(store) as listener:
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        await listener.hears_exactly(EpochBreak())

    assert StoreEmptied() in listener.changes
    assert listener.changes.index(StoreEmptied()) < listener.changes.index(EpochBreak())


async def test_nobody_hears_that_a_task_does_not_exist_before_it_is_told_that_all_are_lost(
    store: RedisStore, admin: Redis
) -> None:
    await store.submit_tasks(0, [a_submission()])
    async with listening_to(store) as listener:
        assert (await store.register_waits(0, ["task-1"]))[0] is not None
        await admin.flushall()

        assert await store.register_waits(0, ["task-1"]) == [None]
        assert emptyings(listener) == 1


async def test_a_task_that_nobody_submitted_empties_no_store(store: RedisStore) -> None:
    async with listening_to(store) as listener:
        assert await store.register_waits(0, ["task-1"]) == [None]

    assert emptyings(listener) == 0


async def test_all_servers_notice_and_agree_on_what_is_there_now(
    store: RedisStore, server: RedisServer, admin: Redis
) -> None:
    others = [a_store(server, f"other-{number}") for number in range(5)]
    async with AsyncExitStack() as stack:
        listeners = [await stack.enter_async_context(listening_to(store))]
        for other in others:
            await other.open()
            stack.push_async_callback(other.close)
            listeners.append(await stack.enter_async_context(listening_to(other)))
        await admin.flushall()

        await asyncio.gather(*(one.register_waits(0, ["task-1"]) for one in (store, *others)))
        epochs = [one._epoch_watch.epoch for one in (store, *others)]

        now = await admin.hget(META, "epoch")
        assert [epoch and epoch.encode() for epoch in epochs] == [now] * 6
        assert [emptyings(listener) for listener in listeners] == [1] * 6


async def test_a_store_set_up_anew_in_another_shape_is_not_used_until_the_server_starts_again(
    store: RedisStore, server: RedisServer, admin: Redis
) -> None:
    await admin.flushall()
    other = a_store(server, "other", partitions=2)
    await other.open()
    await other.close()

    with pytest.raises(StoreUnavailableError, match="holds data in 2 partitions, and 4 were asked for"):
        await store.register_waits(0, ["task-1"])
    with pytest.raises(StoreUnavailableError, match="the server has to be started again"):
        await store.submit_tasks(3, [a_submission()])

    assert await admin.keys("*task-1*") == []
