"""Submissions off the wire: every bound at its edge, every name in its form, and what makes two requests the same."""

import math
from collections.abc import Callable

import pytest
from google.protobuf.duration_pb2 import Duration

from tailrace.server.api.parse_task import parse_submission
from tailrace.server.domain.errors import InvalidRequestError, LimitExceededError
from tailrace.server.domain.retry import RetryPolicy
from tailrace.server.domain.task import Submission
from tailrace.v1 import task_pb2
from tailrace.v1.task_service_pb2 import SubmitRequest
from tests.unit.server.messages import DAY_S, KIB, MIB, a_submit, seconds

Set = Callable[[SubmitRequest, str], None]


def parse(request: SubmitRequest, *, max_payload_bytes: int = MIB) -> Submission:
    return parse_submission(request, max_payload_bytes=max_payload_bytes)


def fields_at_fault(request: SubmitRequest) -> list[str]:
    with pytest.raises(InvalidRequestError) as raised:
        parse(request)
    return [violation.field for violation in raised.value.violations]


def set_task_id(request: SubmitRequest, value: str) -> None:
    request.task_id = value


def set_parent_task_id(request: SubmitRequest, value: str) -> None:
    request.parent_task_id = value


def set_task_type(request: SubmitRequest, value: str) -> None:
    request.spec.task_type = value


def set_queue(request: SubmitRequest, value: str) -> None:
    request.spec.queue = value


NAMES = [
    pytest.param(set_task_id, "task_id", 128, id="task_id"),
    pytest.param(set_parent_task_id, "parent_task_id", 128, id="parent_task_id"),
    pytest.param(set_task_type, "spec.task_type", 128, id="task_type"),
    pytest.param(set_queue, "spec.queue", 64, id="queue"),
]


@pytest.mark.parametrize(("set_name", "field", "longest"), NAMES)
def test_name_of_every_allowed_length_is_taken(set_name: Set, field: str, longest: int) -> None:
    for length in (1, longest):
        request = a_submit()
        set_name(request, "a" * length)

        assert parse(request).task_type


@pytest.mark.parametrize(
    "name", ["a\n", "\na", "a b", "{a}", "{}", "a{b}c", "é", "-a", ".a", "_a", " ", "a\0", "a*", "%"]
)
@pytest.mark.parametrize(("set_name", "field", "longest"), NAMES)
def test_malformed_name_is_refused_by_field(set_name: Set, field: str, longest: int, name: str) -> None:
    request = a_submit()
    set_name(request, name)

    assert fields_at_fault(request) == [field]


@pytest.mark.parametrize(("set_name", "field", "longest"), NAMES)
def test_name_that_is_a_character_too_long_is_refused(set_name: Set, field: str, longest: int) -> None:
    request = a_submit()
    set_name(request, "a" * (longest + 1))

    assert fields_at_fault(request) == [field]


@pytest.mark.parametrize(
    ("set_name", "field", "allowed", "refused"),
    [
        pytest.param(set_task_id, "task_id", "a.b_c:d-e::9", "a/b", id="task_id"),
        pytest.param(set_task_type, "spec.task_type", "a.b_c:d-e/9", "a+b", id="task_type"),
        pytest.param(set_queue, "spec.queue", "a.b_c-9", "a:b", id="queue"),
    ],
)
def test_each_name_has_its_own_alphabet(set_name: Set, field: str, allowed: str, refused: str) -> None:
    good, bad = a_submit(), a_submit()
    set_name(good, allowed)
    set_name(bad, refused)

    assert parse(good).task_type
    assert fields_at_fault(bad) == [field]


def test_request_of_nothing_names_what_it_lacks() -> None:
    assert fields_at_fault(SubmitRequest()) == ["spec", "spec.task_type"]


def test_fields_of_a_batch_item_carry_its_place() -> None:
    with pytest.raises(InvalidRequestError) as raised:
        parse_submission(SubmitRequest(), max_payload_bytes=MIB, path="requests[3].")

    assert [violation.field for violation in raised.value.violations] == [
        "requests[3].spec",
        "requests[3].spec.task_type",
    ]


def test_defaults_are_filled_in() -> None:
    submission = parse(SubmitRequest(spec=task_pb2.TaskSpec(task_type="add")))

    assert len(submission.task_id) == 36
    assert submission.queue == "default"
    assert (submission.priority, submission.start_delay_ms) == (0, 0)
    assert (submission.lease_ms, submission.result_ttl_ms) == (30_000, 86_400_000)
    assert (submission.retry_policy, submission.max_lost_leases) == (None, 3)
    assert not submission.return_existing


def set_priority(request: SubmitRequest, value: float) -> None:
    request.spec.priority = int(value)


def set_attempts(request: SubmitRequest, value: float) -> None:
    request.spec.retry_policy.max_attempts = int(value)


def set_lost_leases(request: SubmitRequest, value: float) -> None:
    request.spec.retry_policy.max_lost_leases = int(value)


def set_multiplier(request: SubmitRequest, value: float) -> None:
    request.spec.retry_policy.backoff_multiplier = value


def set_type_count(request: SubmitRequest, value: float) -> None:
    request.spec.retry_policy.non_retryable_types.extend(["ValueError"] * int(value))


def set_type_bytes(request: SubmitRequest, value: float) -> None:
    request.spec.retry_policy.non_retryable_types.append("é" * (int(value) // 2) + "e" * (int(value) % 2))


def set_initial_backoff(request: SubmitRequest, value: float) -> None:
    request.spec.retry_policy.initial_backoff.CopyFrom(seconds(value))


def set_max_backoff(request: SubmitRequest, value: float) -> None:
    request.spec.retry_policy.max_backoff.CopyFrom(seconds(value))


def set_lease_duration(request: SubmitRequest, value: float) -> None:
    request.spec.lease_duration.CopyFrom(seconds(value))


def set_result_ttl(request: SubmitRequest, value: float) -> None:
    request.spec.result_ttl.CopyFrom(seconds(value))


def set_start_delay(request: SubmitRequest, value: float) -> None:
    request.spec.start_delay.CopyFrom(seconds(value))


def set_content_type_bytes(request: SubmitRequest, value: float) -> None:
    request.spec.input.content_type = "é" * (int(value) // 2) + "e" * (int(value) % 2)


def set_content_encoding_bytes(request: SubmitRequest, value: float) -> None:
    request.spec.input.content_encoding = "e" * int(value)


def set_attribute_count(request: SubmitRequest, value: float) -> None:
    request.spec.input.attributes.update({str(number): "" for number in range(int(value))})


def set_attribute_bytes(request: SubmitRequest, value: float) -> None:
    request.spec.input.attributes["k"] = "v" * (int(value) - 1)


def set_header_count(request: SubmitRequest, value: float) -> None:
    request.spec.headers.update({str(number): "" for number in range(int(value))})


def set_header_bytes(request: SubmitRequest, value: float) -> None:
    request.spec.headers["k"] = "v" * (int(value) - 1)


POLICY = "spec.retry_policy."
BOUNDS: list[tuple[Callable[[SubmitRequest, float], None], str, list[float], list[float]]] = [
    (set_priority, "spec.priority", [0, 9], [-1, 10, 2**31 - 1]),
    (set_attempts, POLICY + "max_attempts", [0, 1, 1_000_000], [-1, 1_000_001]),
    (set_lost_leases, POLICY + "max_lost_leases", [0, 1, 1000], [-1, 1001]),
    (set_multiplier, POLICY + "backoff_multiplier", [0, 1, 1000], [0.999, -2, 1000.5, math.nan, math.inf, -math.inf]),
    (set_type_count, POLICY + "non_retryable_types", [32], [33]),
    (set_type_bytes, POLICY + "non_retryable_types[0]", [0, 256], [257]),
    (set_initial_backoff, POLICY + "initial_backoff", [0, 30 * DAY_S], [-1, -1e-9, 30 * DAY_S + 1e-3]),
    (set_max_backoff, POLICY + "max_backoff", [0, 30 * DAY_S], [-1, -1e-9, 30 * DAY_S + 1e-3]),
    (set_lease_duration, "spec.lease_duration", [2, 12 * 3600], [0, 1.999999999, -2, 12 * 3600 + 1e-3]),
    (set_result_ttl, "spec.result_ttl", [0, 30 * DAY_S], [-1, -1e-9, 30 * DAY_S + 1e-3]),
    (set_start_delay, "spec.start_delay", [0, 365 * DAY_S], [-1, -1e-9, 365 * DAY_S + 1e-3]),
    (set_content_type_bytes, "spec.input.content_type", [1, 256], [0, 257]),
    (set_content_encoding_bytes, "spec.input.content_encoding", [0, 64], [65]),
    (set_attribute_count, "spec.input.attributes", [0, 16], [17]),
    (set_attribute_bytes, "spec.input.attributes", [KIB], [KIB + 1]),
    (set_header_count, "spec.headers", [0, 32], [33]),
    (set_header_bytes, "spec.headers", [8 * KIB], [8 * KIB + 1]),
]
INSIDE = [(set_it, field, value) for set_it, field, inside, _ in BOUNDS for value in inside]
OUTSIDE = [(set_it, field, value) for set_it, field, _, outside in BOUNDS for value in outside]


@pytest.mark.parametrize(("set_it", "field", "value"), INSIDE)
def test_value_at_its_bound_is_taken(set_it: Callable[[SubmitRequest, float], None], field: str, value: float) -> None:
    request = a_submit()
    set_it(request, value)

    assert parse(request).task_id == "task-1"


@pytest.mark.parametrize(("set_it", "field", "value"), OUTSIDE)
def test_value_beyond_its_bound_is_refused_by_field(
    set_it: Callable[[SubmitRequest, float], None], field: str, value: float
) -> None:
    request = a_submit()
    set_it(request, value)

    assert fields_at_fault(request) == [field]


@pytest.mark.parametrize(
    "span",
    [
        Duration(seconds=1, nanos=-1),
        Duration(seconds=-1, nanos=1),
        Duration(seconds=1, nanos=1_000_000_000),
        Duration(seconds=1, nanos=-1_000_000_000),
        Duration(seconds=315_576_000_001),
        Duration(seconds=-(2**63)),
        Duration(seconds=2**63 - 1, nanos=999_999_999),
    ],
    ids=repr,
)
@pytest.mark.parametrize("field", ["start_delay", "lease_duration", "result_ttl"])
def test_span_that_is_no_duration_is_refused(field: str, span: Duration) -> None:
    request = a_submit()
    getattr(request.spec, field).CopyFrom(span)

    assert fields_at_fault(request) == [f"spec.{field}"]


def test_span_is_rounded_up_so_that_nothing_begins_early() -> None:
    request = a_submit()
    request.spec.start_delay.CopyFrom(Duration(nanos=1))

    assert parse(request).start_delay_ms == 1


def test_payload_at_the_limit_is_taken_and_one_byte_more_is_not() -> None:
    assert parse(a_submit(data=b"x" * 100), max_payload_bytes=100).task_id == "task-1"

    with pytest.raises(LimitExceededError) as raised:
        parse(a_submit(data=b"x" * 101), max_payload_bytes=100)
    assert raised.value.metadata == {"field": "spec.input.data", "limit": "100", "actual": "101"}


def test_all_fields_at_fault_are_named_up_to_ten() -> None:
    request = a_submit("no id")
    request.spec.priority = 10
    request.spec.queue = "no queue"
    request.spec.retry_policy.non_retryable_types.extend(["x" * 257] * 32)

    fields = fields_at_fault(request)

    assert len(fields) == 10
    assert fields[:3] == ["task_id", "spec.queue", "spec.priority"]


def test_hundreds_of_types_are_one_fault() -> None:
    request = a_submit()
    request.spec.retry_policy.non_retryable_types.extend(["x" * 257] * 500)

    assert fields_at_fault(request)[0] == POLICY + "non_retryable_types"


def test_policy_is_read_whole() -> None:
    request = a_submit()
    request.spec.retry_policy.CopyFrom(
        task_pb2.RetryPolicy(
            max_attempts=4,
            initial_backoff=seconds(0.5),
            max_backoff=seconds(60),
            backoff_multiplier=3,
            non_retryable_types=["ValueError"],
            max_lost_leases=7,
        )
    )

    submission = parse(request)

    assert submission.retry_policy == RetryPolicy(
        max_attempts=4,
        initial_backoff_ms=500,
        max_backoff_ms=60_000,
        backoff_multiplier=3.0,
        non_retryable_types=("ValueError",),
    )
    assert submission.max_lost_leases == 7


def test_empty_policy_is_no_policy() -> None:
    request = a_submit()
    request.spec.retry_policy.SetInParent()

    assert parse(request).retry_policy is None


def test_policy_that_only_bounds_lost_leases_leaves_failures_to_the_worker() -> None:
    request = a_submit()
    request.spec.retry_policy.max_lost_leases = 1

    submission = parse(request)

    assert (submission.retry_policy, submission.max_lost_leases) == (None, 1)


def test_policy_of_one_attempt_is_the_submitters_word() -> None:
    request = a_submit()
    request.spec.retry_policy.max_attempts = 1

    assert parse(request).retry_policy == RetryPolicy(max_attempts=1)


def test_zero_of_backoffs_is_kept_apart_from_their_absence() -> None:
    request = a_submit()
    request.spec.retry_policy.max_attempts = 2
    request.spec.retry_policy.initial_backoff.SetInParent()
    request.spec.retry_policy.max_backoff.SetInParent()

    policy = parse(request).retry_policy

    assert policy is not None
    assert (policy.initial_backoff_ms, policy.max_backoff_ms) == (0, 0)
