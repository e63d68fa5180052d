"""Times and labels of a submission: every bound at its edge, and what contradicts itself whatever the clocks show."""

from collections.abc import Callable

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from tailrace.server.api.parse_task import parse_submission
from tailrace.server.domain.errors import InvalidRequestError
from tailrace.server.domain.task import Submission
from tailrace.v1 import task_pb2
from tailrace.v1.task_service_pb2 import SubmitRequest
from tests.unit.server.messages import DAY_S, MIB, a_submit, seconds

NANO_S = 1e-9


def with_times(**times: Duration | Timestamp) -> SubmitRequest:
    request = a_submit()
    for field, value in times.items():
        getattr(request.spec, field).CopyFrom(value)
    return request


def parse(request: SubmitRequest) -> Submission:
    return parse_submission(request, max_payload_bytes=MIB)


def fields_at_fault(request: SubmitRequest) -> list[str]:
    with pytest.raises(InvalidRequestError) as raised:
        parse(request)
    return [violation.field for violation in raised.value.violations]


def at(whole_s: int, nanos: int = 0) -> Timestamp:
    return Timestamp(seconds=whole_s, nanos=nanos)


def test_task_without_times_has_none() -> None:
    submission = parse(a_submit())

    assert (submission.start_delay_ms, submission.schedule_ms) == (0, None)
    assert (submission.start_deadline_ms, submission.start_within_ms) == (None, None)
    assert (submission.execution_timeout_ms, submission.total_timeout_ms) == (None, None)


def test_every_time_arrives() -> None:
    points = parse(
        with_times(
            schedule_time=at(1_000, 5_000_000),
            start_deadline=at(2_000),
            execution_timeout=seconds(30),
            total_timeout=seconds(600),
        )
    )
    spans = parse(with_times(start_delay=seconds(1.5), start_within=seconds(2.5)))

    assert (points.schedule_ms, points.start_deadline_ms) == (1_000_005, 2_000_000)
    assert (points.execution_timeout_ms, points.total_timeout_ms) == (30_000, 600_000)
    assert (spans.start_delay_ms, spans.start_within_ms) == (1_500, 2_500)


SPANS: list[tuple[str, list[float], list[float]]] = [
    ("start_delay", [0, NANO_S, 365 * DAY_S], [-1, -NANO_S, 365 * DAY_S + 1e-3]),
    ("start_within", [NANO_S, 1e-3, 365 * DAY_S], [0, -1, -NANO_S, 365 * DAY_S + 1e-3]),
    ("execution_timeout", [1, 30 * DAY_S], [0, 1 - NANO_S, -1, 30 * DAY_S + 1e-3]),
    ("total_timeout", [NANO_S, 1e-3, 365 * DAY_S], [0, -1, -NANO_S, 365 * DAY_S + 1e-3]),
]
SPANS_INSIDE = [(field, value) for field, inside, _ in SPANS for value in inside]
SPANS_OUTSIDE = [(field, value) for field, _, outside in SPANS for value in outside]


@pytest.mark.parametrize(("field", "value"), SPANS_INSIDE)
def test_span_at_its_bound_is_taken(field: str, value: float) -> None:
    submission = parse(with_times(**{field: seconds(value)}))

    # Rounded up, so that nothing begins early and no limit is none.
    assert getattr(submission, f"{field}_ms") == (max(1, round(value * 1_000)) if value else 0)


@pytest.mark.parametrize(("field", "value"), SPANS_OUTSIDE)
def test_span_beyond_its_bound_is_refused_by_field(field: str, value: float) -> None:
    assert fields_at_fault(with_times(**{field: seconds(value)})) == [f"spec.{field}"]


@pytest.mark.parametrize("field", ["start_within", "execution_timeout", "total_timeout"])
@pytest.mark.parametrize("span", [Duration(seconds=1, nanos=-1), Duration(seconds=2**63 - 1)], ids=repr)
def test_span_that_is_no_duration_is_refused(field: str, span: Duration) -> None:
    assert fields_at_fault(with_times(**{field: span})) == [f"spec.{field}"]


FIRST, LAST = -62_135_596_800, 253_402_300_799


@pytest.mark.parametrize(
    ("point", "time_ms"),
    [
        (at(0), 0),
        (at(1), 1_000),
        (at(1, 1), 1_001),
        (at(1, 999_999_999), 2_000),
        (at(LAST, 999_000_000), LAST * 1_000 + 999),
        (at(FIRST), 0),
        (at(-1, 999_999_999), 0),
    ],
    ids=repr,
)
def test_any_point_in_time_is_taken_rounded_up_from_1970_on(point: Timestamp, time_ms: int) -> None:
    assert parse(with_times(schedule_time=point)).schedule_ms == time_ms
    assert parse(with_times(start_deadline=point)).start_deadline_ms == time_ms


@pytest.mark.parametrize(
    "point", [at(FIRST - 1), at(LAST + 1), at(-(2**63)), at(2**63 - 1), at(0, -1), at(0, 1_000_000_000)], ids=repr
)
@pytest.mark.parametrize("field", ["schedule_time", "start_deadline"])
def test_point_that_is_no_timestamp_is_refused(field: str, point: Timestamp) -> None:
    assert fields_at_fault(with_times(**{field: point})) == [f"spec.{field}"]


@pytest.mark.parametrize(
    ("times", "field"),
    [
        pytest.param({"schedule_time": at(9), "start_delay": seconds(1)}, "start_delay", id="two starts"),
        pytest.param({"schedule_time": at(0), "start_delay": seconds(0)}, "start_delay", id="two starts of zero"),
        pytest.param({"start_deadline": at(9), "start_within": seconds(1)}, "start_within", id="two deadlines"),
        pytest.param({"schedule_time": at(9), "start_deadline": at(9)}, "start_deadline", id="no time to start"),
        pytest.param({"schedule_time": at(9), "start_deadline": at(8)}, "start_deadline", id="over before it begins"),
        pytest.param(
            {"schedule_time": at(9, 1), "start_deadline": at(9, 2)}, "start_deadline", id="less than a millisecond"
        ),
        pytest.param({"start_delay": seconds(5), "total_timeout": seconds(5)}, "total_timeout", id="done as it starts"),
        pytest.param(
            {"start_delay": seconds(5), "total_timeout": seconds(4)}, "total_timeout", id="done before it starts"
        ),
    ],
)
def test_contradiction_is_refused_by_field(times: dict[str, Duration | Timestamp], field: str) -> None:
    assert fields_at_fault(with_times(**times)) == [f"spec.{field}"]


@pytest.mark.parametrize(
    "times",
    [
        pytest.param({"schedule_time": at(9), "start_deadline": at(9, 1_000_000)}, id="a millisecond to start"),
        pytest.param({"start_delay": seconds(5), "total_timeout": seconds(5.001)}, id="a millisecond to be done"),
        pytest.param({"start_delay": seconds(9), "start_within": seconds(1)}, id="counts from the scheduled start"),
        pytest.param({"schedule_time": at(LAST), "start_within": seconds(1)}, id="likewise from a point in time"),
        pytest.param({"start_within": seconds(9), "total_timeout": seconds(1)}, id="may start sooner"),
        pytest.param({"execution_timeout": seconds(9), "total_timeout": seconds(1)}, id="may end sooner"),
        pytest.param({"start_delay": seconds(9), "start_deadline": at(0)}, id="the store's clock may be anything"),
        pytest.param({"schedule_time": at(LAST), "total_timeout": seconds(1)}, id="so it may here"),
    ],
)
def test_what_could_be_fulfilled_by_some_clock_is_taken(times: dict[str, Duration | Timestamp]) -> None:
    assert parse(with_times(**times)).task_id == "task-1"


def test_value_at_fault_is_not_held_against_another() -> None:
    request = with_times(start_delay=seconds(5), total_timeout=seconds(-1))

    assert fields_at_fault(request) == ["spec.total_timeout"]


def test_times_of_a_batch_item_carry_its_place() -> None:
    with pytest.raises(InvalidRequestError) as raised:
        parse_submission(with_times(start_within=seconds(0)), max_payload_bytes=MIB, path="requests[3].")

    assert [violation.field for violation in raised.value.violations] == ["requests[3].spec.start_within"]


def label(key: str, value: str) -> Callable[[SubmitRequest], None]:
    return lambda request: request.spec.labels.update({key: value})


def labels(count: int) -> Callable[[SubmitRequest], None]:
    return lambda request: request.spec.labels.update({str(number): "" for number in range(count)})


@pytest.mark.parametrize("set_labels", [labels(0), labels(16), label("k" * 64, "v" * 256), label("é" * 32, "é" * 128)])
def test_labels_at_their_bounds_are_taken_and_kept(set_labels: Callable[[SubmitRequest], None]) -> None:
    request = a_submit()
    set_labels(request)
    expected = dict(request.spec.labels)

    kept = SubmitRequest.FromString(parse(request).request)

    assert dict(kept.spec.labels) == expected


@pytest.mark.parametrize("set_labels", [labels(17), label("k" * 65, ""), label("", "v" * 257), label("é" * 33, "")])
def test_labels_beyond_their_bounds_are_refused(set_labels: Callable[[SubmitRequest], None]) -> None:
    request = a_submit()
    set_labels(request)

    assert fields_at_fault(request) == ["spec.labels"]


def test_times_and_labels_stay_when_the_input_is_dropped() -> None:
    request = with_times(schedule_time=at(9), start_deadline=at(10), execution_timeout=seconds(3))
    request.spec.labels["team"] = "a"
    spec = task_pb2.TaskSpec()
    spec.CopyFrom(request.spec)
    spec.ClearField("input")
    spec.queue = "default"

    submission = parse(request)

    assert SubmitRequest.FromString(submission.request[: submission.head_bytes]).spec == spec


def test_times_and_labels_do_not_make_another_request() -> None:
    other = with_times(start_delay=seconds(9), total_timeout=seconds(99))
    other.spec.labels["team"] = "a"

    assert parse(other).fingerprint == parse(a_submit()).fingerprint
