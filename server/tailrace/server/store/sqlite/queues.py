"""What the store knows of a queue as a whole: whether it is paused, and how many tasks stand in each place."""

import sqlite3
from collections.abc import Iterable
from typing import Final

from tailrace.server.domain.task import Place, TaskRecord
from tailrace.server.store.sqlite import statements

COUNTED: Final = (Place.READY, Place.SCHEDULE, Place.LEASE)
"""In the order of the columns."""

Move = tuple[TaskRecord | None, TaskRecord]
"""A record before and after; None: it is new."""


class Queues:
    """The queues of one partition inside a transaction."""

    def __init__(self, connection: sqlite3.Connection, partition: int) -> None:
        self._connection = connection
        self._partition = partition
        self._paused: dict[str, bool] = {}

    def is_paused(self, queue: str) -> bool:
        """Tell whether nothing may be delivered from a queue."""
        if queue not in self._paused:
            self._paused[queue] = bool(self._read(queue)[0])
        return self._paused[queue]

    def depth(self, queue: str) -> int:
        """Tell how many tasks of a queue are ready or on the schedule, without those not yet counted."""
        return self._read(queue)[1]

    def count(self, moves: Iterable[Move]) -> None:
        """Take note of where tasks stand now; the one place where the counts change, and queues become known."""
        changes: dict[str, list[int]] = {}
        for before, now in moves:
            if before is None or before.place is not now.place:
                counts = changes.setdefault(now.queue, [0, 0, 0])
                if before is not None and before.place in COUNTED:
                    counts[COUNTED.index(before.place)] -= 1
                if now.place in COUNTED:
                    counts[COUNTED.index(now.place)] += 1
        self._connection.executemany(
            statements.COUNT_IN_QUEUE, [(self._partition, queue, *counts) for queue, counts in changes.items()]
        )

    def _read(self, queue: str) -> tuple[int, int]:
        row: tuple[int, int] | None = self._connection.execute(
            statements.READ_QUEUE, (self._partition, queue)
        ).fetchone()
        return row or (0, 0)
