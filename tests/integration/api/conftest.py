"""A server for each test of the API, over each store."""

import gc
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tailrace.server.domain.limits import PAYLOAD_BYTES_CEILING
from tests.integration.api.serving import Api, serving
from tests.store.harness import SECOND_REPLICA_ID, Harness
from tests.store.redis_harness import RedisHarness, redis_url
from tests.store.sqlite_harness import SqliteHarness

__all__ = ["redis_url"]


@pytest.fixture(scope="session", autouse=True)
def quick_collections() -> Iterator[None]:
    """Keep what was there before out of garbage collections: each test here ends with one, to see what it left."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def sqlite(tmp_path: Path) -> Harness:
    """Make an embedded store that its server is to open."""
    return SqliteHarness(tmp_path / "tailrace.db", partitions=1)


@pytest.fixture(params=["sqlite", "redis"])
async def harness(request: pytest.FixtureRequest, sqlite: Harness) -> AsyncIterator[Harness]:
    """Make a store of each kind that its server is to open."""
    if request.param == "sqlite":
        yield sqlite
        return
    url = request.getfixturevalue("redis_url")
    async with Redis.from_url(url, protocol=2) as admin:
        harness = RedisHarness(url, admin, 1)
        await harness.advance(0)
        yield harness
        await harness.close()


@pytest.fixture
async def api(harness: Harness) -> AsyncIterator[Api]:
    """Run a server on each of the stores; its clock stands still unless it is moved."""
    async with serving(harness) as api:
        yield api


@pytest.fixture
async def lone_api(sqlite: Harness) -> AsyncIterator[Api]:
    """Run a server on the embedded store, for what no store has a part in."""
    async with serving(sqlite) as api:
        yield api


@pytest.fixture
async def sqlite_large(sqlite: Harness) -> AsyncIterator[Api]:
    """Run a server that takes the largest payloads that any may take."""
    async with serving(sqlite, max_payload_bytes=PAYLOAD_BYTES_CEILING) as api:
        yield api


@pytest.fixture
async def servers(redis_url: str) -> AsyncIterator[tuple[Api, Api]]:
    """Run two servers on one Redis."""
    async with Redis.from_url(redis_url, protocol=2) as admin:
        harness = RedisHarness(redis_url, admin, 1)
        await harness.advance(0)
        async with serving(harness) as one, serving(harness, harness._new_store(SECOND_REPLICA_ID)) as other:
            yield one, other
        await harness.close()
