"""The Redis store under test: a namespace of its own, and a clock that is a key in Redis."""

import uuid
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis

from tailrace.server.store.redis import RedisStore
from tailrace.server.store.redis.keys import Keyspace
from tests.redis_server import redis_server
from tests.store.harness import REPLICA_ID, SECOND_REPLICA_ID, START_MS

CLOCK = "local function now() return tonumber(redis.call('GET', ARGV[1] .. 'clock')) end"
"""Takes the place of the store's clock: absolute ms, in a key of the partition."""


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """Run one Redis for all tests of the session; each keeps to a namespace of its own."""
    with redis_server(appendonly="no", maxmemory_policy="noeviction") as server:
        yield server.url


class NamespaceHarness(ABC):
    """See Harness. Everything is in a namespace of its own."""

    def __init__(self, url: str, partitions: int) -> None:
        self.namespace = uuid.uuid4().hex
        self._url = url
        self._partitions = partitions
        self._now_ms = START_MS
        self._stores: list[RedisStore] = []
        self.store = self._new_store(REPLICA_ID)

    @property
    def now_ms(self) -> int:
        return self._now_ms

    def prefix(self, partition: int = 0) -> str:
        """Name what all keys of a partition begin with."""
        return Keyspace(self.namespace).partition(partition, self._partitions).prefix

    async def open(self) -> None:
        await self.advance(0)
        await self.store.open()

    async def advance(self, ms: int) -> None:
        self._now_ms += ms
        await self._show_time()

    async def reopen(self) -> None:
        await self.store.close()
        self.store = self._new_store(REPLICA_ID)
        await self.store.open()

    async def second_store(self) -> RedisStore:
        return await self.another_store(SECOND_REPLICA_ID)

    async def another_store(self, replica_id: str, *, url: str | None = None) -> RedisStore:
        """Open one more store, reached another way if need be; closed with the harness."""
        store = self._new_store(replica_id, url)
        await store.open()
        return store

    async def close(self) -> None:
        for store in self._stores:
            await store.close()

    def _clock_keys(self) -> list[str]:
        return [f"{self.prefix(partition)}clock" for partition in range(self._partitions)]

    @abstractmethod
    async def _show_time(self) -> None:
        """Have the clocks of all partitions show the time."""

    def _new_store(self, replica_id: str, url: str | None = None) -> RedisStore:
        store = RedisStore(
            url or self._url,
            replica_id=replica_id,
            namespace=self.namespace,
            partitions=self._partitions,
            clock=CLOCK,
        )
        self._stores.append(store)
        return store


class RedisHarness(NamespaceHarness):
    """On one Redis."""

    def __init__(self, url: str, admin: Redis, partitions: int) -> None:
        super().__init__(url, partitions)
        self.admin = admin
        """For looking at what is in Redis."""

    async def keys(self) -> list[str]:
        """List all keys of this namespace."""
        return sorted([key.decode() async for key in self.admin.scan_iter(f"tr:{self.namespace}:*", count=1000)])

    async def close(self) -> None:
        await super().close()
        if keys := await self.keys():
            await self.admin.unlink(*keys)

    async def _show_time(self) -> None:
        await self.admin.mset(dict.fromkeys(self._clock_keys(), self._now_ms))


@asynccontextmanager
async def open_redis(url: str, *, partitions: int = 1) -> AsyncIterator[RedisHarness]:
    """Open a harness on a namespace of its own."""
    async with Redis.from_url(url, protocol=2) as admin:
        harness = RedisHarness(url, admin, partitions)
        try:
            await harness.open()
            yield harness
        finally:
            await harness.close()
