"""What the scripts take: one function for each that turns a call's items into its arguments after the fixed three.

Numbers and words of an item travel as one line, because every argument costs time in redis-py and in Redis.
"""

from collections.abc import Iterator, Sequence

from tailrace.server.domain.lease import AttemptEnd
from tailrace.server.domain.retry import DEFAULT_MAX_LOST_LEASES, NO_RETRY, RetryPolicy
from tailrace.server.domain.task import DEFAULT_LEASE_MS, DEFAULT_RESULT_TTL_MS, Submission, TaskState
from tailrace.server.store.base import MAX_CALL_BYTES
from tailrace.server.store.redis.connection import Argument
from tailrace.server.store.values import Beat, LeaseRequest, Release, Revocation


def submit_arguments(submissions: Sequence[Submission]) -> list[Argument]:
    """For ``submit_tasks``."""
    arguments: list[Argument] = []
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
    if submission.start_delay_ms:
        yield f"start_delay_ms {submission.start_delay_ms}"
    if submission.return_existing:
        yield "return_existing 1"
    if submission.lease_ms != DEFAULT_LEASE_MS:
        yield f"lease_ms {submission.lease_ms}"
    if submission.result_ttl_ms != DEFAULT_RESULT_TTL_MS:
        yield f"result_ttl_ms {submission.result_ttl_ms}"
    if submission.max_lost_leases != DEFAULT_MAX_LOST_LEASES:
        yield f"max_lost_leases {submission.max_lost_leases}"
    if policy := submission.retry_policy:
        yield f"max_attempts {policy.max_attempts} initial_backoff_ms {policy.initial_backoff_ms}"
        yield f"max_backoff_ms {policy.max_backoff_ms} backoff_multiplier {policy.backoff_multiplier!r}"


def read_arguments(task_ids: Sequence[str]) -> list[Argument]:
    """For ``read_tasks`` and ``register_waits``."""
    return [MAX_CALL_BYTES, *task_ids]


def lease_arguments(request: LeaseRequest) -> list[Argument]:
    """For ``lease_tasks``. A queue that is named twice is drawn from once."""
    queues = tuple(dict.fromkeys(request.queues))
    return [f"{request.start_immediately:d}", MAX_CALL_BYTES, len(queues), *queues, *request.nonces]


def beat_arguments(beats: Sequence[Beat]) -> list[Argument]:
    """For ``beat_leases``."""
    arguments: list[Argument] = []
    for beat in beats:
        arguments += (beat.task_id, beat.lease_token, f"{beat.is_waiting:d}")
    return arguments


def result_arguments(ends: Sequence[AttemptEnd]) -> list[Argument]:
    """For ``store_results``."""
    arguments: list[Argument] = []
    for end in ends:
        payload = end.result if end.state is TaskState.SUCCESS else end.failure
        line = f"{end.state} {payload is not None:d}"
        if end.state is TaskState.FAILURE:
            delay = "-" if end.next_retry_delay_ms is None else end.next_retry_delay_ms
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
