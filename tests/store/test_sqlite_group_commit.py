"""Group commit: what gathers while the disk is busy shares a transaction, and nothing spoils anything else."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tailrace.server.domain.errors import StoreUnavailableError
from tailrace.server.store.changes import Change, TaskChanged
from tailrace.server.store.sqlite import writer as writer_module
from tailrace.server.store.sqlite.database import Database
from tailrace.server.store.sqlite.writer import Done, Work, Writer
from tests.wait import eventually_async

DEADLINE_S = 20.0


class Bench:
    """A writer whose thread can be held up, and what it told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.told: list[Change] = []
        self.commits = 0
        self.writer = Writer(self._open, tell=self.told.append)

    def _open(self) -> Database:
        database = Database(self.path, partitions=1)
        database.connection.execute("CREATE TABLE IF NOT EXISTS noted (what TEXT)")
        database.connection.set_trace_callback(self._count)
        return database

    def _count(self, statement: str) -> None:
        self.commits += statement == "COMMIT"

    def noted(self) -> list[str]:
        connection = sqlite3.connect(self.path)
        found = [what for (what,) in connection.execute("SELECT what FROM noted ORDER BY rowid")]
        connection.close()
        return found

    async def until_posted(self, count: int) -> None:
        await eventually_async(lambda: self.writer._waiting >= count, f"{count} pieces of work wait")

    @asynccontextmanager
    async def held_up(self) -> AsyncIterator[None]:
        """Keep the thread busy as long as the block lasts, so that work gathers."""
        is_held, may_go_on = asyncio.Event(), threading.Event()
        loop = asyncio.get_running_loop()

        def hold(_: sqlite3.Connection) -> Done[str]:
            loop.call_soon_threadsafe(is_held.set)
            assert may_go_on.wait(DEADLINE_S)
            self.commits = -1  # its own does not count
            return Done("held")

        holding = asyncio.create_task(self.writer.run(hold))
        await is_held.wait()
        try:
            yield
        finally:
            may_go_on.set()
            await holding

    async def gather(self, *works: Work[str]) -> list[str | BaseException]:
        """Have several pieces of work go into one group."""
        async with self.held_up():
            tasks = [asyncio.create_task(self.writer.run(work)) for work in works]
            await self.until_posted(min(len(works) + 1, writer_module.MAX_WAITING))
        return await asyncio.gather(*tasks, return_exceptions=True)


def note(what: str, *changes: Change) -> Work[str]:
    def work(connection: sqlite3.Connection) -> Done[str]:
        connection.execute("INSERT INTO noted VALUES (?)", (what,))
        return Done(what, changes)

    return work


def note_and_fail(error: Exception) -> Work[str]:
    def work(connection: sqlite3.Connection) -> Done[str]:
        connection.execute("INSERT INTO noted VALUES ('never')")
        raise error

    return work


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path / "tailrace.db")
    await bench.writer.open()
    yield bench
    await bench.writer.close()


async def test_what_gathers_shares_one_commit_in_the_order_in_which_it_came(bench: Bench) -> None:
    assert await bench.gather(note("a"), note("b"), note("c")) == ["a", "b", "c"]

    assert bench.commits == 1
    assert bench.noted() == ["a", "b", "c"]


async def test_a_group_has_a_limit(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "MAX_GROUP", 2)

    await bench.gather(*(note(what) for what in "abcde"))

    assert bench.commits == 3
    assert bench.noted() == list("abcde")


async def test_work_that_raises_is_undone_and_spoils_nothing_else_of_its_group(bench: Bench) -> None:
    mistake = KeyError("a mistake in the program")

    outcomes = await bench.gather(note("a"), note_and_fail(mistake), note("b"))

    assert outcomes == ["a", mistake, "b"]
    assert bench.commits == 1
    assert bench.noted() == ["a", "b"]


async def test_a_caller_that_goes_away_leaves_its_work_done_and_told(bench: Bench) -> None:
    change = TaskChanged(task_id="task-1")
    is_under_way, is_abandoned = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def work(connection: sqlite3.Connection) -> Done[str]:
        loop.call_soon_threadsafe(is_under_way.set)
        assert is_abandoned.wait(DEADLINE_S)
        return note("abandoned", change)(connection)

    abandoned = asyncio.create_task(bench.writer.run(work))
    await is_under_way.wait()
    abandoned.cancel()
    await asyncio.wait({abandoned}, timeout=DEADLINE_S)
    is_abandoned.set()

    assert abandoned.cancelled()
    assert await bench.writer.run(note("after")) == "after"
    assert bench.noted() == ["abandoned", "after"]
    assert bench.told == [change]


async def test_changes_are_told_before_the_answer_and_never_before_the_commit(bench: Bench) -> None:
    change = TaskChanged(task_id="task-1")

    await bench.writer.run(note("a", change))

    assert bench.told == [change]
    assert bench.noted() == ["a"]


async def test_too_much_waiting_work_is_refused_at_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "MAX_WAITING", 3)  # one of them is what holds the thread up

    outcomes = await bench.gather(note("a"), note("b"), note("too much"))

    assert outcomes[:2] == ["a", "b"]
    assert isinstance(outcomes[2], StoreUnavailableError)
    assert "too busy" in str(outcomes[2])
    assert bench.noted() == ["a", "b"]
    assert await bench.writer.run(note("c")) == "c"


async def test_closing_finishes_what_was_asked_for(bench: Bench) -> None:
    async with bench.held_up():
        tasks = [asyncio.create_task(bench.writer.run(note(what))) for what in "abc"]
        await bench.until_posted(4)
        closing = asyncio.create_task(bench.writer.close())

    await closing
    assert await asyncio.gather(*tasks) == ["a", "b", "c"]
    assert bench.noted() == ["a", "b", "c"]
    with pytest.raises(StoreUnavailableError, match="not open"):
        await bench.writer.run(note("d"))


async def test_a_full_disk_is_told_as_such_and_work_goes_on_when_there_is_room(bench: Bench) -> None:
    doubt = TaskChanged(task_id="task-1")
    await bench.writer.run(pragma("max_page_count = 20"))

    with pytest.raises(StoreUnavailableError, match="disk is full; free some space"):
        await bench.writer.run(note("x" * 1_000_000), doubts=[doubt])

    assert bench.told == [doubt]
    assert bench.noted() == []
    await bench.writer.run(pragma("max_page_count = 100000"))
    assert await bench.writer.run(note("a")) == "a"


async def test_a_full_disk_fails_the_whole_group_and_keeps_nothing_of_it(bench: Bench) -> None:
    await bench.writer.run(pragma("max_page_count = 20"))

    outcomes = await bench.gather(note("a"), note("x" * 1_000_000), note("b"))

    kept = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
    assert isinstance(outcomes[1], StoreUnavailableError)
    assert bench.noted() == kept


async def test_a_program_that_holds_the_database_is_waited_for_and_then_named(bench: Bench, tmp_path: Path) -> None:
    await bench.writer.run(pragma("busy_timeout = 50"))
    other = sqlite3.connect(tmp_path / "tailrace.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(StoreUnavailableError, match="another program holds"):
        await bench.writer.run(note("never"))

    other.execute("COMMIT")
    other.close()
    assert await bench.writer.run(note("a")) == "a"
    assert bench.noted() == ["a"]


def pragma(text: str) -> Work[str]:
    def work(connection: sqlite3.Connection) -> Done[str]:
        connection.execute(f"PRAGMA {text}").fetchall()
        return Done("set")

    return work


async def test_a_database_that_cannot_be_opened_is_no_writer(tmp_path: Path) -> None:
    def refuse() -> Database:
        raise StoreUnavailableError("refused")

    writer = Writer(refuse, tell=lambda _: None)

    with pytest.raises(StoreUnavailableError, match="refused"):
        await writer.open()
    with pytest.raises(StoreUnavailableError, match="not open"):
        await writer.run(note("a"))
    await writer.close()
