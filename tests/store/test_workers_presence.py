"""Who is connected, as far as the servers say."""

from dataclasses import replace
from pathlib import Path

from tailrace.server.store.changes import DrainRequested
from tailrace.server.store.operators import PRESENCE_MS, WorkerPresence
from tests.store.redis_harness import open_redis
from tests.store.redis_listener import listening_to
from tests.store.sqlite_harness import open_sqlite
from tests.store.steps import Steps

ONE = WorkerPresence(
    worker_id="one",
    session_id="session-1",
    queues=("default", "slow"),
    sdk="python/0.1.0 \u20ac",
    outstanding_count=3,
    max_outstanding_tasks=16,
    is_draining=False,
    connect_ms=1_700_000_000_000,
    last_seen_ms=1_700_000_001_000,
)
ANOTHER_SESSION = replace(ONE, session_id="session-2", queues=())
TWO = replace(ONE, worker_id="two", session_id="", sdk="", is_draining=True)


async def test_nobody_is_connected_at_first(steps: Steps) -> None:
    assert await steps.store.list_workers() == []


async def test_workers_are_listed_by_worker_then_by_session(steps: Steps) -> None:
    await steps.store.announce_workers([TWO, ANOTHER_SESSION, ONE])

    assert await steps.store.list_workers() == [ONE, ANOTHER_SESSION, TWO]


async def test_what_is_said_takes_the_place_of_what_was_said_before(steps: Steps) -> None:
    await steps.store.announce_workers([ONE, TWO])
    busier = replace(ONE, outstanding_count=16, last_seen_ms=1_700_000_009_000)

    await steps.store.announce_workers([busier])
    assert await steps.store.list_workers() == [busier]

    await steps.store.announce_workers([])
    assert await steps.store.list_workers() == []


async def test_whoever_serves_a_worker_is_told_that_it_should_get_nothing_more(steps: Steps) -> None:
    async with listening_to(steps.store) as listener:
        await steps.store.drain_worker("worker 1/\u20ac")

        await listener.hears_exactly(DrainRequested("worker 1/\u20ac"))


async def test_workers_of_all_processes_are_listed(redis_url: str) -> None:
    async with open_redis(redis_url) as harness:
        other = await harness.second_store()
        await harness.store.announce_workers([TWO])
        await other.announce_workers([ONE])

        assert await harness.store.list_workers() == await other.list_workers() == [ONE, TWO]
        await other.announce_workers([])
        assert await harness.store.list_workers() == [TWO]


async def test_every_process_is_told_of_a_drain(redis_url: str) -> None:
    async with open_redis(redis_url) as harness:
        other = await harness.second_store()
        async with listening_to(harness.store) as here, listening_to(other) as there:
            await harness.store.drain_worker("one")

            await here.hears_exactly(DrainRequested("one"))
            await there.hears_exactly(DrainRequested("one"))


async def test_what_is_not_said_again_is_forgotten(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path) as harness:
        await harness.store.announce_workers([ONE])
        await harness.advance(PRESENCE_MS - 1)
        assert await harness.store.list_workers() == [ONE]
        await harness.advance(1)

        assert await harness.store.list_workers() == []
