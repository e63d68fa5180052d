"""Which Redis may hold tasks, which may not, and what the operator is told about it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from tailrace.server.domain.errors import StoreUnavailableError
from tailrace.server.store.redis import RedisStore, engine
from tests.redis_server import RedisServer, redis_server
from tests.store.builders import a_submission
from tests.store.redis_harness import open_redis
from tests.wait import eventually_async

PASSWORD = "geheim-4711"


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@asynccontextmanager
async def opened(url: str, *, partitions: int | None = None) -> AsyncIterator[RedisStore]:
    redis_store = RedisStore(url, replica_id="replica", namespace="boot", partitions=partitions)
    await redis_store.open()
    try:
        yield redis_store
    finally:
        await redis_store.close()


async def configure(server: RedisServer, name: str, value: str) -> None:
    async with Redis.from_url(server.url) as admin:
        await admin.config_set(name, value)


async def refusal_of(url: str, *, partitions: int | None = None) -> str:
    with pytest.raises(StoreUnavailableError) as refusal:
        async with opened(url, partitions=partitions):
            pass
    return str(refusal.value)


async def test_a_redis_that_throws_data_away_is_refused(server: RedisServer) -> None:
    await configure(server, "maxmemory", "100mb")
    await configure(server, "maxmemory-policy", "allkeys-lru")

    text = await refusal_of(server.url)

    assert "set its maxmemory-policy from allkeys-lru to noeviction" in text


async def test_an_evicting_policy_without_a_limit_evicts_nothing_and_is_taken(server: RedisServer) -> None:
    await configure(server, "maxmemory-policy", "allkeys-lru")

    async with opened(server.url) as redis_store:
        assert redis_store.partitions == 1


async def test_a_replica_is_refused(server: RedisServer) -> None:
    server.command("REPLICAOF", "127.0.0.1", "1")

    assert "is a replica; name its primary" in await refusal_of(server.url)


async def test_a_node_of_a_cluster_is_refused() -> None:
    with redis_server(cluster_enabled="yes") as node:
        assert "is a node of a cluster: name it with redis+cluster://host:port" in await refusal_of(node.url)


async def test_a_redis_that_is_no_cluster_is_refused_as_one(server: RedisServer) -> None:
    url = server.url.replace("redis://", "redis+cluster://")

    assert "is no cluster: name it with redis://" in await refusal_of(url)


async def test_a_cluster_whose_slots_nobody_has_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "OPEN_PATIENCE_S", 0.3)
    with redis_server(cluster_enabled="yes") as node:
        url = node.url.replace("redis://", "redis+cluster://")

        assert "nobody has any slots" in await refusal_of(url)


async def test_a_redis_too_old_is_refused() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        info = b"# Server\r\nredis_version:6.0.16\r\n"
        await reader.read(1 << 16)
        writer.write(b"$%d\r\n%s\r\n" % (len(info), info))
        await reader.read()
        writer.close()

    old = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with old:
        text = await refusal_of(f"redis://127.0.0.1:{old.sockets[0].getsockname()[1]}")

    assert "is version 6.0.16; 6.2 or later is needed" in text


async def test_a_redis_that_is_not_durable_is_taken_with_a_warning(server: RedisServer) -> None:
    with capture_logs() as logs:
        async with opened(server.url) as redis_store:
            assert "WITHOUT append-only file" in redis_store.description

    warning = next(line for line in logs if line["log_level"] == "warning")
    assert (warning["event"], warning["missing"]) == ("store_not_durable", "appendonly yes")


async def test_a_durable_redis_is_taken_without_a_word() -> None:
    with redis_server(appendonly="yes") as server, capture_logs() as logs:
        async with opened(server.url) as redis_store:
            assert ", with append-only file" in redis_store.description

    assert logs == []


async def test_the_number_of_partitions_is_fixed_with_the_data(server: RedisServer) -> None:
    async with opened(server.url, partitions=4):
        pass

    text = await refusal_of(server.url, partitions=8)
    async with opened(server.url) as joined:
        assert joined.partitions == 4

    assert "holds data in 4 partitions, and 8 were asked for" in text


@pytest.mark.parametrize("schema", ["1", "3"])
async def test_data_that_another_release_laid_out_differently_is_refused(server: RedisServer, schema: str) -> None:
    async with Redis.from_url(server.url, protocol=2) as admin:
        await admin.hset("tr:boot:meta", mapping={"partitions": "1", "epoch": "theirs", "schema": schema})

    assert f"holds data of schema {schema}; this release knows 2" in await refusal_of(server.url)


async def test_servers_that_come_at_once_agree_on_one_deployment(server: RedisServer) -> None:
    stores = [RedisStore(server.url, replica_id=f"replica-{number}", namespace="boot") for number in range(8)]
    await asyncio.gather(*(one.open() for one in stores))
    async with Redis.from_url(server.url) as admin:
        meta = await admin.hgetall("tr:boot:meta")
    for one in stores:
        await one.close()

    assert {one._deployment.epoch.encode() for one in stores if one._deployment} == {meta[b"epoch"]}


async def test_a_redis_that_is_not_there_is_waited_for_and_then_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "OPEN_PATIENCE_S", 0.3)
    with redis_server() as server:
        url = server.url.replace("redis://", f"redis://me:{PASSWORD}@")

    text = await refusal_of(url)

    assert f"Redis at {server.url.removeprefix('redis://')} cannot be reached" in text
    assert "is it running, and is the URL right?" in text
    assert PASSWORD not in text


async def test_a_redis_that_comes_up_meanwhile_is_taken(server: RedisServer) -> None:
    server.kill()
    redis_store = RedisStore(server.url, replica_id="replica", namespace="boot")
    opening = asyncio.create_task(redis_store.open())
    await asyncio.to_thread(server.start)

    await opening

    assert (await redis_store.submit_tasks(0, [a_submission()]))[0].is_created
    await redis_store.close()


async def test_a_wrong_password_is_said_at_once_and_never_repeated(server: RedisServer) -> None:
    server.command("CONFIG", "SET", "requirepass", "another")

    text = await refusal_of(server.url.replace("redis://", f"redis://:{PASSWORD}@"))

    assert "refuses the user name or password" in text
    assert PASSWORD not in text


async def test_a_password_is_kept_out_of_the_description(server: RedisServer) -> None:
    server.command("CONFIG", "SET", "requirepass", PASSWORD)

    async with opened(server.url.replace("redis://", f"redis://:{PASSWORD}@")) as redis_store:
        assert server.url.removeprefix("redis://") in redis_store.description
        assert PASSWORD not in redis_store.description


async def test_a_user_who_may_not_subscribe_is_refused(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "OPEN_PATIENCE_S", 0.3)
    monkeypatch.setattr(engine, "CLOSE_DEADLINE_S", 0.3)
    server.command("ACL", "SETUSER", "me", "on", f">{PASSWORD}", "~*", "resetchannels", "+@all")

    text = await refusal_of(server.url.replace("redis://", f"redis://me:{PASSWORD}@"))

    assert "does not let us subscribe" in text


async def test_closing_twice_and_calling_afterwards_are_harmless(redis_url: str) -> None:
    async with open_redis(redis_url) as harness:
        changes = harness.store.changes()
        await harness.store.close()
        await harness.store.close()

        with pytest.raises(StoreUnavailableError, match="the store is not open"):
            await harness.store.read_tasks(0, ["task-1"])
        assert [change async for change in changes] == []


async def test_a_store_that_failed_to_open_leaves_nothing_running(server: RedisServer) -> None:
    tasks_before = asyncio.all_tasks()
    server.command("REPLICAOF", "127.0.0.1", "1")

    await refusal_of(server.url)

    await eventually_async(lambda: asyncio.all_tasks() == tasks_before, "the store's tasks have ended")
    await eventually_async(lambda: clients(server) == 1, "its connections are closed")


def clients(server: RedisServer) -> int:
    count = "return tonumber(string.match(redis.call('INFO', 'clients'), 'connected_clients:(%d+)'))"
    return int(server.command("EVAL", count, "0").removeprefix(":"))
