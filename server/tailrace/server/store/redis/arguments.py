"""What the scripts take: one function for each that turns a call's items into its arguments after the fixed three.

Numbers and words of an item travel as one line, because every argument costs time in redis-py and in Redis.
"""

from collections.abc import Iterator, Sequence

from tailrace.server.domain.deadline import DeadlineFailures
from tailrace.server.domain.lease import AttemptEnd
from tailrace.server.domain.retry import DEFAULT_MAX_LOST_LEASES, NO_RETRY, RetryPolicy
from tailrace.server.domain.task import DEFAULT_LEASE_MS, DEFAULT_RESULT_TTL_MS, Submission, TaskState
from tailrace.server.store.base import MAX_CALL_BYTES, REAP_GAP_MS, REAP_GRACE_MS
from tailrace.server.store.redis.connection import Argument
from tailrace.server.store.values import Beat, LeaseRequest, Release, Revocation


def submit_arguments(submissions: Sequence[Submission], max_queue_depth: int | None) -> list[Argument]:
    """For ``submit_tasks``."""
    arguments: list[Argument] = [_optional(max_queue_depth)]
    for submission in submissions:
        policy = submission.retry_policy
        types = b"".join(map(_with_length, policy.non_retryable_types)) if policy else b""
        fields = " ".join(_fields(submission))
        arguments += (submission.task_id, submission.fingerprint, submission.request, types, fields)
    return arguments


def _fields(submission: Submission) -> Iterator[str]:
    """Name what is to be known of a task; what is left out has the default that ``lua/_record.lua`` gives it."""
    yield f"queue {submission.queue} head_bytes {submission.head_bytes}"
    if submission.priority:
        yield f"priority {submission.priority}"
    yield from _times(submission)
    if submission.return_existing:
        yield "return_existing 1"
    if submission.is_watched:
        yield "is_watched 1"
    if submission.lease_ms != DEFAULT_LEASE_MS:
        yield f"lease_ms {submission.lease_ms}"
    if submission.result_ttl_ms != DEFAULT_RESULT_TTL_MS:
        yield f"result_ttl_ms {submission.result_ttl_ms}"
    if submission.max_lost_leases != DEFAULT_MAX_LOST_LEASES:
        yield f"max_lost_leases {submission.max_lost_leases}"
    if policy := submission.retry_policy:
        yield f"max_attempts {policy.max_attempts} initial_backoff_ms {policy.initial_backoff_ms}"
        yield f"max_backoff_ms {policy.max_backoff_ms} backoff_multiplier {policy.backoff_multiplier!r}"


def _times(submission: Submission) -> Iterator[str]:
    if submission.start_delay_ms:
        yield f"start_delay_ms {submission.start_delay_ms}"
    if submission.schedule_ms is not None:
        yield f"schedule_ms {submission.schedule_ms}"
    if submission.start_deadline_ms is not None:
        yield f"start_deadline_ms {submission.start_deadline_ms}"
    if submission.start_within_ms is not None:
        yield f"start_within_ms {submission.start_within_ms}"
    if submission.execution_timeout_ms is not None:
        yield f"execution_timeout_ms {submission.execution_timeout_ms}"
    if submission.total_timeout_ms is not None:
        yield f"total_timeout_ms {submission.total_timeout_ms}"


def read_arguments(task_ids: Sequence[str]) -> list[Argument]:
    """For ``read_tasks``."""
    return [MAX_CALL_BYTES, *task_ids]


def register_arguments(task_ids: Sequence[str], *, with_progress: bool) -> list[Argument]:
    """For ``register_waits``."""
    return [MAX_CALL_BYTES, f"{with_progress:d}", *task_ids]


def lease_arguments(request: LeaseRequest) -> list[Argument]:
    """For ``lease_tasks``. A queue that is named twice is drawn from once."""
    queues = tuple(dict.fromkeys(request.queues))
    limits: list[Argument] = [MAX_CALL_BYTES, _optional(request.max_bytes), f"{request.is_first_free:d}"]
    return [
        *_failures(request.failures),
        f"{request.start_immediately:d}",
        *limits,
        request.worker_id,
        len(queues),
        *queues,
        *request.nonces,
    ]


def beat_arguments(beats: Sequence[Beat]) -> list[Argument]:
    """For ``beat_leases``."""
    arguments: list[Argument] = []
    for beat in beats:
        arguments += (beat.task_id, beat.lease_token, f"{beat.is_waiting:d}{beat.worker_id}", beat.progress or b"")
    return arguments


def result_arguments(ends: Sequence[AttemptEnd]) -> list[Argument]:
    """For ``store_results``."""
    arguments: list[Argument] = []
    for end in ends:
        payload = end.result if end.state is TaskState.SUCCESS else end.failure
        line = f"{end.state} {payload is not None:d}"
        if end.state is TaskState.FAILURE:
            delay = _optional(end.next_retry_delay_ms)
            line = f"{line} {end.is_non_retryable:d} {delay} {end.jitter} {_default_policy(end)}"
        arguments += (end.task_id, end.lease_token, payload or b"", end.failure_type, line)
    return arguments


def release_arguments(releases: Sequence[Release], failure: bytes) -> list[Argument]:
    """For ``release_leases``."""
    arguments: list[Argument] = [failure]
    for release in releases:
        arguments += (release.task_id, release.lease_token, release.delay_ms)
    return arguments


def revoke_arguments(revocations: Sequence[Revocation]) -> list[Argument]:
    """For ``revoke_tasks``."""
    arguments: list[Argument] = []
    for revocation in revocations:
        arguments += (revocation.task_id, revocation.failure, f"{revocation.is_forced:d}")
    return arguments


def overdue_arguments(failures: DeadlineFailures, jitters: Sequence[int]) -> list[Argument]:
    """For ``end_overdue``."""
    return [*_failures(failures), REAP_GAP_MS, REAP_GRACE_MS, *jitters]


def _failures(failures: DeadlineFailures) -> tuple[bytes, bytes, bytes]:
    return failures.start, failures.execution, failures.total


def _optional(number: int | None) -> str:
    return "-" if number is None else str(number)


def _default_policy(end: AttemptEnd) -> str:
    """Write the policy that holds where the submitter gave none; no attempts at all where it excludes this failure."""
    policy = end.default_retry_policy or NO_RETRY
    max_attempts = 0 if end.failure_type in policy.non_retryable_types else policy.max_attempts
    return f"{max_attempts} {_backoff(policy)}"


def _backoff(policy: RetryPolicy) -> str:
    return f"{policy.initial_backoff_ms} {policy.max_backoff_ms} {policy.backoff_multiplier!r}"


def _with_length(text: str) -> bytes:
    data = text.encode()
    return len(data).to_bytes(4, "big") + data
