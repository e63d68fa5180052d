"""What maintenance asks of the store: some at a time of what has become due."""

from collections.abc import Collection, Sequence

from tailrace.server.domain import lease, task
from tailrace.server.domain.deadline import DeadlineFailures, has_but_overrun, miss_deadline
from tailrace.server.store.sqlite import statements
from tailrace.server.store.sqlite.reap_guard import ReapGuards
from tailrace.server.store.sqlite.records import Records, delete_rows
from tailrace.server.store.values import Tick


def reap_leases(records: Records, limit: int, failure: bytes, guards: ReapGuards) -> Tick:
    """See Store.reap_leases."""
    has_leases = _until_next(records, statements.NEXT_LEASE) is not None
    grace_ms = guards.grace_ms(records.connection, records.partition, records.now_ms, has_leases=has_leases)
    if grace_ms > 0:
        return Tick(count=0, next_due_ms=grace_ms if has_leases else None)
    task_ids = _due_ids(records, statements.EXPIRED_LEASES, limit)
    records.load(task_ids, with_heads=True)
    for task_id in task_ids:
        record = records.get(task_id)
        if record is not None:
            lost = lease.lose(record, failure=failure, now_ms=records.now_ms)
            records.put(lost, to_head=True)
            records.tell_holder(record, lost)
    records.write()
    return Tick(count=len(task_ids), next_due_ms=_until_next(records, statements.NEXT_LEASE))


def end_overdue(records: Records, failures: DeadlineFailures, jitters: Sequence[int], guards: ReapGuards) -> Tick:
    """See Store.end_overdue."""
    grace_ms = guards.grace_left_ms(records.connection, records.partition, records.now_ms)
    task_ids = _due_ids(records, statements.OVERDUE, len(jitters))
    records.load(task_ids, with_heads=True)
    overdue = [record for task_id in task_ids if (record := records.get(task_id)) is not None]
    spared = {each.task_id for each in overdue if grace_ms > 0 and has_but_overrun(each, now_ms=records.now_ms)}
    missed = [record for record in overdue if record.task_id not in spared]
    for record, jitter in zip(missed, jitters, strict=False):
        ended = miss_deadline(record, failures, jitter=jitter, now_ms=records.now_ms)
        records.put(ended)
        records.tell_holder(record, ended)
    records.write()
    return Tick(count=len(missed), next_due_ms=_until_next_deadline(records, spared, grace_ms))


def promote_due(records: Records, limit: int) -> Tick:
    """See Store.promote_due."""
    task_ids = _due_ids(records, statements.DUE, limit)
    records.load(task_ids)
    for task_id in task_ids:
        record = records.get(task_id)
        if record is not None:
            records.put(task.wait_until_due(record, 0, now_ms=records.now_ms))
    records.write()
    return Tick(count=len(task_ids), next_due_ms=_until_next(records, statements.NEXT_DUE))


def expire_done(records: Records, limit: int) -> Tick:
    """See Store.expire_done."""
    values = (records.partition, records.now_ms, limit)
    seqs = [seq for (seq,) in records.connection.execute(statements.OVER, values)]
    delete_rows(records.connection, seqs)
    return Tick(count=len(seqs), next_due_ms=_until_next(records, statements.NEXT_OVER))


def _until_next_deadline(records: Records, spared: Collection[str], grace_ms: int) -> int | None:
    """Tell how long it is until the next deadline, or the end of the grace for those that were spared."""
    values = (records.partition, len(spared) + 1)
    found = records.connection.execute(statements.NEXT_DEADLINES, values)
    deadlines_ms = [deadline_ms for task_id, deadline_ms in found if task_id not in spared]
    spans_ms = [max(0, deadline_ms - records.now_ms) for deadline_ms in deadlines_ms]
    return min([*spans_ms, grace_ms] if spared else spans_ms, default=None)


def _due_ids(records: Records, statement: str, limit: int) -> list[str]:
    values = (records.partition, records.now_ms, limit)
    return [task_id for (task_id,) in records.connection.execute(statement, values)]


def _until_next(records: Records, statement: str) -> int | None:
    (next_ms,) = records.connection.execute(statement, (records.partition,)).fetchone()
    return None if next_ms is None else max(0, next_ms - records.now_ms)
