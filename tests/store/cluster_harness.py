"""The Redis store on a cluster under test: as on one Redis, but that keys are on several nodes."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from tailrace.server.store.redis.cluster import ClusterClient
from tests.redis_cluster import RedisCluster, redis_cluster
from tests.store.redis_harness import NamespaceHarness


@pytest.fixture(scope="session")
def cluster() -> Iterator[RedisCluster]:
    """Run one cluster for all tests of the session; each keeps to a namespace of its own, and does it no harm."""
    with redis_cluster() as cluster:
        yield cluster


class ClusterHarness(NamespaceHarness):
    """On a cluster, which keeps what was written until it ends."""

    def __init__(self, cluster: RedisCluster, partitions: int) -> None:
        super().__init__(cluster.url, partitions)
        self._client = ClusterClient(cluster.url, on_move=lambda: None)

    async def close(self) -> None:
        await super().close()
        await self._client.close()

    async def _show_time(self) -> None:
        await asyncio.gather(*(self._client.call("SET", key, self.now_ms) for key in self._clock_keys()))


@asynccontextmanager
async def open_cluster(cluster: RedisCluster, *, partitions: int = 1) -> AsyncIterator[ClusterHarness]:
    """Open a harness on a namespace of its own."""
    harness = ClusterHarness(cluster, partitions)
    try:
        await harness.open()
        yield harness
    finally:
        await harness.close()
