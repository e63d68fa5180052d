"""What is read off serialized requests and failures by those who count; the rest is compared store by store."""

import pytest

from tailrace.server.api.parse_task import parse_submission
from tailrace.server.domain.limits import MAX_HEADERS_BYTES
from tailrace.server.domain.transition import NAMING_BYTES, failure_kind_of, task_type_of
from tailrace.v1 import task_pb2, task_service_pb2

LONGEST_TYPE = "t" * 128
LONG_HEADERS = {f"header-{number}": "x" * (MAX_HEADERS_BYTES // 8 - 16) for number in range(8)}


@pytest.mark.parametrize("kind", task_pb2.FailureKind.values())
def test_the_kind_of_a_failure_is_read_off_its_bytes(kind: "task_pb2.FailureKind.ValueType") -> None:
    failure = task_pb2.Failure(kind=kind, type="ValueError", message="no")

    assert failure_kind_of(failure.SerializeToString()) == kind


@pytest.mark.parametrize("failure", [None, b"", b"\x08", b"the lease ran out"])
def test_what_is_no_failure_has_no_kind(failure: bytes | None) -> None:
    assert failure_kind_of(failure) == 0


@pytest.mark.parametrize("task_type", ["a", "billing.charge", "t" * 127, LONGEST_TYPE])
@pytest.mark.parametrize("headers", [{}, {"traceparent": "00-" + "a" * 52}, LONG_HEADERS])
@pytest.mark.parametrize("parent_task_id", ["", "parent"])
def test_the_type_of_a_task_is_read_off_the_first_bytes_of_its_request(
    task_type: str, headers: dict[str, str], parent_task_id: str
) -> None:
    spec = task_pb2.TaskSpec(
        task_type=task_type,
        queue="q" * 64,
        priority=9,
        headers=headers,
        input=task_pb2.Payload(content_type="application/json", data=bytes(10_000)),
    )
    request = task_service_pb2.SubmitRequest(task_id="task-1", spec=spec, parent_task_id=parent_task_id)
    submission = parse_submission(request, max_payload_bytes=1 << 20)

    assert task_type_of(submission.request[: submission.head_bytes][:NAMING_BYTES]) == task_type


@pytest.mark.parametrize("naming", [b"", b"\x12", b"\x12\x80\x80\x80", b"head:[1, 2]", b"\x12\x05\x12\x03add"])
def test_bytes_that_name_no_type_give_none(naming: bytes) -> None:
    assert task_type_of(naming) == ""
