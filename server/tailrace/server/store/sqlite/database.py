"""The file behind the embedded store: found or created, held by one store at a time."""

import fcntl
import os
import sqlite3
from collections.abc import Callable
from contextlib import ExitStack
from importlib import resources
from pathlib import Path
from typing import Final

from tailrace.server.domain.errors import StoreUnavailableError
from tailrace.server.store.sqlite.faults import as_unavailable

APPLICATION_ID: Final = 0x7461_696C
"""Marks the file as Tailrace's (``tail`` in ASCII), for us and for the ``file`` command."""
SCHEMA_VERSION: Final = 2
BUSY_TIMEOUT_S: Final = 5.0
"""For whoever looks at the file from outside; another store cannot have it open."""


class Database:
    """An open file, and the lock that keeps every other store from it."""

    def __init__(self, path: Path, *, partitions: int) -> None:
        """Open the file, creating it and its directory when they are missing.

        Raises:
            StoreUnavailableError: The file cannot be used; the text is for the operator and names it.
        """
        with ExitStack() as undo:
            try:
                # A link and what it leads to are one file, so they have one lock.
                file = Path(os.path.realpath(path))
                file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                lock = _lock(file, path)
                undo.callback(os.close, lock)
                # SQLite gives the files that it makes beside this one the same permissions.
                os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
                self.connection = sqlite3.connect(file, isolation_level=None, timeout=BUSY_TIMEOUT_S)
                undo.callback(self.connection.close)
                _prepare(self.connection, path, partitions)
            except OSError as error:
                raise StoreUnavailableError(f"{path}: {error.strerror}") from error
            except sqlite3.Error as error:
                raise StoreUnavailableError(f"{path}: {as_unavailable(error)}") from error
            self._held = undo.pop_all()

    def before_close(self, write: Callable[[sqlite3.Connection], None]) -> None:
        """Have something written when the file is let go of; it must not raise."""
        self._held.callback(write, self.connection)

    def close(self) -> None:
        """Let go of the file."""
        self._held.close()


def _lock(file: Path, path: Path) -> int:
    # A file of its own: closing any descriptor of the database would drop the locks that SQLite itself has on it.
    lock = os.open(file.with_name(f"{file.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise StoreUnavailableError(
            f"{path} is in use by another server: stop that one, or give this one a store of its own"
        ) from None
    except BaseException:
        os.close(lock)
        raise
    return lock


def _prepare(connection: sqlite3.Connection, path: Path, partitions: int) -> None:
    application_id, version = _pragma(connection, "application_id"), _pragma(connection, "user_version")
    is_new = connection.execute("SELECT NOT EXISTS (SELECT 1 FROM sqlite_master)").fetchone()[0]
    if not is_new and application_id != APPLICATION_ID:
        raise StoreUnavailableError(f"{path} is a database of another program; name a file of its own for Tailrace")
    if not is_new and version != SCHEMA_VERSION:
        raise StoreUnavailableError(
            f"{path} has the format of another release ({version}, this one reads {SCHEMA_VERSION}); run that release"
        )
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise StoreUnavailableError(f"{path} is on a disk without write-ahead logging; keep it on a local one")
    connection.execute("PRAGMA synchronous = FULL")
    if is_new:
        _create(connection, partitions)
    (kept,) = connection.execute("SELECT value FROM meta WHERE name = 'partitions'").fetchone()
    if kept != partitions:
        raise StoreUnavailableError(f"{path} was created with {kept} partitions and cannot have {partitions}")


def _create(connection: sqlite3.Connection, partitions: int) -> None:
    schema = resources.files("tailrace.server.store.sqlite").joinpath("schema.sql").read_text(encoding="utf-8")
    # One transaction with the marks: a crash in between leaves no file that is neither new nor ours.
    connection.executescript(
        f"BEGIN IMMEDIATE; {schema} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"
    )
    connection.execute("INSERT INTO meta (name, value) VALUES ('partitions', ?)", (partitions,))
    connection.execute("COMMIT")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    number: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return number
