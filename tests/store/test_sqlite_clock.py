"""What the embedded store keeps of its clock from one process to the next."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from structlog.testing import capture_logs

from tailrace.server.store.sqlite.clock import SteadyClock
from tailrace.server.store.sqlite.store import SqliteStore
from tests.store.builders import a_submission
from tests.store.harness import START_MS

DAY_MS = 86_400_000


@asynccontextmanager
async def opened(path: Path, *, shows_ms: int) -> AsyncIterator[SqliteStore]:
    """Open a store on a machine whose clock shows this, and stands still."""
    store = SqliteStore(path, clock=SteadyClock(lambda: shows_ms * 1_000_000, lambda: 0))
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def submitted_at(store: SqliteStore, task_id: str) -> int:
    (submitted,) = await store.submit_tasks(0, [a_submission(task_id)])
    return submitted.snapshot.update_ms


async def test_a_machine_set_back_while_the_server_was_away_does_not_set_its_tasks_back(tmp_path: Path) -> None:
    async with opened(tmp_path / "tailrace.db", shows_ms=START_MS) as store:
        assert await submitted_at(store, "first") == START_MS

    with capture_logs() as logs:
        async with opened(tmp_path / "tailrace.db", shows_ms=START_MS - DAY_MS) as store:
            assert await submitted_at(store, "second") == START_MS

    (warning,) = [entry for entry in logs if entry["log_level"] == "warning"]
    assert (warning["event"], warning["ahead_ms"]) == ("store_ahead_of_clock", DAY_MS)


async def test_a_machine_that_was_off_for_a_day_is_followed(tmp_path: Path) -> None:
    async with opened(tmp_path / "tailrace.db", shows_ms=START_MS) as store:
        await submitted_at(store, "first")

    with capture_logs() as logs:
        async with opened(tmp_path / "tailrace.db", shows_ms=START_MS + DAY_MS) as store:
            assert await submitted_at(store, "second") == START_MS + DAY_MS

    assert [entry for entry in logs if entry["log_level"] == "warning"] == []


async def test_the_clock_of_the_machine_is_the_stores(tmp_path: Path) -> None:
    before = SteadyClock()()
    store = SqliteStore(tmp_path / "tailrace.db")
    await store.open()

    submitted_ms = await submitted_at(store, "first")

    assert before <= submitted_ms <= SteadyClock()()
    await store.close()
