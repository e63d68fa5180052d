"""The embedded store under a clock that a test moves."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tailrace.server.store.sqlite.store import SqliteStore
from tests.store.harness import START_MS


class SqliteHarness:
    """See Harness."""

    def __init__(self, path: Path, *, partitions: int) -> None:
        self.path = path
        self._partitions = partitions
        self._now_ms = START_MS
        self._store = self._new_store()

    @property
    def store(self) -> SqliteStore:
        return self._store

    @property
    def now_ms(self) -> int:
        return self._now_ms

    async def advance(self, ms: int) -> None:
        self._now_ms += ms

    async def reopen(self) -> None:
        await self._store.close()
        self._store = self._new_store()
        await self._store.open()

    async def second_store(self) -> SqliteStore:
        raise AssertionError("the embedded store serves one process")

    def _new_store(self) -> SqliteStore:
        return SqliteStore(self.path, clock=lambda: self._now_ms, partitions=self._partitions)


@asynccontextmanager
async def open_sqlite(directory: Path, *, partitions: int = 1) -> AsyncIterator[SqliteHarness]:
    """Open a store on a new file in a directory of its own."""
    harness = SqliteHarness(directory / "tailrace.db", partitions=partitions)
    await harness.store.open()
    try:
        yield harness
    finally:
        await harness.store.close()
