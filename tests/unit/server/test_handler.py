"""Parsing at the edge: bytes become the message they are said to be, or a refusal that names it."""

import pytest

from tailrace.server.api.handler import parse
from tailrace.server.domain.errors import InvalidRequestError
from tailrace.v1.task_service_pb2 import SubmitRequest
from tailrace.v1.worker_service_pb2 import StoreResultRequest
from tests.unit.server.messages import a_failure, a_submit

UNKNOWN_FIELD = b"\xfa\x3e\x05hello"


def test_request_is_read() -> None:
    assert parse(SubmitRequest, a_submit("task-7").SerializeToString()).task_id == "task-7"


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"\xff\xff\xff\xff", id="garbage"),
        pytest.param(b"\x0a\x05abc", id="cut short"),
        pytest.param(b"\x0a\x01\xff", id="text that is no UTF-8"),
        pytest.param(b"\x0b", id="group that never ends"),
    ],
)
def test_bytes_that_are_no_such_message_are_refused(raw: bytes) -> None:
    with pytest.raises(InvalidRequestError, match=r"request: is not a tailrace\.v1\.SubmitRequest"):
        parse(SubmitRequest, raw)


def test_causes_nested_beyond_what_protobuf_reads_are_refused() -> None:
    request = StoreResultRequest(result=a_failure())
    failure = request.result.failure
    for _ in range(120):
        failure = failure.cause
    failure.message = "the root"

    with pytest.raises(InvalidRequestError, match="is not a"):
        parse(StoreResultRequest, request.SerializeToString())


def test_fields_that_this_server_does_not_know_are_dropped_at_every_depth() -> None:
    request = a_submit()
    request.MergeFromString(UNKNOWN_FIELD)
    request.spec.MergeFromString(UNKNOWN_FIELD)
    request.spec.input.MergeFromString(UNKNOWN_FIELD)

    assert parse(SubmitRequest, request.SerializeToString()).SerializeToString() == a_submit().SerializeToString()
