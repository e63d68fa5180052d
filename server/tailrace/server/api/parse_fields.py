"""Reading single fields off the wire: names, spans, payloads, lists."""

import re
from collections.abc import Mapping, Sized

from google.protobuf.duration_pb2 import Duration

from tailrace.server.api.violations import Violations, invalid
from tailrace.server.domain.errors import LimitExceededError
from tailrace.server.domain.limits import (
    MAX_ATTRIBUTES,
    MAX_ATTRIBUTES_BYTES,
    MAX_BATCH_BYTES,
    MAX_CONTENT_ENCODING_BYTES,
    MAX_CONTENT_TYPE_BYTES,
)
from tailrace.v1 import task_pb2

TASK_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
TASK_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}")
QUEUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

NANOS_PER_MS = 1_000_000
LONGEST_DURATION_S = 315_576_000_000
"""Bounds of google.protobuf.Duration, as its definition gives them."""


def check_name(violations: Violations, field: str, value: str, pattern: re.Pattern[str]) -> None:
    """Check that a whole name has the form it must have; a trailing newline counts."""
    if not value:
        violations.add(field, "is required")
    elif pattern.fullmatch(value) is None:
        violations.add(field, f"must match {pattern.pattern}")


def is_task_id(value: str) -> bool:
    """Tell whether a text can be the id of a task at all."""
    return TASK_ID.fullmatch(value) is not None


def span_ms(
    violations: Violations, field: str, span: Duration, *, minimum_ms: int = 0, maximum_ms: int | None = None
) -> int:
    """Read a span in milliseconds, rounded up; one out of bounds is noted and read as its minimum."""
    is_canonical = abs(span.nanos) < 1_000 * NANOS_PER_MS and abs(span.seconds) <= LONGEST_DURATION_S
    if not is_canonical or (span.seconds and span.nanos and (span.seconds > 0) != (span.nanos > 0)):
        violations.add(field, "is not a valid Duration")
        return minimum_ms
    value_ms = span.seconds * 1_000 + -(-span.nanos // NANOS_PER_MS)
    if span.seconds * 1_000 * NANOS_PER_MS + span.nanos < minimum_ms * NANOS_PER_MS:
        violations.add(field, f"must be at least {_seconds(minimum_ms)}")
        return minimum_ms
    if maximum_ms is not None and value_ms > maximum_ms:
        violations.add(field, f"must be at most {_seconds(maximum_ms)}")
        return minimum_ms
    return value_ms


def check_payload(violations: Violations, field: str, payload: task_pb2.Payload, *, max_bytes: int) -> None:
    """Check what surrounds a value; the value itself is never looked into.

    Raises:
        LimitExceededError: The value is larger than ``max_bytes``.
    """
    if len(payload.data) > max_bytes:
        raise LimitExceededError(f"{field}.data", limit=max_bytes, actual=len(payload.data))
    if not payload.content_type:
        violations.add(f"{field}.content_type", "is required")
    check_text(violations, f"{field}.content_type", payload.content_type, max_bytes=MAX_CONTENT_TYPE_BYTES)
    check_text(violations, f"{field}.content_encoding", payload.content_encoding, max_bytes=MAX_CONTENT_ENCODING_BYTES)
    check_map(
        violations,
        f"{field}.attributes",
        payload.attributes,
        max_entries=MAX_ATTRIBUTES,
        max_bytes=MAX_ATTRIBUTES_BYTES,
    )


def check_text(violations: Violations, field: str, value: str, *, max_bytes: int) -> None:
    """Check the length of a free text."""
    if len(value) * 4 > max_bytes and len(value.encode()) > max_bytes:
        violations.add(field, f"must be at most {max_bytes} bytes")


def check_map(
    violations: Violations, field: str, entries: Mapping[str, str], *, max_entries: int, max_bytes: int
) -> None:
    """Check the size of a map, keys and values together."""
    if len(entries) > max_entries:
        violations.add(field, f"must have at most {max_entries} entries")
    elif entries and sum(len(key.encode()) + len(value.encode()) for key, value in entries.items()) > max_bytes:
        violations.add(field, f"must be at most {max_bytes} bytes in all")


def check_count(field: str, items: Sized, *, limit: int, minimum: int = 0) -> None:
    """Check how many items a list has.

    Raises:
        InvalidRequestError: There are fewer than ``minimum``.
        LimitExceededError: There are more than ``limit``.
    """
    if len(items) < minimum:
        raise invalid(field, "is required")
    if len(items) > limit:
        raise LimitExceededError(field, limit=limit, actual=len(items))


def check_size(field: str, size_bytes: int, *, limit: int = MAX_BATCH_BYTES) -> None:
    """Check the size of a whole batch.

    Raises:
        LimitExceededError: It is over the limit.
    """
    if size_bytes > limit:
        raise LimitExceededError(field, limit=limit, actual=size_bytes)


def _seconds(value_ms: int) -> str:
    return f"{value_ms / 1_000:g}s"
