"""How calls of the store reach the thread that owns the file, and what they changed gets out."""

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from tailrace.server.store.changes import Change, EpochBreak, TaskChanged
from tailrace.server.store.feed import ChangeFeed
from tailrace.server.store.sqlite.database import Database
from tailrace.server.store.sqlite.records import Records
from tailrace.server.store.sqlite.writer import Done, Writer

Answer = TypeVar("Answer")
Operation = Callable[[Records], Answer]


class Calls:
    """One file, its thread and its feed of changes."""

    def __init__(self, path: Path, *, clock: Callable[[], int], partitions: int) -> None:
        self._clock = clock
        self._feed = ChangeFeed()
        self._writer = Writer(lambda: Database(path, partitions=partitions), tell=self._feed.put)

    async def _run(
        self, partition: int, operation: Operation[Answer], *, in_doubt: Sequence[str] | None = ()
    ) -> Answer:
        """Apply an operation in the writer's thread.

        ``in_doubt`` are the tasks that may have changed when the database fails; None when nobody can say which.
        """

        def work(connection: sqlite3.Connection) -> Done[Answer]:
            records = Records(connection, partition, self._clock())
            answer = operation(records)
            records.write()
            return Done(answer, records.changes)

        return await self._writer.run(work, doubts=_doubts(in_doubt))


def _doubts(task_ids: Sequence[str] | None) -> list[Change]:
    return [EpochBreak()] if task_ids is None else [TaskChanged(task_id=task_id) for task_id in task_ids]
