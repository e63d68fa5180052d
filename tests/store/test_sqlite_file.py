"""The file behind the embedded store: whose it is, who may read it, what it refuses."""

import asyncio
import os
import signal
import sqlite3
import stat
import sys
from pathlib import Path

import pytest

from tailrace.server.domain.errors import StoreUnavailableError
from tailrace.server.store.sqlite.database import SCHEMA_VERSION
from tailrace.server.store.sqlite.store import SqliteStore
from tests.store.builders import a_submission

DEADLINE_S = 60.0
HOLD_OPEN = """
import asyncio, sys
from pathlib import Path
from tailrace.server.store.sqlite.store import SqliteStore

async def hold():
    store = SqliteStore(Path(sys.argv[1]))
    await store.open()
    print("open", flush=True)
    sys.stdin.read()

asyncio.run(hold())
"""
SUBMIT_AND_DIE = """
import asyncio, os, signal, sys
from pathlib import Path
from tailrace.server.store.sqlite.store import SqliteStore
from tests.store.builders import a_submission

async def submit():
    store = SqliteStore(Path(sys.argv[1]))
    await store.open()
    await asyncio.gather(*(store.submit_tasks(0, [a_submission(f"task-{n}")]) for n in range(200)))
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(submit())
"""


async def start_python(program: str, path: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program,
        str(path),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
    )


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def in_file(path: Path, statement: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        with connection:
            return connection.execute(statement).fetchall()
    finally:
        connection.close()


async def create(path: Path, *, partitions: int = 1) -> None:
    store = SqliteStore(path, partitions=partitions)
    await store.open()
    await store.close()


async def refusal(path: Path, *, partitions: int = 1) -> str:
    store = SqliteStore(path, partitions=partitions)
    with pytest.raises(StoreUnavailableError) as refused:
        await store.open()
    await store.close()
    return str(refused.value)


async def test_the_file_and_its_directory_are_made_for_their_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "state" / "tailrace" / "tailrace.db"
    store = SqliteStore(path)
    await store.open()

    await store.submit_tasks(0, [a_submission()])

    assert mode_of(path.parent) == 0o700
    assert {file.name: mode_of(file) for file in path.parent.iterdir()} == {
        "tailrace.db": 0o600,
        "tailrace.db-wal": 0o600,
        "tailrace.db-shm": 0o600,
        "tailrace.db.lock": 0o600,
    }
    await store.close()


async def test_commits_are_synced_to_a_write_ahead_log(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "tailrace.db")
    await store.open()

    assert in_file(tmp_path / "tailrace.db", "PRAGMA journal_mode") == [("wal",)]
    assert store.description == f"SQLite file {tmp_path / 'tailrace.db'}, every change synced to disk"
    await store.close()


async def test_a_second_store_on_the_same_file_is_refused_and_does_no_harm(tmp_path: Path) -> None:
    first = SqliteStore(tmp_path / "tailrace.db")
    await first.open()

    assert "in use by another server" in await refusal(tmp_path / "tailrace.db")

    await first.submit_tasks(0, [a_submission()])
    await first.close()
    await create(tmp_path / "tailrace.db")


async def test_a_link_to_a_file_in_use_is_refused_too(tmp_path: Path) -> None:
    path, link = tmp_path / "tailrace.db", tmp_path / "elsewhere" / "link.db"
    link.parent.mkdir()
    link.symlink_to(path)
    first = SqliteStore(link)
    await first.open()

    assert (
        await refusal(path) == f"{path} is in use by another server: stop that one, or give this one a store of its own"
    )
    assert (await refusal(link)).startswith(f"{link} is in use by another server")

    await first.close()
    await create(path)


async def test_a_second_process_on_the_same_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tailrace.db"
    other = await start_python(HOLD_OPEN, path)
    assert other.stdout is not None
    assert await asyncio.wait_for(other.stdout.readline(), DEADLINE_S) == b"open\n"

    assert "in use by another server" in await refusal(path)

    other.kill()
    await asyncio.wait_for(other.wait(), DEADLINE_S)
    await create(path)


async def test_the_number_of_partitions_is_settled_when_the_file_is_created(tmp_path: Path) -> None:
    await create(tmp_path / "tailrace.db", partitions=4)

    assert "created with 4 partitions and cannot have 1" in await refusal(tmp_path / "tailrace.db")
    await create(tmp_path / "tailrace.db", partitions=4)


async def test_the_format_of_a_later_release_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "tailrace.db"
    await create(path)
    in_file(path, f"PRAGMA user_version = {SCHEMA_VERSION + 1}")

    assert "format of another release" in await refusal(path)
    assert in_file(path, "PRAGMA user_version") == [(SCHEMA_VERSION + 1,)]


async def test_the_database_of_another_program_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    in_file(path, "CREATE TABLE theirs (x)")

    assert "database of another program" in await refusal(path)
    assert in_file(path, "SELECT name FROM sqlite_master") == [("theirs",)]


async def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but long enough to be looked at\n" * 100)

    assert "holds something else" in await refusal(path)
    assert path.read_text().startswith("not a database")


async def test_a_place_where_no_file_can_be_is_named_in_the_refusal(tmp_path: Path) -> None:
    (tmp_path / "a-file").touch()

    assert await refusal(tmp_path / "a-file" / "tailrace.db") == f"{tmp_path / 'a-file' / 'tailrace.db'}: File exists"


async def test_a_refused_file_is_let_go_of(tmp_path: Path) -> None:
    path = tmp_path / "tailrace.db"
    in_file(path, "CREATE TABLE theirs (x)")
    await refusal(path)
    path.unlink()

    await create(path)


async def test_an_empty_file_left_by_a_crash_is_taken_as_new(tmp_path: Path) -> None:
    path = tmp_path / "tailrace.db"
    path.touch()

    await create(path)

    assert in_file(path, "SELECT value FROM meta WHERE name = 'partitions'") == [(1,)]


async def test_what_was_answered_is_in_the_file_when_the_process_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "tailrace.db"
    killed = await start_python(SUBMIT_AND_DIE, path)
    assert await asyncio.wait_for(killed.wait(), DEADLINE_S) == -signal.SIGKILL

    store = SqliteStore(path)
    await store.open()

    assert None not in await store.read_tasks(0, [f"task-{number}" for number in range(200)])
    await store.close()
