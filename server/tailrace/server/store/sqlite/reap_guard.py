"""Whether leases were looked after all the time, so that the lost ones are lost by their workers' fault."""

import sqlite3
from dataclasses import dataclass

from tailrace.server.store.base import REAP_GAP_MS, REAP_GRACE_MS
from tailrace.server.store.sqlite import statements


@dataclass(frozen=True, slots=True)
class _Guard:
    last_reap_ms: int
    grace_until_ms: int


class ReapGuards:
    """One guard for each partition.

    A server without leases would write to its disk for them every second, all night: so they are kept in memory, and
    written while there are leases, and when the store is closed.
    """

    def __init__(self) -> None:
        self._guards: dict[int, _Guard] = {}
        self._unwritten: set[int] = set()

    def grace_ms(self, connection: sqlite3.Connection, partition: int, now_ms: int, *, has_leases: bool) -> int:
        """Note that leases are looked after now, and tell how much longer lost ones are left alone."""
        grace_until_ms = self._grace_end(connection, partition, now_ms)
        self._guards[partition] = _Guard(now_ms, grace_until_ms)
        self._unwritten.add(partition)
        if has_leases:
            self.write(connection, [partition])
        return max(0, grace_until_ms - now_ms)

    def grace_left_ms(self, connection: sqlite3.Connection, partition: int, now_ms: int) -> int:
        """Tell how much longer attempts that ran too long are left to their workers."""
        return max(0, self._grace_end(connection, partition, now_ms) - now_ms)

    def write(self, connection: sqlite3.Connection, partitions: list[int] | None = None) -> None:
        """Write the guards of some partitions, or all that are not written yet."""
        for partition in sorted(self._unwritten) if partitions is None else partitions:
            guard = self._guards[partition]
            values = (partition, guard.last_reap_ms, guard.grace_until_ms)
            connection.execute(statements.WRITE_REAP_GUARD, values)
            self._unwritten.discard(partition)

    def _grace_end(self, connection: sqlite3.Connection, partition: int, now_ms: int) -> int:
        guard = self._guards.get(partition) or _read(connection, partition) or _Guard(now_ms, 0)
        is_after_gap = now_ms - guard.last_reap_ms > REAP_GAP_MS or now_ms < guard.last_reap_ms
        return now_ms + REAP_GRACE_MS if is_after_gap else guard.grace_until_ms


def _read(connection: sqlite3.Connection, partition: int) -> _Guard | None:
    row = connection.execute(statements.READ_REAP_GUARD, (partition,)).fetchone()
    return None if row is None else _Guard(*row)
