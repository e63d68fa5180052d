"""How calls of the store reach the thread that owns the file, and what they changed gets out."""

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

import structlog

from tailrace.server.domain.transition import Observer
from tailrace.server.store.changes import Change, EpochBreak, TaskChanged
from tailrace.server.store.feed import ChangeFeed
from tailrace.server.store.sqlite import statements
from tailrace.server.store.sqlite.clock import SteadyClock
from tailrace.server.store.sqlite.database import Database
from tailrace.server.store.sqlite.reap_guard import ReapGuards
from tailrace.server.store.sqlite.records import Records
from tailrace.server.store.sqlite.writer import Done, Writer

Answer = TypeVar("Answer")
Operation = Callable[[Records], Answer]

CLOCK_WRITTEN_MS: Final = 1_000
"""How often, at most, the time is written down, and only with something else."""
CLOCK_AHEAD_MS: Final = 60_000
"""A file that was written to this far in the future is worth a warning."""

logger = structlog.get_logger(__name__)


class Calls:
    """One file, its thread, its clock and its feed of changes."""

    def __init__(self, path: Path, *, clock: Callable[[], int] | None, partitions: int) -> None:
        self._clock = clock or SteadyClock()
        self._clock_written_ms = 0
        self._path = path
        self._partitions = partitions
        self._reap_guards = ReapGuards()
        self._feed = ChangeFeed()
        self._writer = Writer(self._open_database, tell=self._feed.put)

    def observe(self, observer: Observer) -> None:
        """See Store."""
        self._writer.observe = observer

    async def _run(
        self,
        partition: int,
        operation: Operation[Answer],
        *,
        in_doubt: Sequence[str] | None = (),
        observed_as: str | None = None,
    ) -> Answer:
        """Apply an operation in the writer's thread.

        ``in_doubt`` are the tasks that may have changed when the database fails; None when nobody can say which.
        ``observed_as`` is the operation's name where it may make transitions.
        """

        def work(connection: sqlite3.Connection) -> Done[Answer]:
            records = Records(connection, partition, self._clock())
            changes_before = connection.total_changes
            answer = operation(records)
            records.write()
            if connection.total_changes != changes_before:
                self._write_clock(connection, records.now_ms, CLOCK_WRITTEN_MS)
            if observed_as is None or self._writer.observe is None:
                return Done(answer, records.changes)
            return Done(answer, records.changes, records.transitions(observed_as))

        return await self._writer.run(work, doubts=_doubts(in_doubt))

    def _open_database(self) -> Database:
        database = Database(self._path, partitions=self._partitions)
        if isinstance(self._clock, SteadyClock):
            row = database.connection.execute(statements.READ_CLOCK).fetchone()
            ahead_ms = self._clock.go_on_from(0 if row is None else row[0])
            if ahead_ms > CLOCK_AHEAD_MS:
                logger.warning("store_ahead_of_clock", ahead_ms=ahead_ms, path=str(self._path))
        database.before_close(self._write_last)
        return database

    def _write_clock(self, connection: sqlite3.Connection, now_ms: int, after_ms: int) -> None:
        """Write down the time, from which the next process on this file goes on."""
        if isinstance(self._clock, SteadyClock) and now_ms >= self._clock_written_ms + after_ms:
            connection.execute(statements.WRITE_CLOCK, (now_ms,))
            self._clock_written_ms = now_ms

    def _write_last(self, connection: sqlite3.Connection) -> None:
        try:
            self._reap_guards.write(connection)
            self._write_clock(connection, self._clock(), 0)
        except sqlite3.Error as error:
            logger.warning("store_not_closed_properly", error=repr(error))


def _doubts(task_ids: Sequence[str] | None) -> list[Change]:
    return [EpochBreak()] if task_ids is None else [TaskChanged(task_id=task_id) for task_id in task_ids]
