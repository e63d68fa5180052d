"""What operators do with queues: look at them, pause them, empty them, have their counts checked."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from tailrace.server.domain import task
from tailrace.server.store.changes import QueueReady
from tailrace.server.store.operators import Audited, Purged, QueueStats
from tailrace.server.store.sqlite import statements
from tailrace.server.store.sqlite.records import Records

MAX_RECOUNTED: Final = 50_000
"""A place of a queue with more tasks is not recounted: everybody else would have to wait for it."""
_READY, _SCHEDULE = "ready", "schedule"
"""Where a purge goes on."""


def list_queues(records: Records, after: str, limit: int) -> list[QueueStats]:
    """See OperatorStore.list_queues."""
    found = records.connection.execute(statements.LIST_QUEUES, (records.partition, after, limit))
    return [_stats_of(row, records.now_ms) for row in found]


def pause_queue(records: Records, queue: str, *, is_paused: bool) -> QueueStats:
    """See OperatorStore.pause_queue."""
    statement = statements.PAUSE_QUEUE if is_paused else statements.RESUME_QUEUE
    records.connection.execute(statement, (records.partition, queue))
    row = records.connection.execute(statements.QUEUE_STATS, (records.partition, queue)).fetchone()
    stats = _stats_of(row or (queue, False, 0, 0, 0, None), records.now_ms)
    if stats.ready_count and not is_paused:
        records.changes.append(QueueReady(queue))
    return stats


def purge_queue(records: Records, queue: str, cursor: str, limit: int, failure: bytes) -> Purged:
    """See OperatorStore.purge_queue. Tasks that became ready after the ready ones were through stay."""
    if cursor not in {"", _READY, _SCHEDULE}:
        raise ValueError("the cursor names no step of a purge")
    ready = [] if cursor == _SCHEDULE else _ids(records, statements.QUEUE_READY, queue, limit)
    scheduled = _ids(records, statements.QUEUE_SCHEDULE, queue, limit - len(ready))
    records.load([*ready, *scheduled], with_heads=True)
    for task_id in (*ready, *scheduled):
        record = records.get(task_id)
        if record is not None:
            records.put(task.revoke(record, failure, is_forced=False, now_ms=records.now_ms))
    records.write()
    count, remaining = len(ready) + len(scheduled), records.queues.depth(queue)
    is_through = count < limit or remaining == 0
    next_cursor = _READY if len(ready) == limit else _SCHEDULE
    return Purged(count=count, remaining=remaining, cursor="" if is_through else next_cursor)


def audit_queues(records: Records, cursor: str, limit: int) -> Audited:
    """See OperatorStore.audit_tasks.

    A record and its indexes change in one statement and cannot differ; the counts of a queue are kept by this program,
    and are what is checked.
    """
    counted, mended = 0, 0
    leases = _leases(records)
    rows = records.connection.execute(statements.NEXT_QUEUES, (records.partition, cursor, limit + 1)).fetchall()
    for number, (queue, *counts) in enumerate(rows, 1):
        right = _recount(records, queue, counts, leases)
        if right != counts:
            records.connection.execute(statements.CORRECT_QUEUE, (*right, records.partition, queue))
            mended += 1
        counted += 1 + sum(right)
        if counted >= limit and number < len(rows):
            return Audited(repairs=_repairs(mended), cursor=queue)
    return Audited(repairs=_repairs(mended), cursor="")


def _repairs(mended: int) -> Mapping[str, int]:
    return {"queue_counts": mended} if mended else {}


def _recount(records: Records, queue: str, counts: list[int], leases: Counter[str] | None) -> list[int]:
    """Count what stands in a queue; too much to be counted stays as it is."""
    ready, schedule, lease = counts
    values = (records.partition, queue, MAX_RECOUNTED + 1)
    (found_ready,) = records.connection.execute(statements.RECOUNT_READY, values).fetchone()
    (found_schedule,) = records.connection.execute(statements.RECOUNT_SCHEDULE, values).fetchone()
    return [
        ready if found_ready > MAX_RECOUNTED else found_ready,
        schedule if found_schedule > MAX_RECOUNTED else found_schedule,
        lease if leases is None else leases[queue],
    ]


def _leases(records: Records) -> Counter[str] | None:
    values = (records.partition, MAX_RECOUNTED + 1)
    queues = [queue for (queue,) in records.connection.execute(statements.LEASED_QUEUES, values)]
    return None if len(queues) > MAX_RECOUNTED else Counter(queues)


def _ids(records: Records, statement: str, queue: str, limit: int) -> list[str]:
    found = records.connection.execute(statement, (records.partition, queue, limit))
    return [task_id for (task_id,) in found]


def _stats_of(row: tuple[Any, ...], now_ms: int) -> QueueStats:
    queue, is_paused, ready_count, schedule_count, lease_count, oldest_ms = row
    return QueueStats(
        queue=queue,
        is_paused=bool(is_paused),
        ready_count=ready_count,
        schedule_count=schedule_count,
        lease_count=lease_count,
        oldest_age_ms=None if oldest_ms is None else max(0, now_ms - oldest_ms),
    )
