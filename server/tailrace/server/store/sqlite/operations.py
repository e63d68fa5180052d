"""What callers ask of the store, as the rules of ``domain`` applied to records in the order of the items."""

import itertools
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

from tailrace.server.domain import lease, task
from tailrace.server.domain.deadline import miss_deadline
from tailrace.server.domain.lease import AttemptEnd
from tailrace.server.domain.task import Submission, TaskRecord, TaskSnapshot, TaskState
from tailrace.server.store.base import MAX_CALL_BYTES, MAX_ITEMS
from tailrace.server.store.sqlite import statements
from tailrace.server.store.sqlite.records import Records
from tailrace.server.store.sqlite.rows import outcome_bytes
from tailrace.server.store.values import (
    Beat,
    Delivery,
    Leased,
    LeaseHeld,
    LeaseRequest,
    Release,
    ResultStored,
    Revocation,
    Submitted,
)


def submit_tasks(
    records: Records, submissions: Sequence[Submission], max_queue_depth: int | None = None
) -> list[Submitted]:
    """See Store.submit_tasks."""
    records.load(submission.task_id for submission in submissions)
    queues = dict.fromkeys(submission.queue for submission in submissions)
    depths = {} if max_queue_depth is None else {queue: records.queues.depth(queue) for queue in queues}
    submitted: list[Submitted] = []
    for submission in submissions:
        is_full = max_queue_depth is not None and depths[submission.queue] >= max_queue_depth
        submitted.append(_submit(records, submission, is_queue_full=is_full))
        if submitted[-1].is_created and max_queue_depth is not None:
            depths[submission.queue] += 1
    return submitted


def _submit(records: Records, submission: Submission, *, is_queue_full: bool) -> Submitted:
    existing = records.get(submission.task_id)
    if existing is None:
        accepted = task.accept(submission, now_ms=records.now_ms)
        if not is_queue_full:
            records.create(accepted, task_type=submission.task_type)
        return Submitted(snapshot=records.snapshot(accepted), is_created=not is_queue_full, is_queue_full=is_queue_full)
    is_same = existing.fingerprint == submission.fingerprint
    snapshot = without_payloads(records.snapshot(existing))
    return Submitted(snapshot=snapshot, is_created=False, is_conflict=not is_same and not submission.return_existing)


def read_tasks(records: Records, task_ids: Sequence[str]) -> list[TaskSnapshot | None]:
    """See Store.read_tasks."""
    size_bytes, sizes = 0, outcome_bytes(records.connection, task_ids)
    is_whole: list[bool] = []
    for task_id in task_ids:
        is_whole.append(size_bytes < MAX_CALL_BYTES or task_id not in sizes)
        size_bytes += sizes.get(task_id, 0) if is_whole[-1] else 0
    records.load(itertools.compress(task_ids, is_whole))
    records.load(task_ids, with_outcomes=False)
    return [_read(records, task_id, is_whole=whole) for task_id, whole in zip(task_ids, is_whole, strict=True)]


def _read(records: Records, task_id: str, *, is_whole: bool) -> TaskSnapshot | None:
    record = records.get(task_id)
    if record is None:
        return None
    snapshot = records.snapshot(record)
    return snapshot if is_whole else replace(without_payloads(snapshot), is_whole=False)


def lease_tasks(records: Records, request: LeaseRequest) -> Leased:
    """See Store.lease_tasks."""
    queues = [queue for queue in dict.fromkeys(request.queues) if not records.queues.is_paused(queue)]
    drawn = _draw(records, request, queues)
    records.load(drawn.chosen, with_requests=True)
    records.load(drawn.overdue, with_heads=True)
    for task_id in drawn.overdue:
        ready = _known(records, task_id)
        records.put(miss_deadline(ready, request.failures, jitter=0, now_ms=records.now_ms))
    deliveries = tuple(
        _deliver(records, task_id, nonce, request) for task_id, nonce in zip(drawn.chosen, request.nonces, strict=False)
    )
    records.write()
    has_more = any(
        records.connection.execute(statements.HAS_READY, (records.partition, queue)).fetchone()[0] for queue in queues
    )
    return Leased(deliveries=deliveries, is_drained=not has_more, is_blocked=drawn.is_blocked)


@dataclass(slots=True)
class _Drawn:
    """What the queues gave to one request."""

    chosen: list[str] = field(default_factory=list[str])
    overdue: list[str] = field(default_factory=list[str])
    size_bytes: int = 0
    input_bytes: int = 0
    is_blocked: bool = False

    def is_enough(self, request: LeaseRequest) -> bool:
        return (
            len(self.chosen) >= len(request.nonces)
            or len(self.overdue) >= MAX_ITEMS
            or self.size_bytes >= MAX_CALL_BYTES
            or self.is_blocked
        )

    def fits(self, request: LeaseRequest, input_bytes: int) -> bool:
        is_free = request.is_first_free and not self.chosen
        return request.max_bytes is None or is_free or self.input_bytes + input_bytes <= request.max_bytes


def _draw(records: Records, request: LeaseRequest, queues: Sequence[str]) -> _Drawn:
    drawn = _Drawn()
    for queue in queues:
        if drawn.is_enough(request):
            break
        with closing(records.connection.execute(statements.READY, (records.partition, queue))) as ready:
            for task_id, request_bytes, head_bytes, deadline_ms, carried_bytes in ready:
                input_bytes = request_bytes - head_bytes
                if deadline_ms is not None and deadline_ms <= records.now_ms:
                    drawn.overdue.append(task_id)
                elif drawn.fits(request, input_bytes):
                    drawn.chosen.append(task_id)
                    drawn.size_bytes += request_bytes + carried_bytes
                    drawn.input_bytes += input_bytes
                else:
                    drawn.is_blocked = True
                if drawn.is_enough(request):
                    break
    return drawn


def _deliver(records: Records, task_id: str, nonce: bytes, request: LeaseRequest) -> Delivery:
    delivered = lease.deliver(
        _known(records, task_id),
        nonce=nonce,
        start_immediately=request.start_immediately,
        now_ms=records.now_ms,
        worker_id=request.worker_id,
    )
    records.put(delivered)
    if delivered.lease_token is None or delivered.lease_expire_ms is None:
        raise AssertionError("a delivered task has a lease")
    return Delivery(
        task_id=task_id,
        lease_token=delivered.lease_token,
        request=delivered.request,
        attempt=delivered.attempt if request.start_immediately else delivered.attempt + 1,
        lease_ms=delivered.lease_ms,
        lease_expire_ms=delivered.lease_expire_ms,
        create_ms=delivered.create_ms,
        last_failure=delivered.last_failure,
        input_bytes=len(delivered.request) - delivered.head_bytes,
        progress=delivered.progress,
    )


def beat_leases(records: Records, beats: Sequence[Beat]) -> list[LeaseHeld | None]:
    """See Store.beat_leases."""
    records.load(beat.task_id for beat in beats)
    return [_beat(records, beat) for beat in beats]


def _beat(records: Records, beat: Beat) -> LeaseHeld | None:
    record = records.get(beat.task_id)
    if record is None:
        return None
    kept = lease.beat(
        record,
        beat.lease_token,
        is_waiting=beat.is_waiting,
        now_ms=records.now_ms,
        worker_id=beat.worker_id,
        progress=beat.progress,
    )
    if kept is None or kept.lease_expire_ms is None:
        return None
    records.put(kept)
    # A start is told by itself, with the progress in it.
    if beat.progress and kept.revision == record.revision and kept.state is TaskState.STARTED:
        records.tell(kept, is_progress=True)
    return LeaseHeld(expire_ms=kept.lease_expire_ms, revocation=kept.revocation)


def store_results(records: Records, ends: Sequence[AttemptEnd]) -> list[ResultStored | None]:
    """See Store.store_results."""
    # A SUCCESS drops the input from the request, so that one has to be read; all others leave it as it is.
    records.load((end.task_id for end in ends if end.state is TaskState.SUCCESS), with_requests=True)
    records.load((end.task_id for end in ends), with_heads=True)
    return [_end(records, end) for end in ends]


def _end(records: Records, end: AttemptEnd) -> ResultStored | None:
    record = records.get(end.task_id)
    ended = None if record is None else lease.end_attempt(record, end, now_ms=records.now_ms)
    if ended is None:
        return None
    if ended.is_duplicate:
        records.tell(ended.record)
    else:
        records.put(ended.record)
    return ResultStored(state=ended.state, is_duplicate=ended.is_duplicate)


def release_leases(records: Records, releases: Sequence[Release], failure: bytes) -> list[bool]:
    """See Store.release_leases."""
    records.load((release.task_id for release in releases), with_heads=True)
    return [_release(records, release, failure) for release in releases]


def _release(records: Records, release: Release, failure: bytes) -> bool:
    record = records.get(release.task_id)
    if record is None:
        return False
    back = lease.release(record, release.lease_token, delay_ms=release.delay_ms, failure=failure, now_ms=records.now_ms)
    if back is None:
        return False
    records.put(back, to_head=True)
    return True


def revoke_tasks(records: Records, revocations: Sequence[Revocation]) -> list[TaskSnapshot | None]:
    """See Store.revoke_tasks."""
    records.load((revocation.task_id for revocation in revocations), with_heads=True)
    return [_revoke(records, revocation) for revocation in revocations]


def _revoke(records: Records, revocation: Revocation) -> TaskSnapshot | None:
    record = records.get(revocation.task_id)
    if record is None:
        return None
    revoked = task.revoke(record, revocation.failure, is_forced=revocation.is_forced, now_ms=records.now_ms)
    if revoked is not record:
        records.put(revoked)
        records.tell_holder(record, revoked)
    return without_payloads(records.snapshot(revoked))


def without_payloads(snapshot: TaskSnapshot) -> TaskSnapshot:
    """Leave out what may be large."""
    return replace(snapshot, result=None, failure=None, last_failure=None, progress=None)


def _known(records: Records, task_id: str) -> TaskRecord:
    record = records.get(task_id)
    if record is None:
        raise AssertionError(f"task {task_id} stands in an index without a record")
    return record
