"""When a task may start, must have started, and must be done: off the wire, and free of contradictions.

Only what contradicts itself whatever the clocks show is refused: a point in time against another point, a span against
another span. How a span stands to a point only the store can tell, by its clock; no clock is read here, so a point in
time may be any that a Timestamp can hold.
"""

from dataclasses import dataclass
from typing import Literal

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from tailrace.server.api.parse_fields import NANOS_PER_MS, span_ms
from tailrace.server.api.violations import Violations
from tailrace.server.domain import limits
from tailrace.server.domain.lease import MAX_LEASE_MS, MIN_LEASE_MS
from tailrace.server.domain.task import DEFAULT_LEASE_MS, DEFAULT_RESULT_TTL_MS
from tailrace.v1 import task_pb2

FIRST_SECOND = -62_135_596_800
LAST_SECOND = 253_402_300_799
"""Bounds of google.protobuf.Timestamp, as its definition gives them: the years 1 to 9999."""

SpanField = Literal["start_delay", "start_within", "execution_timeout", "total_timeout", "lease_duration", "result_ttl"]
PointField = Literal["schedule_time", "start_deadline"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """The times of one task in milliseconds; what they mean is said in Submission."""

    start_delay_ms: int
    schedule_ms: int | None
    start_deadline_ms: int | None
    start_within_ms: int | None
    execution_timeout_ms: int | None
    total_timeout_ms: int | None
    lease_ms: int
    result_ttl_ms: int


def parse_times(violations: Violations, path: str, spec: task_pb2.TaskSpec) -> Times:
    """Read the times of a task, noting what is out of bounds and what contradicts itself."""
    times = Times(
        start_delay_ms=_span(violations, path, spec, "start_delay", maximum_ms=limits.MAX_START_DELAY_MS) or 0,
        schedule_ms=_point(violations, path, spec, "schedule_time"),
        start_deadline_ms=_point(violations, path, spec, "start_deadline"),
        start_within_ms=_some_span(violations, path, spec, "start_within", maximum_ms=limits.MAX_START_WITHIN_MS),
        execution_timeout_ms=_span(
            violations,
            path,
            spec,
            "execution_timeout",
            minimum_ms=limits.MIN_EXECUTION_TIMEOUT_MS,
            maximum_ms=limits.MAX_EXECUTION_TIMEOUT_MS,
        ),
        total_timeout_ms=_some_span(violations, path, spec, "total_timeout", maximum_ms=limits.MAX_TOTAL_TIMEOUT_MS),
        lease_ms=_span(violations, path, spec, "lease_duration", minimum_ms=MIN_LEASE_MS, maximum_ms=MAX_LEASE_MS)
        or DEFAULT_LEASE_MS,
        result_ttl_ms=_result_ttl_ms(violations, path, spec),
    )
    _check_contradictions(violations, path, spec, times)
    return times


def _check_contradictions(violations: Violations, path: str, spec: task_pb2.TaskSpec, times: Times) -> None:
    if spec.HasField("schedule_time") and spec.HasField("start_delay"):
        violations.add(f"{path}start_delay", "must not be set together with schedule_time")
    if spec.HasField("start_deadline") and spec.HasField("start_within"):
        violations.add(f"{path}start_within", "must not be set together with start_deadline")
    # A value at fault was noted already and is None here.
    schedule_ms, deadline_ms, total_ms = times.schedule_ms, times.start_deadline_ms, times.total_timeout_ms
    if schedule_ms is not None and deadline_ms is not None and deadline_ms <= schedule_ms:
        violations.add(f"{path}start_deadline", "must be after schedule_time")
    if total_ms is not None and total_ms <= times.start_delay_ms:
        violations.add(f"{path}total_timeout", "must be longer than start_delay")


def _result_ttl_ms(violations: Violations, path: str, spec: task_pb2.TaskSpec) -> int:
    ttl_ms = _span(violations, path, spec, "result_ttl", maximum_ms=limits.MAX_RESULT_TTL_MS)
    return DEFAULT_RESULT_TTL_MS if ttl_ms is None else ttl_ms


def _span(
    violations: Violations, path: str, spec: task_pb2.TaskSpec, name: SpanField, *, minimum_ms: int = 0, maximum_ms: int
) -> int | None:
    """Read a span; None when it is not set."""
    if not spec.HasField(name):
        return None
    return span_ms(violations, f"{path}{name}", getattr(spec, name), minimum_ms=minimum_ms, maximum_ms=maximum_ms)


def _some_span(
    violations: Violations, path: str, spec: task_pb2.TaskSpec, name: SpanField, *, maximum_ms: int
) -> int | None:
    """Read a span that must be more than nothing; None when it is not set, or at fault."""
    if spec.HasField(name) and getattr(spec, name) == Duration():
        violations.add(f"{path}{name}", "must be more than 0")
    return _span(violations, path, spec, name, maximum_ms=maximum_ms) or None


def _point(violations: Violations, path: str, spec: task_pb2.TaskSpec, name: PointField) -> int | None:
    """Read a point in time, rounded up to the millisecond; None when it is not set, or at fault."""
    if not spec.HasField(name):
        return None
    return _point_ms(violations, f"{path}{name}", getattr(spec, name))


def _point_ms(violations: Violations, field: str, point: Timestamp) -> int | None:
    if not (FIRST_SECOND <= point.seconds <= LAST_SECOND and 0 <= point.nanos < 1_000 * NANOS_PER_MS):
        violations.add(field, "is not a valid Timestamp")
        return None
    # Whatever lies before 1970 has passed by any clock, and stores need not bother with negative times.
    return max(0, point.seconds * 1_000 - (-point.nanos // NANOS_PER_MS))
