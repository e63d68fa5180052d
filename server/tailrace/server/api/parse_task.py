"""Submissions off the wire: checked, defaults filled in, cut into what the store needs."""

import hashlib
import math
from collections.abc import Mapping

from tailrace.server.api.parse_fields import (
    QUEUE,
    TASK_ID,
    TASK_TYPE,
    check_map,
    check_name,
    check_payload,
    check_text,
    span_ms,
)
from tailrace.server.api.parse_times import parse_times
from tailrace.server.api.violations import Violations
from tailrace.server.domain import limits
from tailrace.server.domain.ids import new_task_id
from tailrace.server.domain.retry import (
    DEFAULT_BACKOFF_MULTIPLIER,
    DEFAULT_INITIAL_BACKOFF_MS,
    DEFAULT_MAX_BACKOFF_MS,
    DEFAULT_MAX_LOST_LEASES,
    RetryPolicy,
)
from tailrace.server.domain.task import DEFAULT_QUEUE, Submission
from tailrace.v1 import task_pb2, task_service_pb2

FINGERPRINT_BYTES = 16


def parse_submission(
    request: task_service_pb2.SubmitRequest, *, max_payload_bytes: int, path: str = "", is_watched: bool = False
) -> Submission:
    """Read one task to accept; ``path`` goes before the names of fields at fault. Takes the request apart.

    Raises:
        InvalidRequestError: Fields are missing or malformed.
        LimitExceededError: The input is too large.
    """
    violations = Violations()
    if request.task_id:
        check_name(violations, f"{path}task_id", request.task_id, TASK_ID)
    if request.parent_task_id:
        check_name(violations, f"{path}parent_task_id", request.parent_task_id, TASK_ID)
    if not request.HasField("spec"):
        violations.add(f"{path}spec", "is required")
    spec = request.spec
    spec.queue = spec.queue or DEFAULT_QUEUE
    _check_spec(violations, f"{path}spec.", spec, max_payload_bytes=max_payload_bytes)
    times = parse_times(violations, f"{path}spec.", spec)
    policy = parse_retry_policy(violations, f"{path}spec.retry_policy", spec.retry_policy)
    violations.raise_if_any()
    fingerprint = fingerprint_of(spec)
    head, tail = _split(request)
    return Submission(
        task_id=request.task_id or new_task_id(),
        task_type=spec.task_type,
        queue=spec.queue,
        priority=spec.priority,
        fingerprint=fingerprint,
        request=head + tail,
        head_bytes=len(head),
        start_delay_ms=times.start_delay_ms,
        lease_ms=times.lease_ms,
        result_ttl_ms=times.result_ttl_ms,
        retry_policy=policy if _sets_policy(spec) else None,
        max_lost_leases=spec.retry_policy.max_lost_leases or DEFAULT_MAX_LOST_LEASES,
        return_existing=request.return_existing,
        schedule_ms=times.schedule_ms,
        start_deadline_ms=times.start_deadline_ms,
        start_within_ms=times.start_within_ms,
        execution_timeout_ms=times.execution_timeout_ms,
        total_timeout_ms=times.total_timeout_ms,
        is_watched=is_watched,
    )


def fingerprint_of(spec: task_pb2.TaskSpec) -> bytes:
    """Digest what makes two submissions of one id the same request.

    The first 16 bytes of SHA-256 over task_type, queue (after the default), and the input's content_type,
    content_encoding and data, each preceded by its length (8 bytes, big-endian).
    """
    digest = hashlib.sha256()
    payload = spec.input
    texts = (spec.task_type, spec.queue, payload.content_type, payload.content_encoding)
    for part in (*(text.encode() for text in texts), payload.data):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()[:FINGERPRINT_BYTES]


def parse_retry_policy(violations: Violations, field: str, policy: task_pb2.RetryPolicy) -> RetryPolicy:
    """Read a policy, noting what is out of bounds, and fill in its defaults."""
    if not 0 <= policy.max_attempts <= limits.MAX_ATTEMPTS:
        violations.add(f"{field}.max_attempts", f"must be from 0 to {limits.MAX_ATTEMPTS}")
    if not 0 <= policy.max_lost_leases <= limits.MAX_LOST_LEASES:
        violations.add(f"{field}.max_lost_leases", f"must be from 0 to {limits.MAX_LOST_LEASES}")
    multiplier = policy.backoff_multiplier or DEFAULT_BACKOFF_MULTIPLIER
    if not math.isfinite(multiplier) or not 1 <= multiplier <= limits.MAX_BACKOFF_MULTIPLIER:
        violations.add(f"{field}.backoff_multiplier", f"must be 0, or from 1 to {limits.MAX_BACKOFF_MULTIPLIER:g}")
    if len(policy.non_retryable_types) > limits.MAX_NON_RETRYABLE_TYPES:
        violations.add(f"{field}.non_retryable_types", f"must be at most {limits.MAX_NON_RETRYABLE_TYPES}")
    for index, failure_type in enumerate(policy.non_retryable_types[: limits.MAX_NON_RETRYABLE_TYPES]):
        entry = f"{field}.non_retryable_types[{index}]"
        check_text(violations, entry, failure_type, max_bytes=limits.MAX_FAILURE_TYPE_BYTES)
    initial_ms, maximum_ms = DEFAULT_INITIAL_BACKOFF_MS, DEFAULT_MAX_BACKOFF_MS
    if policy.HasField("initial_backoff"):
        initial_ms = span_ms(
            violations, f"{field}.initial_backoff", policy.initial_backoff, maximum_ms=limits.MAX_BACKOFF_MS
        )
    if policy.HasField("max_backoff"):
        maximum_ms = span_ms(violations, f"{field}.max_backoff", policy.max_backoff, maximum_ms=limits.MAX_BACKOFF_MS)
    return RetryPolicy(
        max_attempts=max(1, policy.max_attempts),
        initial_backoff_ms=initial_ms,
        max_backoff_ms=maximum_ms,
        backoff_multiplier=multiplier,
        non_retryable_types=tuple(policy.non_retryable_types),
    )


def _sets_policy(spec: task_pb2.TaskSpec) -> bool:
    """Tell whether the submitter decides over failures; one who only bounds lost leases leaves that to the worker."""
    only_losses = task_pb2.RetryPolicy(max_lost_leases=spec.retry_policy.max_lost_leases)
    return spec.HasField("retry_policy") and spec.retry_policy != only_losses


def _check_spec(violations: Violations, path: str, spec: task_pb2.TaskSpec, *, max_payload_bytes: int) -> None:
    check_name(violations, f"{path}task_type", spec.task_type, TASK_TYPE)
    check_name(violations, f"{path}queue", spec.queue, QUEUE)
    if not 0 <= spec.priority <= limits.MAX_PRIORITY:
        violations.add(f"{path}priority", f"must be from 0 to {limits.MAX_PRIORITY}")
    if spec.HasField("input"):
        check_payload(violations, f"{path}input", spec.input, max_bytes=max_payload_bytes)
    check_map(
        violations,
        f"{path}headers",
        spec.headers,
        max_entries=limits.MAX_HEADERS,
        max_bytes=limits.MAX_HEADERS_BYTES,
    )
    _check_labels(violations, f"{path}labels", spec.labels)


def _check_labels(violations: Violations, field: str, labels: Mapping[str, str]) -> None:
    if len(labels) > limits.MAX_LABELS:
        violations.add(field, f"must have at most {limits.MAX_LABELS} entries")
        return
    if any(len(key.encode()) > limits.MAX_LABEL_KEY_BYTES for key in labels):
        violations.add(field, f"must have keys of at most {limits.MAX_LABEL_KEY_BYTES} bytes")
    if any(len(value.encode()) > limits.MAX_LABEL_VALUE_BYTES for value in labels.values()):
        violations.add(field, f"must have values of at most {limits.MAX_LABEL_VALUE_BYTES} bytes")


def _split(request: task_service_pb2.SubmitRequest) -> tuple[bytes, bytes]:
    """Serialize the request as everything but the input, and the input.

    Protobuf merges what it parses one after the other, so the two joined are the whole request again, and a store that
    cannot parse drops the input by cutting the bytes.
    """
    spec = request.spec
    tail = b""
    if spec.HasField("input"):
        tail = task_service_pb2.SubmitRequest(spec=task_pb2.TaskSpec(input=spec.input)).SerializeToString()
        spec.ClearField("input")
    head = task_service_pb2.SubmitRequest(spec=spec, parent_task_id=request.parent_task_id)
    return head.SerializeToString(), tail
