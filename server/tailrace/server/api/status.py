"""Domain errors as gRPC statuses: one table, one place that applies it.

Every status that is not OK carries one google.rpc.ErrorInfo, and its reason again as the plain ASCII trailer
``tailrace-reason``, for programs that have nothing but their gRPC library. Trailers stay far below 4 KiB: clients drop
larger ones, and with them the status.
"""

from collections.abc import Mapping, Sequence

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from tailrace.server.domain import errors

DOMAIN = "tailrace.dev"
MAX_MESSAGE_CHARS = 512
MAX_VIOLATIONS = 10
MAX_VIOLATION_CHARS = 160
MAX_BAD_REQUEST_BYTES = 1_300
"""What is left of 4 KiB beside the message (it travels twice) and the other trailers, binary ones being in base64."""
RETRY_DELAYS_MS: Mapping[grpc.StatusCode, int] = {
    grpc.StatusCode.UNAVAILABLE: 200,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 1_000,
}
"""When to try again, where that can help: a store that went away is soon back, room is made more slowly."""

TABLE: Mapping[type[errors.TailraceError], tuple[grpc.StatusCode, str]] = {
    errors.InvalidRequestError: (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST"),
    errors.LimitExceededError: (grpc.StatusCode.INVALID_ARGUMENT, "LIMIT_EXCEEDED"),
    errors.TaskNotFoundError: (grpc.StatusCode.NOT_FOUND, "TASK_NOT_FOUND"),
    errors.TaskIdConflictError: (grpc.StatusCode.ALREADY_EXISTS, "TASK_ID_CONFLICT"),
    errors.LeaseLostError: (grpc.StatusCode.ABORTED, "LEASE_LOST"),
    errors.ProtocolUnsupportedError: (grpc.StatusCode.FAILED_PRECONDITION, "PROTOCOL_UNSUPPORTED"),
    errors.TaskNotTerminalError: (grpc.StatusCode.FAILED_PRECONDITION, "TASK_NOT_TERMINAL"),
    errors.TaskNotResubmittableError: (grpc.StatusCode.FAILED_PRECONDITION, "TASK_NOT_RESUBMITTABLE"),
    errors.PageTokenInvalidError: (grpc.StatusCode.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID"),
    errors.WorkerNotFoundError: (grpc.StatusCode.NOT_FOUND, "WORKER_NOT_FOUND"),
    errors.QueueFullError: (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL"),
    errors.StoreEmptiedError: (grpc.StatusCode.DATA_LOSS, "STORE_EMPTIED"),
    errors.StoreFullError: (grpc.StatusCode.RESOURCE_EXHAUSTED, "STORE_FULL"),
    errors.ServerDrainingError: (grpc.StatusCode.UNAVAILABLE, "SERVER_DRAINING"),
    errors.StoreUnavailableError: (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE"),
}
INTERNAL = (grpc.StatusCode.INTERNAL, "INTERNAL")

Trailers = tuple[tuple[str, str | bytes], ...]


def code_and_reason(error: errors.TailraceError) -> tuple[grpc.StatusCode, str]:
    """Look an error up; a subclass that has no row of its own answers as its base does."""
    return next((TABLE[kind] for kind in type(error).__mro__ if kind in TABLE), INTERNAL)


def trailers_of(error: errors.TailraceError) -> Trailers:
    """Build the trailers that go with an error's status."""
    code, reason = code_and_reason(error)
    status = Status(code=code.value[0], message=message_of(error))
    _add_detail(status, ErrorInfo(reason=reason, domain=DOMAIN, metadata=error.metadata))
    if isinstance(error, errors.InvalidRequestError):
        _add_detail(status, _bad_request(error.violations))
    trailers: list[tuple[str, str | bytes]] = [("tailrace-reason", reason)]
    if (delay_ms := RETRY_DELAYS_MS.get(code)) is not None:
        retry_delay = Duration()
        retry_delay.FromMilliseconds(delay_ms)
        _add_detail(status, RetryInfo(retry_delay=retry_delay))
        trailers.append(("grpc-retry-pushback-ms", str(delay_ms)))
    if isinstance(error, errors.StoreUnavailableError) and "task_id" in error.metadata:
        trailers.append(("task_id", error.metadata["task_id"]))
    return (*trailers, ("grpc-status-details-bin", status.SerializeToString()))


def message_of(error: errors.TailraceError) -> str:
    """Give the text of a status: cut to what surely fits, and in ASCII, as other characters take nine bytes each."""
    text = str(error).encode("ascii", errors="replace").decode()
    return text if len(text) <= MAX_MESSAGE_CHARS else text[: MAX_MESSAGE_CHARS - 3] + "..."


def internal_trailers(incident_id: str) -> Trailers:
    """Build the trailers of an unexpected error: nothing of it leaks but the id under which it was logged."""
    status = Status(code=INTERNAL[0].value[0], message="internal error")
    _add_detail(status, ErrorInfo(reason=INTERNAL[1], domain=DOMAIN, metadata={"incident_id": incident_id}))
    return (("tailrace-reason", INTERNAL[1]), ("grpc-status-details-bin", status.SerializeToString()))


def _add_detail(status: Status, detail: ErrorInfo | BadRequest | RetryInfo) -> None:
    packed = AnyMessage()
    packed.Pack(detail)
    status.details.append(packed)


def _bad_request(violations: Sequence[errors.FieldViolation]) -> BadRequest:
    """Name the first ten fields at fault, as far as there is room."""
    named = BadRequest()
    for violation in violations[:MAX_VIOLATIONS]:
        named.field_violations.add(
            field=violation.field[:MAX_VIOLATION_CHARS], description=violation.description[:MAX_VIOLATION_CHARS]
        )
        if named.ByteSize() > MAX_BAD_REQUEST_BYTES:
            del named.field_violations[-1]
            break
    return named
