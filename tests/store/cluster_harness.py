"""The Redis store on a cluster under test: as on one Redis, but that keys are on several nodes."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

import pytest
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.cluster import RedisCluster as ClusterAdmin

from tests.redis_cluster import RedisCluster, redis_cluster
from tests.store.redis_harness import RedisHarness

if TYPE_CHECKING:
    from redis.asyncio import Redis


@pytest.fixture(scope="session")
def cluster() -> Iterator[RedisCluster]:
    """Run one cluster for all tests of the session; each keeps to a namespace of its own, and does it no harm."""
    with redis_cluster() as cluster:
        yield cluster


class ClusterHarness(RedisHarness):
    """See Harness."""

    async def _show_time(self) -> None:
        await asyncio.gather(*(self.admin.set(key, self.now_ms) for key in self._clock_keys()))

    async def _remove_keys(self) -> None:
        """Leave them: the cluster ends with the session."""


@asynccontextmanager
async def open_cluster(cluster: RedisCluster, *, partitions: int = 1) -> AsyncIterator[ClusterHarness]:
    """Open a harness on a namespace of its own."""
    nodes = [ClusterNode("127.0.0.1", node.port) for node in cluster.nodes]
    async with ClusterAdmin(startup_nodes=nodes, protocol=2) as admin:
        # It knows the same commands; those that are about several keys at once are not used.
        harness = ClusterHarness(cluster.url, cast("Redis", admin), partitions)
        try:
            await harness.open()
            yield harness
        finally:
            await harness.close()
