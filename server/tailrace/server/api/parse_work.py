"""What workers say, off the wire: who they are, leases, beats and the ends of attempts."""

import random

from tailrace.server.api.parse_fields import (
    QUEUE,
    check_count,
    check_name,
    check_payload,
    check_text,
    is_task_id,
    span_ms,
)
from tailrace.server.api.parse_task import parse_retry_policy
from tailrace.server.api.violations import Violations, invalid
from tailrace.server.coordinator.failures import revoked
from tailrace.server.domain import limits
from tailrace.server.domain.errors import LeaseLostError, LimitExceededError
from tailrace.server.domain.lease import AttemptEnd
from tailrace.server.domain.retry import JITTER_STEPS, RetryPolicy
from tailrace.server.domain.task import TaskState
from tailrace.server.store.values import Beat, Release
from tailrace.v1 import task_pb2, worker_service_pb2

UNKNOWN_TASK_TYPE = "UnknownTaskType"
UNKNOWN_TASK_TYPE_POLICY = RetryPolicy(max_attempts=6)
"""Five retries with backoff, so that deploying the submitter before the worker destroys nothing."""
RESULT_TOO_LARGE = "ResultTooLarge"

_REPORTABLE_KINDS = frozenset(
    {task_pb2.FAILURE_KIND_APPLICATION, task_pb2.FAILURE_KIND_TIMEOUT, task_pb2.FAILURE_KIND_SYSTEM}
)


def check_worker(worker: worker_service_pb2.WorkerInfo, path: str) -> None:
    """Check how a worker introduces itself.

    Raises:
        InvalidRequestError: Fields are missing or malformed.
        LimitExceededError: It draws from too many queues.
    """
    check_count(f"{path}.queues", worker.queues, limit=limits.MAX_QUEUES, minimum=1)
    violations = Violations()
    check_worker_id(violations, f"{path}.worker_id", worker.worker_id)
    check_text(violations, f"{path}.sdk", worker.sdk, max_bytes=limits.MAX_SDK_BYTES)
    for index, queue in enumerate(worker.queues):
        check_name(violations, f"{path}.queues[{index}]", queue, QUEUE)
    violations.raise_if_any()


def check_worker_id(violations: Violations, field: str, worker_id: str) -> None:
    """Check the name of a worker."""
    is_printable = worker_id.isascii() and worker_id.isprintable()
    if not (worker_id and is_printable and len(worker_id) <= limits.MAX_WORKER_ID_CHARS):
        violations.add(field, f"must be 1 to {limits.MAX_WORKER_ID_CHARS} printable ASCII characters")


def parse_beat(beat: worker_service_pb2.LeaseBeat, *, worker_id: str = "", progress: bytes | None = None) -> Beat:
    """Read a sign of life; ``progress`` is what ``parse_progress`` made of its own.

    Raises:
        LeaseLostError: It names no possible lease.
    """
    _check_ref(beat.lease)
    return Beat(
        task_id=beat.lease.task_id,
        lease_token=beat.lease.lease_token,
        is_waiting=beat.waiting,
        worker_id=worker_id,
        progress=progress,
    )


def parse_progress(beat: worker_service_pb2.LeaseBeat, *, path: str, now_ms: int) -> bytes | None:
    """Read how far a task has come, as it is kept: with the time at which it was taken. None when nothing is said.

    Raises:
        InvalidRequestError: Fields are missing or malformed.
        LimitExceededError: The details are too large.
    """
    if beat.waiting or not beat.HasField("progress"):
        return None
    progress = beat.progress
    violations = Violations()
    check_text(violations, f"{path}.message", progress.message, max_bytes=limits.MAX_PROGRESS_MESSAGE_BYTES)
    if progress.HasField("details"):
        check_payload(violations, f"{path}.details", progress.details, max_bytes=limits.MAX_PROGRESS_DETAILS_BYTES)
    violations.raise_if_any()
    progress.update_time.FromMilliseconds(now_ms)
    return progress.SerializeToString()


def parse_release(lease: worker_service_pb2.LeaseRef, delay_ms: int) -> Release:
    """Read a lease given back.

    Raises:
        LeaseLostError: It names no possible lease.
    """
    _check_ref(lease)
    return Release(task_id=lease.task_id, lease_token=lease.lease_token, delay_ms=delay_ms)


def parse_release_delay(
    request: worker_service_pb2.LeaseReleases | worker_service_pb2.ReleaseTasksRequest, field: str
) -> int:
    """Read for how long (ms) released tasks rest.

    Raises:
        InvalidRequestError: It is malformed or out of bounds.
    """
    if not request.HasField("delay"):
        return 0
    violations = Violations()
    delay_ms = span_ms(violations, field, request.delay, maximum_ms=limits.MAX_RELEASE_DELAY_MS)
    violations.raise_if_any()
    return delay_ms


def parse_attempt_result(result: worker_service_pb2.AttemptResult, *, max_payload_bytes: int, path: str) -> AttemptEnd:
    """Read the end of an attempt. A result over the limit becomes the failure ``ResultTooLarge``.

    Raises:
        InvalidRequestError: Fields are missing or malformed.
        LeaseLostError: It names no possible lease.
    """
    _check_ref(result.lease)
    outcome = result.WhichOneof("outcome")
    if outcome is None:
        raise invalid(f"{path}.outcome", "is required: success, failure or revoked")
    if outcome == "failure":
        return _parse_failed(result, path)
    if outcome == "revoked":
        message = _cut(result.revoked.message, limits.MAX_FAILURE_MESSAGE_BYTES)
        return _end(result, TaskState.REVOKED, failure=revoked(message))
    return _parse_succeeded(result, max_payload_bytes, path)


def _parse_succeeded(result: worker_service_pb2.AttemptResult, max_payload_bytes: int, path: str) -> AttemptEnd:
    payload = result.success
    if not payload.content_type and not payload.data:
        return _end(result, TaskState.SUCCESS)
    violations = Violations()
    try:
        check_payload(violations, f"{path}.success", payload, max_bytes=max_payload_bytes)
    except LimitExceededError as error:
        too_large = task_pb2.Failure(
            kind=task_pb2.FAILURE_KIND_SYSTEM,
            type=RESULT_TOO_LARGE,
            message=f"the result is {len(payload.data)} bytes, over the limit of {max_payload_bytes}: {error.field}",
            source="tailrace-server",
            non_retryable=True,
        )
        return _end(
            result, TaskState.FAILURE, failure=too_large.SerializeToString(), failure_type=RESULT_TOO_LARGE, final=True
        )
    violations.raise_if_any()
    return _end(result, TaskState.SUCCESS, payload=payload.SerializeToString())


def _parse_failed(result: worker_service_pb2.AttemptResult, path: str) -> AttemptEnd:
    failure = result.failure
    violations = Violations()
    if failure.kind not in _REPORTABLE_KINDS:
        violations.add(f"{path}.failure.kind", "must be APPLICATION, TIMEOUT or SYSTEM")
    delay_ms = None
    if failure.HasField("next_retry_delay"):
        field = f"{path}.failure.next_retry_delay"
        delay_ms = span_ms(violations, field, failure.next_retry_delay, maximum_ms=limits.MAX_BACKOFF_MS)
    policy = None
    if result.HasField("default_retry_policy"):
        policy = parse_retry_policy(violations, f"{path}.default_retry_policy", result.default_retry_policy)
    violations.raise_if_any()
    if policy is None and failure.kind == task_pb2.FAILURE_KIND_SYSTEM and failure.type == UNKNOWN_TASK_TYPE:
        policy = UNKNOWN_TASK_TYPE_POLICY
    _trim(failure, limits.MAX_FAILURE_DEPTH)
    return _end(
        result,
        TaskState.FAILURE,
        failure=failure.SerializeToString(),
        failure_type=failure.type,
        final=failure.non_retryable,
        next_retry_delay_ms=delay_ms,
        policy=policy,
    )


def _end(
    result: worker_service_pb2.AttemptResult,
    state: TaskState,
    *,
    payload: bytes | None = None,
    failure: bytes | None = None,
    failure_type: str = "",
    final: bool = False,
    next_retry_delay_ms: int | None = None,
    policy: RetryPolicy | None = None,
) -> AttemptEnd:
    return AttemptEnd(
        task_id=result.lease.task_id,
        lease_token=result.lease.lease_token,
        state=state,
        result=payload,
        failure=failure,
        failure_type=failure_type,
        is_non_retryable=final,
        next_retry_delay_ms=next_retry_delay_ms,
        default_retry_policy=policy,
        jitter=random.randint(0, JITTER_STEPS),
    )


def _trim(failure: task_pb2.Failure, levels: int) -> None:
    """Cut a failure's texts, details and chain of causes down to what is kept."""
    failure.type = _cut(failure.type, limits.MAX_FAILURE_TYPE_BYTES)
    failure.message = _cut(failure.message, limits.MAX_FAILURE_MESSAGE_BYTES)
    failure.traceback = _cut_middle(failure.traceback, limits.MAX_TRACEBACK_BYTES)
    failure.source = _cut(failure.source, limits.MAX_FAILURE_SOURCE_BYTES)
    if failure.details.ByteSize() > limits.MAX_FAILURE_DETAILS_BYTES:
        failure.ClearField("details")
    if failure.HasField("cause"):
        if levels <= 1:
            failure.ClearField("cause")
        else:
            _trim(failure.cause, levels - 1)


def _cut(text: str, max_bytes: int) -> str:
    encoded = text.encode()
    return text if len(encoded) <= max_bytes else encoded[:max_bytes].decode(errors="ignore")


def _cut_middle(text: str, max_bytes: int) -> str:
    encoded = text.encode()
    if len(encoded) <= max_bytes:
        return text
    mark = b"\n[...]\n"
    half = (max_bytes - len(mark)) // 2
    return (encoded[:half] + mark + encoded[-half:]).decode(errors="ignore")


def _check_ref(lease: worker_service_pb2.LeaseRef) -> None:
    if not is_task_id(lease.task_id) or len(lease.lease_token) > limits.MAX_LEASE_TOKEN_BYTES:
        raise LeaseLostError(lease.task_id[: limits.MAX_ECHO_BYTES])
