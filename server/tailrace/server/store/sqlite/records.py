"""The records that one operation reads and changes, written together at its end."""

import sqlite3
from collections.abc import Iterable, Sequence

from tailrace.server.domain.task import Place, TaskRecord, TaskSnapshot, snapshot_of
from tailrace.server.domain.transition import Transitions, compare
from tailrace.server.store.changes import Change, LeaseNews, QueueReady, TaskChanged
from tailrace.server.store.sqlite import statements
from tailrace.server.store.sqlite.queues import Queues
from tailrace.server.store.sqlite.rows import (
    Row,
    changing_columns,
    lasting_columns,
    load_rows,
    outcome_columns,
)


class Records:
    """A view on one partition inside a transaction.

    Rules are applied to what ``get`` gives, ``put`` takes what they made of it, and ``write`` stores what is different.
    An expired record is not there any more, though its row may be.
    """

    def __init__(self, connection: sqlite3.Connection, partition: int, now_ms: int) -> None:
        self.connection = connection
        self.partition = partition
        self.now_ms = now_ms
        self.queues = Queues(connection, partition)
        self.changes: list[Change] = []
        """What has to be told once the transaction is committed; filled by ``write``."""
        self.steps: list[tuple[TaskRecord, TaskRecord]] = []
        """Each record that was written, before and after, but for those of new tasks; filled by ``write``."""
        self.accepted: list[tuple[str, str]] = []
        """Queue and task_type of each new task."""
        self._rows: dict[str, Row] = {}
        self._records: dict[str, TaskRecord] = {}
        self._changed: dict[str, None] = {}
        self._pushes: dict[str, bool] = {}
        self._is_created: set[str] = set()

    def load(
        self,
        task_ids: Iterable[str],
        *,
        with_requests: bool = False,
        with_heads: bool = False,
        with_outcomes: bool = True,
    ) -> None:
        """Read records, those not read before.

        Only with requests may the rule of a SUCCESS be applied to them, only with heads any that ends a lease or a
        task, and only with outcomes any rule at all. Heads are the requests without their inputs.
        """
        missing = [task_id for task_id in dict.fromkeys(task_ids) if task_id not in self._rows]
        if not missing:
            return
        rows = load_rows(
            self.connection,
            missing,
            with_requests=with_requests,
            with_heads=with_heads,
            with_outcomes=with_outcomes,
        )
        for row in rows:
            self._rows[row.record.task_id] = row
            if not row.record.is_expired(self.now_ms):
                self._records[row.record.task_id] = row.record

    def get(self, task_id: str) -> TaskRecord | None:
        """Give a loaded record as this operation left it; None when there is none."""
        return self._records.get(task_id)

    def create(self, record: TaskRecord, *, task_type: str) -> None:
        """Add the record of a new task, over that of an expired one."""
        self._is_created.add(record.task_id)
        self.accepted.append((record.queue, task_type))
        self.put(record)

    def put(self, record: TaskRecord, *, to_head: bool = False) -> None:
        """Take a record that a rule changed; one that became ready goes to the tail of its queue, or to the head.

        Of several that go to the head of one queue, the first put ends foremost.
        """
        self._records[record.task_id] = record
        self._changed[record.task_id] = None
        if record.place is Place.READY:
            self._pushes[record.task_id] = to_head

    def snapshot(self, record: TaskRecord) -> TaskSnapshot:
        """Cut a record down to what a waiting client is told."""
        return snapshot_of(record, is_queue_paused=self.is_queue_paused(record))

    def is_queue_paused(self, record: TaskRecord) -> bool:
        """Tell whether what keeps a ready task from running is that its queue is paused."""
        return record.place is Place.READY and self.queues.is_paused(record.queue)

    def forget(self, task_id: str) -> int:
        """Treat a loaded record as gone, and give the number of its row."""
        del self._records[task_id]
        return self._rows[task_id].seq

    def tell(self, record: TaskRecord, *, is_progress: bool = False) -> None:
        """Have listeners hear of a record: of one that did not change, too, when they may have missed that it did."""
        self.changes.append(
            TaskChanged(
                task_id=record.task_id,
                snapshot=self.snapshot(record),
                is_done=record.state.is_done,
                is_progress=is_progress,
            )
        )

    def tell_holder(self, held: TaskRecord, now: TaskRecord) -> None:
        """Have the holder of a lease hear what became of it without asking, if anything did."""
        is_lost = now.place is not Place.LEASE
        if (
            held.place is Place.LEASE
            and held.lease_token is not None
            and (is_lost or now.revocation != held.revocation)
        ):
            self.changes.append(
                LeaseNews(task_id=held.task_id, lease_token=held.lease_token, revocation=now.revocation)
            )

    def transitions(self, operation: str) -> Transitions:
        """Tell what all that was written did to tasks."""
        transitions = compare(operation, self.steps, now_ms=self.now_ms)
        transitions.accepted = self.accepted
        return transitions

    def write(self) -> None:
        """Store what changed since the last ``write``."""
        positions = self._place_pushes()
        changed = [self._records[task_id] for task_id in self._changed]
        created = [record for record in changed if record.task_id in self._is_created]
        updated = [(self._rows[r.task_id], r) for r in changed if r.task_id not in self._is_created]
        revised = created + [record for row, record in updated if record.revision != row.record.revision]
        self.queues.count([(row.record, record) for row, record in updated] + [(None, record) for record in created])
        self.steps.extend((row.record, record) for row, record in updated)
        self._update(updated, positions)
        self._insert(created, positions)
        for record in revised:
            self.tell(record)
        queues = dict.fromkeys(self._records[task_id].queue for task_id in self._pushes)
        self.changes.extend(QueueReady(queue) for queue in queues)
        for done_with in (self._changed, self._pushes, self._is_created):
            done_with.clear()

    def _place_pushes(self) -> dict[str, int]:
        """Find the positions of the tasks that became ready."""
        heads: dict[tuple[str, int], list[str]] = {}
        tails: dict[tuple[str, int], list[str]] = {}
        for task_id, to_head in self._pushes.items():
            record = self._records[task_id]
            (heads if to_head else tails).setdefault((record.queue, record.priority), []).append(task_id)
        positions: dict[str, int] = {}
        for (queue, priority), task_ids in heads.items():
            first = self._number(statements.FIRST_POSITION, (self.partition, queue, priority))
            positions.update(zip(task_ids, range(first - len(task_ids), first), strict=True))
        for (queue, priority), task_ids in tails.items():
            last = self._number(statements.LAST_POSITION, (self.partition, queue, priority))
            positions.update(zip(task_ids, range(last + 1, last + 1 + len(task_ids)), strict=True))
        return positions

    def _update(self, changes: Sequence[tuple[Row, TaskRecord]], positions: dict[str, int]) -> None:
        self.connection.executemany(
            statements.UPDATE_TASK,
            [changing_columns(record, _position(record, positions), row.seq) for row, record in changes],
        )
        requests = [(row.seq, record.request) for row, record in changes if record.request != row.record.request]
        self.connection.executemany(statements.WRITE_INPUT, requests)
        outcomes = [
            (row.seq, *outcome_columns(record))
            for row, record in changes
            if outcome_columns(record) != outcome_columns(row.record)
        ]
        self.connection.executemany(statements.WRITE_OUTCOME, outcomes)
        self._rows.update((record.task_id, Row(row.seq, record)) for row, record in changes)

    def _insert(self, created: Sequence[TaskRecord], positions: dict[str, int]) -> None:
        if not created:
            return
        expired = [self._rows[record.task_id].seq for record in created if record.task_id in self._rows]
        delete_rows(self.connection, expired)
        last_seq = self._number(statements.LAST_SEQ, ())
        rows = [Row(seq, record) for seq, record in enumerate(created, last_seq + 1)]
        self.connection.executemany(
            statements.INSERT_TASK,
            [
                changing_columns(row.record, _position(row.record, positions), row.seq)
                + lasting_columns(row.record, self.partition)
                for row in rows
            ],
        )
        self.connection.executemany(statements.WRITE_INPUT, [(row.seq, row.record.request) for row in rows])
        self._rows.update((row.record.task_id, row) for row in rows)

    def _number(self, statement: str, values: tuple[object, ...]) -> int:
        number: int = self.connection.execute(statement, values).fetchone()[0]
        return number


def delete_rows(connection: sqlite3.Connection, seqs: Sequence[int]) -> None:
    """Remove records with their payloads."""
    for statement in (statements.DELETE_TASK, statements.DELETE_INPUT, statements.DELETE_OUTCOME):
        connection.executemany(statement, [(seq,) for seq in seqs])


def _position(record: TaskRecord, positions: dict[str, int]) -> int | None:
    return positions[record.task_id] if record.place is Place.READY else None
