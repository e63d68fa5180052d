"""Workers whose process stopped speaking of them."""

from pathlib import Path

from tailrace.server.store.operators import PRESENCE_MS, WorkerPresence
from tests.store.harness import START_MS
from tests.store.sqlite_harness import open_sqlite

WORKER = WorkerPresence(
    worker_id="worker-1",
    session_id="session-1",
    queues=("default",),
    sdk="python/1",
    outstanding_count=0,
    max_outstanding_tasks=1,
    is_draining=False,
    connect_ms=START_MS,
    last_seen_ms=START_MS,
)


async def test_they_are_forgotten_after_a_minute_unless_they_are_named_again(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path) as harness:
        await harness.store.announce_workers([WORKER])
        await harness.advance(PRESENCE_MS - 1)
        assert await harness.store.list_workers() == [WORKER]
        await harness.store.announce_workers([WORKER])
        await harness.advance(PRESENCE_MS - 1)
        assert await harness.store.list_workers() == [WORKER]

        await harness.advance(1)

        assert await harness.store.list_workers() == []
