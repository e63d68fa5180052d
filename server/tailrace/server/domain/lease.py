"""The life of one lease: delivered, started, extended, ended by its holder, released, or lost.

Every rule takes the token that the caller presents and answers None when that is not the current one: the caller no
longer holds the task and must not change it.
"""

from dataclasses import dataclass, replace

from tailrace.server.domain.retry import NO_RETRY, RetryPolicy
from tailrace.server.domain.task import Place, TaskRecord, TaskState, end_revoked, finish, wait_until_due

DELIVERY_LEASE_MS = 10_000
MIN_LEASE_MS = 2_000
MAX_LEASE_MS = 12 * 3_600_000
RELEASES_PER_LOST_LEASE = 100
NONCE_BYTES = 8
EXECUTION_TIMEOUT_TYPE = "ExecutionTimeout"
"""The type of the failure of an attempt that ran too long; a policy's ``non_retryable_types`` may name it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEnd:
    """How a worker says that an attempt ended."""

    task_id: str
    lease_token: bytes
    state: TaskState
    """SUCCESS, FAILURE (tried again if the policy allows) or REVOKED."""
    result: bytes | None = None
    failure: bytes | None = None
    failure_type: str = ""
    is_non_retryable: bool = False
    next_retry_delay_ms: int | None = None
    default_retry_policy: RetryPolicy | None = None
    """The worker's policy for the task type; the submitter's, where there is one, goes before it."""
    jitter: int = 0
    """0 to 65,535: where in its range the backoff falls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEnded:
    """What an accepted AttemptEnd led to; a duplicate changed nothing and tells what its first one led to."""

    record: TaskRecord
    state: TaskState
    is_duplicate: bool = False


def lease_token(delivery_count: int, nonce: bytes) -> bytes:
    """Build the token of a delivery: its number (4 bytes, big-endian), which only grows, then 8 random bytes.

    The random part keeps tokens apart when a failover of the store rolls the number back.
    """
    return delivery_count.to_bytes(4, "big") + nonce


def holds(record: TaskRecord, token: bytes) -> bool:
    """Tell whether a token is the current one. A lease past its expiry still counts until it is reaped."""
    return record.place is Place.LEASE and record.lease_token == token


def deliver(
    record: TaskRecord, *, nonce: bytes, start_immediately: bool, now_ms: int, worker_id: str = ""
) -> TaskRecord:
    """Hand a ready task to a worker, for the delivery lease, or started at once.

    Who the worker is may become known with its first beat only.
    """
    delivery_count = record.delivery_count + 1
    delivered = replace(
        record,
        place=Place.LEASE,
        delivery_count=delivery_count,
        lease_token=lease_token(delivery_count, nonce),
        lease_expire_ms=now_ms + DELIVERY_LEASE_MS,
        worker_id=worker_id or record.worker_id,
    )
    return start(delivered, now_ms=now_ms) if start_immediately else delivered


def start(record: TaskRecord, *, now_ms: int) -> TaskRecord:
    """Begin an attempt of a delivered task; its lease now has its full length."""
    return replace(
        record,
        state=TaskState.STARTED,
        attempt=record.attempt + 1,
        revision=record.revision + 1,
        update_ms=now_ms,
        due_ms=None,
        lease_expire_ms=now_ms + record.lease_ms,
        start_ms=now_ms,
    )


def beat(
    record: TaskRecord,
    token: bytes,
    *,
    is_waiting: bool,
    now_ms: int,
    worker_id: str = "",
    progress: bytes | None = None,
) -> TaskRecord | None:
    """Take a sign of life: the first that is not waiting starts the attempt, every other extends the lease.

    Progress counts once the attempt has started, and changes no state.
    """
    if not holds(record, token):
        return None
    record = replace(record, worker_id=worker_id or record.worker_id)
    if record.state is not TaskState.STARTED and is_waiting:
        return replace(record, lease_expire_ms=now_ms + DELIVERY_LEASE_MS)
    if record.state is not TaskState.STARTED:
        record = start(record, now_ms=now_ms)
    return replace(record, lease_expire_ms=now_ms + record.lease_ms, progress=progress or record.progress)


def end_attempt(record: TaskRecord, end: AttemptEnd, *, now_ms: int) -> AttemptEnded | None:
    """Take the result of an attempt; one that was never started counts as started and ended."""
    if record.ended_state is not None and record.ended_token == end.lease_token:
        return AttemptEnded(record=record, state=record.ended_state, is_duplicate=True)
    if not holds(record, end.lease_token):
        return None
    started = record if record.state is TaskState.STARTED else start(record, now_ms=now_ms)
    ended = _after_end(started, end, now_ms=now_ms)
    ended = replace(ended, ended_token=end.lease_token, ended_state=ended.state)
    return AttemptEnded(record=ended, state=ended.state)


def _after_end(record: TaskRecord, end: AttemptEnd, *, now_ms: int) -> TaskRecord:
    if record.revocation is not None and end.state is not TaskState.SUCCESS:
        return end_revoked(record, now_ms=now_ms)
    if end.state is not TaskState.FAILURE:
        return finish(record, end.state, now_ms=now_ms, result=end.result, failure=end.failure)
    failed = _count_failure(record)
    policy = record.retry_policy or end.default_retry_policy or NO_RETRY
    may_retry = policy.allows_retry(failed_attempts=failed.failed_attempts, failure_type=end.failure_type)
    if end.is_non_retryable or not may_retry:
        return finish(failed, TaskState.FAILURE, now_ms=now_ms, failure=end.failure)
    delay_ms = end.next_retry_delay_ms
    if delay_ms is None:
        delay_ms = policy.backoff_ms(failed_attempts=failed.failed_attempts, jitter=end.jitter)
    return _retry(failed, end.failure, delay_ms, now_ms=now_ms)


def overrun(record: TaskRecord, *, failure: bytes, jitter: int, now_ms: int) -> TaskRecord:
    """End an attempt that ran longer than its ``execution_timeout`` and the grace for the worker to end it itself.

    It counts as failed; the submitter's policy decides, since no worker sent one.
    """
    if record.revocation is not None:
        return end_revoked(record, now_ms=now_ms)
    failed = _count_failure(record)
    policy = record.retry_policy or NO_RETRY
    if not policy.allows_retry(failed_attempts=failed.failed_attempts, failure_type=EXECUTION_TIMEOUT_TYPE):
        return finish(failed, TaskState.FAILURE, now_ms=now_ms, failure=failure)
    delay_ms = policy.backoff_ms(failed_attempts=failed.failed_attempts, jitter=jitter)
    return _retry(failed, failure, delay_ms, now_ms=now_ms)


def lose(record: TaskRecord, *, failure: bytes, now_ms: int) -> TaskRecord:
    """Take a task from a holder whose lease ran out; it goes to the head of its queue.

    A delivery that was never started just goes back. A started attempt is a lost lease: no failed attempt, no backoff,
    but the ``max_lost_leases``-th in a row is final. One that was asked to stop is over.
    """
    if record.state is not TaskState.STARTED:
        return wait_until_due(record, 0, now_ms=now_ms)
    if record.revocation is not None:
        return end_revoked(record, now_ms=now_ms)
    lost = replace(record, lost_leases=record.lost_leases + 1, releases=0)
    if lost.lost_leases >= lost.max_lost_leases:
        return finish(lost, TaskState.FAILURE, now_ms=now_ms, failure=failure)
    return _retry(lost, failure, 0, now_ms=now_ms)


def release(record: TaskRecord, token: bytes, *, delay_ms: int, failure: bytes, now_ms: int) -> TaskRecord | None:
    """Take a lease back from a holder that gives it up: to the head of the queue, or the schedule with a delay.

    The started attempt is taken back. The hundredth release in a row counts as a lost lease, with ``failure``. A task
    that was asked to stop ends instead.
    """
    if not holds(record, token):
        return None
    was_started = record.state is TaskState.STARTED
    back = replace(record, releases=record.releases + 1, attempt=record.attempt - (1 if was_started else 0))
    if record.revocation is not None:
        return end_revoked(back, now_ms=now_ms)
    if back.releases >= RELEASES_PER_LOST_LEASE:
        return _lose_by_releases(back, delay_ms, failure, now_ms=now_ms)
    if was_started:
        has_failed_before = back.failed_attempts > 0 or back.lost_leases > 0
        state = TaskState.RETRY if has_failed_before else TaskState.PENDING
        back = replace(back, state=state, revision=back.revision + 1, update_ms=now_ms)
    return wait_until_due(back, delay_ms, now_ms=now_ms)


def _lose_by_releases(record: TaskRecord, delay_ms: int, failure: bytes, *, now_ms: int) -> TaskRecord:
    lost = replace(record, lost_leases=record.lost_leases + 1, releases=0)
    if lost.lost_leases >= lost.max_lost_leases:
        return finish(lost, TaskState.FAILURE, now_ms=now_ms, failure=failure)
    return _retry(lost, failure, delay_ms, now_ms=now_ms)


def _count_failure(record: TaskRecord) -> TaskRecord:
    return replace(record, failed_attempts=record.failed_attempts + 1, lost_leases=0, releases=0)


def _retry(record: TaskRecord, failure: bytes | None, delay_ms: int, *, now_ms: int) -> TaskRecord:
    """Have another attempt follow; one that would come too late is not waited for, and the task ends."""
    if record.total_deadline_ms is not None and now_ms + delay_ms >= record.total_deadline_ms:
        return finish(record, TaskState.FAILURE, now_ms=now_ms, failure=failure)
    retried = replace(
        record, state=TaskState.RETRY, revision=record.revision + 1, update_ms=now_ms, last_failure=failure
    )
    return wait_until_due(retried, delay_ms, now_ms=now_ms)
