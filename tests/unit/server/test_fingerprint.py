"""What makes two submissions of one id the same request, and what of a request is stored."""

import pytest

from tailrace.server.api.parse_task import parse_submission
from tailrace.server.domain.task import Submission
from tailrace.v1 import task_pb2
from tailrace.v1.task_service_pb2 import SubmitRequest
from tests.unit.server.messages import MIB, a_payload, a_submit, seconds


def parse(request: SubmitRequest, *, max_payload_bytes: int = MIB) -> Submission:
    return parse_submission(request, max_payload_bytes=max_payload_bytes)


def test_stored_request_is_the_request_without_what_only_the_server_needs() -> None:
    request = a_submit()
    request.parent_task_id = "parent"
    request.return_existing = True
    request.spec.headers["trace"] = "1"

    submission = parse(request)

    stored = SubmitRequest.FromString(submission.request)
    assert (stored.task_id, stored.return_existing, stored.parent_task_id) == ("", False, "parent")
    assert (stored.spec.task_type, stored.spec.queue, stored.spec.headers["trace"]) == ("add", "default", "1")
    assert stored.spec.input == a_payload()


def test_head_of_the_stored_request_is_the_request_without_its_input() -> None:
    submission = parse(a_submit(data=b"secret"))

    head = SubmitRequest.FromString(submission.request[: submission.head_bytes])
    assert head.spec.task_type == "add"
    assert not head.spec.HasField("input")
    assert b"secret" not in submission.request[: submission.head_bytes]


def submitted(request: SubmitRequest) -> bytes:
    return parse(request).fingerprint


def test_same_request_has_the_same_fingerprint() -> None:
    assert submitted(a_submit("one")) == submitted(a_submit("two"))
    assert len(submitted(a_submit())) == 16


def test_queue_left_out_is_the_default_queue() -> None:
    named = a_submit()
    named.spec.queue = "default"

    assert submitted(named) == submitted(a_submit())


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(task_pb2.TaskSpec(task_type="mul"), id="task_type"),
        pytest.param(task_pb2.TaskSpec(queue="other"), id="queue"),
        pytest.param(task_pb2.TaskSpec(input=task_pb2.Payload(data=b"[1, 3]")), id="data"),
        pytest.param(task_pb2.TaskSpec(input=task_pb2.Payload(content_type="text/plain")), id="content_type"),
        pytest.param(task_pb2.TaskSpec(input=task_pb2.Payload(content_encoding="gzip")), id="content_encoding"),
    ],
)
def test_another_request_has_another_fingerprint(change: task_pb2.TaskSpec) -> None:
    changed = a_submit()
    changed.spec.MergeFrom(change)

    assert submitted(changed) != submitted(a_submit())


def test_what_is_no_part_of_the_request_changes_no_fingerprint() -> None:
    changed = a_submit()
    changed.parent_task_id = "parent"
    changed.spec.MergeFrom(
        task_pb2.TaskSpec(
            priority=9,
            headers={"trace": "1"},
            lease_duration=seconds(60),
            result_ttl=seconds(60),
            start_delay=seconds(60),
            retry_policy=task_pb2.RetryPolicy(max_attempts=3),
            input=task_pb2.Payload(attributes={"key": "1"}),
        )
    )

    assert submitted(changed) == submitted(a_submit())


def test_text_cannot_move_between_fields_unnoticed() -> None:
    one, other = a_submit(), a_submit()
    one.spec.input.CopyFrom(task_pb2.Payload(content_type="ab", content_encoding="c", data=b"d"))
    other.spec.input.CopyFrom(task_pb2.Payload(content_type="a", content_encoding="bc", data=b"d"))

    assert submitted(one) != submitted(other)


def test_order_of_maps_does_not_matter() -> None:
    one, other = a_submit(), a_submit()
    for key in ("a", "b", "c"):
        one.spec.headers[key] = key
        one.spec.input.attributes[key] = key
    for key in ("c", "b", "a"):
        other.spec.headers[key] = key
        other.spec.input.attributes[key] = key

    assert submitted(one) == submitted(other)


def test_fingerprint_is_frozen_with_the_data() -> None:
    assert submitted(a_submit()).hex() == "6a7ada9901b8f3aa18934d793668f26f"
