"""Values for tests of stores, everything that a test does not care about filled in."""

import hashlib

from tailrace.server.domain.deadline import DeadlineFailures
from tailrace.server.domain.lease import AttemptEnd
from tailrace.server.domain.retry import RetryPolicy
from tailrace.server.domain.task import DEFAULT_LEASE_MS, DEFAULT_RESULT_TTL_MS, Submission, TaskState
from tailrace.server.store.values import LeaseRequest

HEAD = b"head:"
LOST = b"the lease ran out"
"""A serialized Failure, as far as a store can tell."""
STOP = b"nobody wants it any more"
"""Likewise, of a task that was revoked."""
PURGED = b"the queue was purged"
MISSED = DeadlineFailures(start=b"started too late", execution=b"ran too long", total=b"took too long")
TYPE = "add"


def a_submission(
    task_id: str = "task-1",
    *,
    queue: str = "default",
    priority: int = 0,
    payload: bytes = b"[1, 2]",
    start_delay_ms: int = 0,
    lease_ms: int = DEFAULT_LEASE_MS,
    result_ttl_ms: int = DEFAULT_RESULT_TTL_MS,
    retry_policy: RetryPolicy | None = None,
    max_lost_leases: int = 3,
    return_existing: bool = False,
    schedule_ms: int | None = None,
    start_deadline_ms: int | None = None,
    start_within_ms: int | None = None,
    execution_timeout_ms: int | None = None,
    total_timeout_ms: int | None = None,
    is_watched: bool = False,
) -> Submission:
    return Submission(
        task_id=task_id,
        task_type=TYPE,
        queue=queue,
        priority=priority,
        fingerprint=hashlib.sha256(b"\0".join([TYPE.encode(), queue.encode(), payload])).digest()[:16],
        request=HEAD + payload,
        head_bytes=len(HEAD),
        start_delay_ms=start_delay_ms,
        lease_ms=lease_ms,
        result_ttl_ms=result_ttl_ms,
        retry_policy=retry_policy,
        max_lost_leases=max_lost_leases,
        return_existing=return_existing,
        schedule_ms=schedule_ms,
        start_deadline_ms=start_deadline_ms,
        start_within_ms=start_within_ms,
        execution_timeout_ms=execution_timeout_ms,
        total_timeout_ms=total_timeout_ms,
        is_watched=is_watched,
    )


def nonces(count: int, first: int = 1) -> tuple[bytes, ...]:
    return tuple(number.to_bytes(8, "big") for number in range(first, first + count))


def a_lease_request(
    *queues: str,
    count: int = 1,
    first_nonce: int = 1,
    start_immediately: bool = False,
    max_bytes: int | None = None,
    is_first_free: bool = False,
    worker_id: str = "",
) -> LeaseRequest:
    return LeaseRequest(
        queues=queues or ("default",),
        nonces=nonces(count, first_nonce),
        failures=MISSED,
        start_immediately=start_immediately,
        max_bytes=max_bytes,
        is_first_free=is_first_free,
        worker_id=worker_id,
    )


def a_success(task_id: str, lease_token: bytes, *, result: bytes | None = b"3") -> AttemptEnd:
    return AttemptEnd(task_id=task_id, lease_token=lease_token, state=TaskState.SUCCESS, result=result)


def a_failure(
    task_id: str,
    lease_token: bytes,
    *,
    failure: bytes = b"it broke",
    failure_type: str = "ValueError",
    is_non_retryable: bool = False,
    next_retry_delay_ms: int | None = None,
    default_retry_policy: RetryPolicy | None = None,
    jitter: int = 0,
) -> AttemptEnd:
    return AttemptEnd(
        task_id=task_id,
        lease_token=lease_token,
        state=TaskState.FAILURE,
        failure=failure,
        failure_type=failure_type,
        is_non_retryable=is_non_retryable,
        next_retry_delay_ms=next_retry_delay_ms,
        default_retry_policy=default_retry_policy,
        jitter=jitter,
    )


def a_revocation(task_id: str, lease_token: bytes, *, failure: bytes = b"revoked") -> AttemptEnd:
    return AttemptEnd(task_id=task_id, lease_token=lease_token, state=TaskState.REVOKED, failure=failure)


def a_policy(max_attempts: int) -> RetryPolicy:
    return RetryPolicy(max_attempts=max_attempts)
