"""What a caller is told of each error: the table is complete, and what travels stays small enough to arrive."""

from collections.abc import Iterator

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from tailrace.server.api.render import item_error
from tailrace.server.api.status import DOMAIN, INTERNAL, TABLE, Trailers, internal_trailers, message_of, trailers_of
from tailrace.server.domain import errors
from tailrace.server.domain.errors import FieldViolation, TailraceError
from tailrace.v1 import errors_pb2

LONGEST_ID = "x" * 128
MAX_TRAILERS_BYTES = 4 << 10
ERRORS = [
    errors.InvalidRequestError([FieldViolation("spec.queue", "is required")]),
    errors.LimitExceededError("requests[999].spec.input.data", limit=1 << 20, actual=5 << 20),
    errors.TaskNotFoundError(LONGEST_ID),
    errors.TaskIdConflictError(LONGEST_ID),
    errors.LeaseLostError(LONGEST_ID),
    errors.ProtocolUnsupportedError(99, minimum=1, maximum=1),
    errors.TaskNotTerminalError(LONGEST_ID),
    errors.TaskNotResubmittableError(LONGEST_ID, "SUCCESS"),
    errors.PageTokenInvalidError(),
    errors.WorkerNotFoundError(LONGEST_ID),
    errors.QueueFullError("x" * 64, max_depth=1_000_000_000),
    errors.StoreEmptiedError(),
    errors.StoreFullError("the store takes no more data"),
    errors.ServerDrainingError(),
    errors.StoreUnavailableError("the store did not answer", metadata={"task_id": LONGEST_ID}),
]
WORST = [
    errors.InvalidRequestError(
        [FieldViolation(f"requests[{n}]." + "spec.retry_policy." * 50, "must be sound " * 100) for n in range(1000)]
    ),
    errors.LeaseLostError("\N{SNOWMAN}" * 128),
    errors.StoreUnavailableError("\N{SNOWMAN}" * 5_000, metadata={"task_id": LONGEST_ID}),
]
ids = [type(error).__name__ for error in ERRORS]


def subclasses(kind: type[TailraceError]) -> Iterator[type[TailraceError]]:
    for subclass in kind.__subclasses__():
        if subclass.__module__ == errors.__name__:
            yield subclass
            yield from subclasses(subclass)


def details_of(trailers: Trailers) -> Status:
    raw = dict(trailers)["grpc-status-details-bin"]
    assert isinstance(raw, bytes)
    return Status.FromString(raw)


def error_info_of(trailers: Trailers) -> ErrorInfo:
    infos = [d for d in details_of(trailers).details if d.Is(ErrorInfo.DESCRIPTOR)]
    assert len(infos) == 1, "exactly one ErrorInfo"
    info = ErrorInfo()
    infos[0].Unpack(info)
    return info


def bytes_on_the_wire(error: TailraceError, trailers: Trailers) -> int:
    """Count as HTTP/2 does: names and values, 32 bytes an entry; binary values in base64, text percent-encoded."""
    text = message_of(error).encode()
    message_bytes = sum(1 if 0x20 <= byte < 0x7F and byte != ord("%") else 3 for byte in text)
    sizes = [len("grpc-message") + message_bytes + 32, len("grpc-status") + 2 + 32]
    for name, value in trailers:
        size = len(value) if isinstance(value, str) else -(-len(value) // 3) * 4
        sizes.append(len(name) + size + 32)
    return sum(sizes)


def test_every_domain_error_has_a_row_of_its_own() -> None:
    assert set(subclasses(TailraceError)) == set(TABLE)


def test_every_published_reason_is_used_and_no_other() -> None:
    published = {name.removeprefix("ERROR_REASON_") for name in errors_pb2.ErrorReason.DESCRIPTOR.values_by_name} - {
        "UNSPECIFIED"
    }

    assert {reason for _, reason in (*TABLE.values(), INTERNAL)} == published


def test_one_reason_means_one_status() -> None:
    reasons = [reason for _, reason in (*TABLE.values(), INTERNAL)]

    assert len(reasons) == len(set(reasons))


def test_every_domain_error_is_tried_here() -> None:
    assert {type(error) for error in ERRORS} == set(TABLE)


@pytest.mark.parametrize("error", ERRORS, ids=ids)
def test_reason_travels_plain_and_structured(error: TailraceError) -> None:
    trailers = trailers_of(error)

    code, reason = TABLE[type(error)]
    info = error_info_of(trailers)
    assert dict(trailers)["tailrace-reason"] == reason
    assert (info.reason, info.domain, dict(info.metadata)) == (reason, DOMAIN, error.metadata)
    assert details_of(trailers).code == code.value[0]
    assert details_of(trailers).message == message_of(error)


@pytest.mark.parametrize("error", ERRORS, ids=ids)
def test_item_says_what_the_call_would_have_answered(error: TailraceError) -> None:
    item = item_error(error)

    code, reason = TABLE[type(error)]
    assert (item.code, item.reason, dict(item.metadata)) == (code.value[0], reason, error.metadata)
    assert item.message == message_of(error)


@pytest.mark.parametrize("error", [*ERRORS, *WORST], ids=[*ids, *(f"worst{n}" for n in range(len(WORST)))])
def test_trailers_stay_below_what_every_client_takes(error: TailraceError) -> None:
    assert bytes_on_the_wire(error, trailers_of(error)) < MAX_TRAILERS_BYTES


@pytest.mark.parametrize("error", WORST, ids=[f"worst{n}" for n in range(len(WORST))])
def test_text_of_an_item_is_cut_too(error: TailraceError) -> None:
    assert item_error(error).ByteSize() < MAX_TRAILERS_BYTES


def test_trailers_of_an_unexpected_error_name_the_incident_and_nothing_else() -> None:
    info = error_info_of(internal_trailers("0123456789abcdef"))

    assert (info.reason, dict(info.metadata)) == ("INTERNAL", {"incident_id": "0123456789abcdef"})


def test_bad_request_names_the_first_ten_fields_at_fault() -> None:
    error = errors.InvalidRequestError([FieldViolation(f"targets[{n}].task_id", "is required") for n in range(1000)])

    bad_request = BadRequest()
    (packed,) = [d for d in details_of(trailers_of(error)).details if d.Is(BadRequest.DESCRIPTOR)]
    packed.Unpack(bad_request)
    assert [v.field for v in bad_request.field_violations] == [f"targets[{n}].task_id" for n in range(10)]
    assert {v.description for v in bad_request.field_violations} == {"is required"}
    assert "and 999 more" in message_of(error)


@pytest.mark.parametrize("error", ERRORS, ids=ids)
def test_callers_are_told_when_to_come_back_exactly_where_that_helps(error: TailraceError) -> None:
    trailers = trailers_of(error)

    helps = TABLE[type(error)][0] in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}
    has_retry_info = any(d.Is(RetryInfo.DESCRIPTOR) for d in details_of(trailers).details)
    assert (has_retry_info, "grpc-retry-pushback-ms" in dict(trailers)) == (helps, helps)


def test_id_made_by_the_server_comes_back_when_the_store_did_not_answer() -> None:
    error = errors.StoreUnavailableError("the store did not answer", metadata={"task_id": "made-here"})

    assert dict(trailers_of(error))["task_id"] == "made-here"


def test_subclass_without_a_row_answers_as_its_base() -> None:
    class LeaseRevokedError(errors.LeaseLostError):
        pass

    assert dict(trailers_of(LeaseRevokedError("t")))["tailrace-reason"] == "LEASE_LOST"
