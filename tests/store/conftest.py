"""The stores that the conformance suite runs over."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path

import pytest

from tests.store.cluster_harness import cluster, open_cluster
from tests.store.harness import Harness
from tests.store.redis_harness import open_redis, redis_url
from tests.store.sqlite_harness import open_sqlite
from tests.store.steps import Steps

__all__ = ["cluster", "redis_url"]

OpenHarness = Callable[..., Awaitable[Harness]]


@pytest.fixture(params=["sqlite", "redis", "cluster"])
async def open_harness(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[OpenHarness]:
    """Open a harness on empty data: ``await open_harness(partitions=4)``."""

    def enter(partitions: int) -> AbstractAsyncContextManager[Harness]:
        if request.param == "sqlite":
            return open_sqlite(tmp_path, partitions=partitions)
        if request.param == "cluster":
            return open_cluster(request.getfixturevalue("cluster"), partitions=partitions)
        return open_redis(request.getfixturevalue("redis_url"), partitions=partitions)

    async with AsyncExitStack() as stack:

        async def open_one(partitions: int = 1) -> Harness:
            return await stack.enter_async_context(enter(partitions))

        yield open_one


@pytest.fixture
async def harness(open_harness: OpenHarness) -> Harness:
    return await open_harness()


@pytest.fixture
def steps(harness: Harness) -> Steps:
    return Steps(harness)
