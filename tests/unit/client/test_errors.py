"""Statuses as exceptions."""

import inspect
import pickle
from typing import Any

import grpc
import pytest

from tailrace.client import (
    BatchSubmitError,
    CallRefusedError,
    ClientClosedError,
    InvalidRequestError,
    LimitExceededError,
    PageTokenInvalidError,
    PayloadError,
    QueueFullError,
    ServerUnavailableError,
    StoreEmptiedError,
    StoreFullError,
    StoreUnavailableError,
    TailraceError,
    TaskFailedError,
    TaskNotFoundError,
    TaskNotResubmittableError,
    TaskNotTerminalError,
    TaskRevokedError,
    WaitTimeoutError,
    WorkerNotFoundError,
    _errors,
)
from tailrace.client._errors import BY_CODE, BY_REASON, error_from
from tailrace.client._status import CallStatus, status_of, status_of_item
from tailrace.v1.errors_pb2 import ErrorReason
from tailrace.v1.task_pb2 import ItemError

PREFIX = "ERROR_REASON_"


def a_status(code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE, **fields: Any) -> CallStatus:
    return CallStatus(code=code, **fields)


def test_every_published_reason_has_its_class_and_no_other_does() -> None:
    published = {name.removeprefix(PREFIX) for name in ErrorReason.DESCRIPTOR.values_by_name} - {"UNSPECIFIED"}

    assert set(BY_REASON) == published
    assert len(set(BY_REASON.values())) == len(BY_REASON)


def test_every_status_code_has_a_class() -> None:
    assert set(BY_CODE) == set(grpc.StatusCode) - {grpc.StatusCode.OK}


def test_the_module_draws_every_class_of_the_tree() -> None:
    drawn = {line.split()[1] for line in (inspect.getdoc(_errors) or "").splitlines() if line.strip().startswith("+--")}
    classes = {
        name for name, each in vars(_errors).items() if inspect.isclass(each) and issubclass(each, TailraceError)
    }

    assert drawn | {"TailraceError"} == classes


def test_the_reason_decides_over_the_code() -> None:
    status = a_status(grpc.StatusCode.INVALID_ARGUMENT, reason="LIMIT_EXCEEDED", message="input is too large")

    error = error_from(status, task_id="t1")

    assert type(error) is LimitExceededError
    assert (str(error), error.task_id) == ("input is too large", "t1")


@pytest.mark.parametrize("reason", ["", "NEWER_THAN_THIS_CLIENT"])
def test_the_code_decides_where_the_reason_is_missing_or_unknown(reason: str) -> None:
    assert type(error_from(a_status(grpc.StatusCode.INVALID_ARGUMENT, reason=reason))) is InvalidRequestError


def test_a_request_that_grpc_itself_found_too_large_exceeds_a_limit() -> None:
    assert type(error_from(a_status(grpc.StatusCode.RESOURCE_EXHAUSTED))) is LimitExceededError


@pytest.mark.parametrize(
    ("code", "reason", "error_class"),
    [
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL", QueueFullError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "STORE_FULL", StoreFullError),
        (grpc.StatusCode.DATA_LOSS, "STORE_EMPTIED", StoreEmptiedError),
        (grpc.StatusCode.FAILED_PRECONDITION, "TASK_NOT_TERMINAL", TaskNotTerminalError),
        (grpc.StatusCode.FAILED_PRECONDITION, "TASK_NOT_RESUBMITTABLE", TaskNotResubmittableError),
        (grpc.StatusCode.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID", PageTokenInvalidError),
        (grpc.StatusCode.NOT_FOUND, "WORKER_NOT_FOUND", WorkerNotFoundError),
    ],
)
def test_refusals_that_share_a_code_are_told_apart(
    code: grpc.StatusCode, reason: str, error_class: type[TailraceError]
) -> None:
    error = error_from(a_status(code, reason=reason, message="text"))

    assert (type(error), str(error)) == (error_class, "text")
    assert not isinstance(error, ServerUnavailableError)


def test_a_missing_permission_is_a_refusal() -> None:
    assert type(error_from(a_status(grpc.StatusCode.PERMISSION_DENIED))) is CallRefusedError


def test_an_unavailable_store_is_an_unavailable_server_too() -> None:
    error = error_from(a_status(reason="STORE_UNAVAILABLE", message="no answer"))

    assert isinstance(error, StoreUnavailableError)
    assert isinstance(error, ServerUnavailableError)
    assert str(error) == "no answer (UNAVAILABLE)"


def test_timeouts_and_closed_clients_are_the_builtins_they_resemble_too() -> None:
    assert issubclass(WaitTimeoutError, TimeoutError)
    assert issubclass(ClientClosedError, RuntimeError)


@pytest.mark.parametrize(
    "error",
    [
        TaskFailedError("no", remote_type="ValueError", traceback="a line", kind="APPLICATION", task_id="t1"),
        TaskRevokedError("no", kind="REVOKED", task_id="t1"),
        PayloadError("no", path="args[0]", task_id="t1"),
        WaitTimeoutError("no", task_id="t1"),
        BatchSubmitError("no", accepted=["a"], errors={1: TaskNotFoundError("b")}),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_survive_the_way_to_another_process(error: TailraceError) -> None:
    copy = pickle.loads(pickle.dumps(error))

    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert copy.__dict__.keys() == error.__dict__.keys()
    assert copy.task_id == error.task_id


class EndedCall(grpc.RpcError):
    def __init__(self, *trailers: tuple[str, str | bytes], details: str | None = "text") -> None:
        self._trailers = trailers
        self._details = details

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAVAILABLE

    def details(self) -> str | None:
        return self._details

    def trailing_metadata(self) -> Any:
        return self._trailers or None


def test_a_status_is_read_from_the_trailers() -> None:
    ended = EndedCall(("tailrace-reason", "SERVER_DRAINING"), ("grpc-retry-pushback-ms", "250"), ("x-bin", b"\x00"))

    assert status_of(ended) == a_status(
        message="text",
        reason="SERVER_DRAINING",
        pushback_ms=250,
        trailers={"tailrace-reason": "SERVER_DRAINING", "grpc-retry-pushback-ms": "250"},
    )


def test_a_call_that_never_left_has_a_status_too() -> None:
    assert status_of(EndedCall(details=None)) == a_status()


def test_a_pushback_that_cannot_be_read_means_do_not_retry() -> None:
    assert status_of(EndedCall(("grpc-retry-pushback-ms", "soon"))).pushback_ms == -1


@pytest.mark.parametrize(("number", "code"), [(5, grpc.StatusCode.NOT_FOUND), (99, grpc.StatusCode.UNKNOWN)])
def test_the_status_of_an_item_is_read_like_that_of_a_call(number: int, code: grpc.StatusCode) -> None:
    item = ItemError(code=number, reason="TASK_NOT_FOUND", message="no task t1")

    assert status_of_item(item) == CallStatus(code=code, reason="TASK_NOT_FOUND", message="no task t1")
