"""A server that has nothing to do leaves its disk alone."""

import sqlite3
from pathlib import Path

import pytest

from tailrace.server.store.base import REAP_GAP_MS, REAP_GRACE_MS
from tests.store.sqlite_harness import open_sqlite
from tests.store.steps import Steps


def written_bytes(path: Path) -> bytes:
    return path.with_name(f"{path.name}-wal").read_bytes()


async def test_maintenance_without_leases_writes_nothing(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path) as harness:
        steps = Steps(harness)
        await steps.reap()
        before = written_bytes(harness.path)

        for _ in range(5):
            await harness.advance(1_000)
            await steps.reap()
            await steps.promote()
            await steps.expire()
            await steps.end_overdue()
            await steps.audit()

        assert written_bytes(harness.path) == before


async def test_that_leases_are_looked_after_is_written_while_there_are_some(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path) as harness:
        steps = Steps(harness)
        await steps.reap()
        await steps.submit_and_start()

        await harness.advance(1_000)
        await steps.reap()

        connection = sqlite3.connect(harness.path)
        assert connection.execute("SELECT last_reap_ms FROM reap_guard").fetchall() == [(harness.now_ms,)]
        connection.close()


@pytest.mark.parametrize(("away_ms", "has_grace"), [(REAP_GAP_MS, False), (REAP_GAP_MS + 1, True)])
async def test_a_restart_remembers_when_leases_were_looked_after_even_without_any(
    tmp_path: Path, away_ms: int, has_grace: bool
) -> None:
    async with open_sqlite(tmp_path) as harness:
        steps = Steps(harness)
        await steps.reap()
        await harness.advance(REAP_GAP_MS)
        await steps.reap()

        await harness.reopen()
        await steps.submit_and_start()
        await harness.advance(away_ms)
        assert ((await steps.reap()).next_due_ms == REAP_GRACE_MS) is has_grace
