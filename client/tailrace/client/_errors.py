"""The exceptions of the client, and what turns an answer of the server into one of them.

TailraceError
+-- PayloadError            a value cannot be carried as JSON, or is not JSON
+-- TaskFailedError         the task failed; also the cause of every exception a task raised
+-- TaskRevokedError        the task was revoked
+-- WaitTimeoutError        the task was not done in time (a TimeoutError too)
+-- BatchSubmitError        some tasks of a batch were not accepted
+-- ClientClosedError       the client was closed (a RuntimeError too)
+-- ForkedProcessError      gRPC cannot be used in this child process (a RuntimeError too)
+-- WrongLoopError          the AsyncClient is in use in another event loop (a RuntimeError too)
+-- InvalidRequestError     something in the request is malformed
+-- LimitExceededError      something in the request is over a limit
+-- TaskNotFoundError       no such task, or its record expired
+-- TaskIdConflictError     the id is taken by a different task
+-- LeaseLostError          the lease is held by someone else by now
+-- ProtocolUnsupportedError  this client and this server do not understand each other
+-- TaskNotTerminalError    only a task that is done can be deleted
+-- TaskNotResubmittableError  only a failed or revoked task can be run again
+-- PageTokenInvalidError   the page token is malformed, or of another query
+-- WorkerNotFoundError     no such worker is connected
+-- QueueFullError          as many tasks wait in the queue as the operator allows; nothing was done
+-- StoreFullError          the server's store takes no more data; nothing was done
+-- StoreEmptiedError       the server's store lost its data, and the task with it
+-- CallRefusedError        the server, or something before it, refused the call
+-- InternalServerError     the server has a bug; its log knows more
+-- ServerUnavailableError  no answer in time; what was asked may have happened all the same
    +-- ServerDrainingError     the server is going away
    +-- StoreUnavailableError   the server's store did not answer
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import grpc

if TYPE_CHECKING:
    from tailrace.client._status import CallStatus


class TailraceError(Exception):
    """Anything that this package raises for a reason of its own."""

    task_id: str | None
    """The task concerned, where there is one."""

    def __init__(self, message: str = "", *, task_id: str | None = None) -> None:
        super().__init__(message)
        self.task_id = task_id


class PayloadError(TailraceError):
    """A value cannot be carried, or what arrived cannot be read or is not of the type that it is to be."""

    path: str | None
    """Where in the value: ``args[1].when``, ``kwargs.options``, ``result[0]``."""

    def __init__(self, message: str = "", *, path: str | None = None, task_id: str | None = None) -> None:
        super().__init__(message, task_id=task_id)
        self.path = path


class TaskFailedError(TailraceError):
    """The task failed.

    Raised where the failure's type is not one that this process may raise as itself, and the ``__cause__`` of the
    exception where it is. A failure beneath the failure is in turn its ``__cause__``.
    """

    remote_type: str
    """The type's own name in the worker's language, such as ``ValueError`` or ``com.acme.PaymentDeclined``."""
    message: str
    """The worker's text."""
    traceback: str | None
    """The worker's traceback or stack trace."""
    kind: str
    """Which side failed: ``APPLICATION`` (the task's own code), ``TIMEOUT``, ``LEASE_EXPIRED``, ``SYSTEM``."""

    def __init__(
        self,
        message: str = "",
        *,
        remote_type: str = "",
        traceback: str | None = None,
        kind: str = "",
        task_id: str | None = None,
    ) -> None:
        super().__init__(message, task_id=task_id)
        self.remote_type = remote_type
        self.message = message
        self.traceback = traceback
        self.kind = kind

    def __str__(self) -> str:
        return ": ".join(part for part in (self.remote_type, self.message) if part)


class TaskRevokedError(TailraceError):
    """The task was revoked before it succeeded."""

    kind: str
    """Why: ``REVOKED`` on request, ``TIMEOUT`` when it was not started in time."""

    def __init__(self, message: str = "", *, kind: str = "", task_id: str | None = None) -> None:
        super().__init__(message, task_id=task_id)
        self.kind = kind


class WaitTimeoutError(TailraceError, TimeoutError):
    """The wait ended before the task did. The task goes on, and can be waited for again."""


class BatchSubmitError(TailraceError):
    """Some tasks of a batch were not accepted, or perhaps not; all were tried. The cause is the first of the errors."""

    accepted: list[Any]
    """The results of the tasks that were accepted, in order."""
    errors: dict[int, TailraceError]
    """Why the others were not, by their place in the batch. Those of class ServerUnavailableError may have been
    accepted; each error names its task_id."""

    def __init__(
        self, message: str = "", *, accepted: Sequence[Any] = (), errors: Mapping[int, TailraceError] | None = None
    ) -> None:
        super().__init__(message)
        self.accepted = list(accepted)
        self.errors = dict(errors or {})


class ClientClosedError(TailraceError, RuntimeError):
    """The client was closed."""


class ForkedProcessError(TailraceError, RuntimeError):
    """This process was forked from one that used gRPC already, and calls in it might never return.

    The message says what to do instead.
    """


class WrongLoopError(TailraceError, RuntimeError):
    """The AsyncClient is in use in another event loop, to which its connections belong. Make one client for each."""


class InvalidRequestError(TailraceError):
    """Something in the request is malformed; the message names it."""


class LimitExceededError(TailraceError):
    """A payload, a list or a batch is over one of the server's limits, which ``client.server_info()`` tells."""


class TaskNotFoundError(TailraceError):
    """No such task was submitted, or its record expired."""


class TaskIdConflictError(TailraceError):
    """The task id is taken by a task of another type, queue or input."""


class LeaseLostError(TailraceError):
    """The lease token is no longer the current one."""


class ProtocolUnsupportedError(TailraceError):
    """One side is too old for the other."""


class TaskNotTerminalError(TailraceError):
    """The task is not done, so its record cannot be deleted; revoke it first."""


class TaskNotResubmittableError(TailraceError):
    """The task is neither in FAILURE nor in REVOKED, so it cannot be run again."""


class PageTokenInvalidError(TailraceError):
    """The page token is malformed or of another query; start from the first page."""


class WorkerNotFoundError(TailraceError):
    """No worker of this id is connected."""


class QueueFullError(TailraceError):
    """As many tasks wait in the queue as its operator allows. Nothing was done; try again later."""


class StoreFullError(TailraceError):
    """The server's store takes no more data. Nothing was done; try again later."""


class StoreEmptiedError(TailraceError):
    """The server's store came back without its data: the task is gone, whatever became of it. Submit it again."""


class CallRefusedError(TailraceError):
    """The server, or a proxy before it, refused the call for a reason that no other class names."""


class InternalServerError(TailraceError):
    """The server failed in a way it did not foresee."""


class ServerUnavailableError(TailraceError):
    """No answer came in time. What was asked may have happened: a submit is safe to repeat with the same task id."""


class ServerDrainingError(ServerUnavailableError):
    """The server is shutting down."""


class StoreUnavailableError(ServerUnavailableError):
    """The server's store did not answer."""


BY_REASON: dict[str, type[TailraceError]] = {
    "INVALID_REQUEST": InvalidRequestError,
    "LIMIT_EXCEEDED": LimitExceededError,
    "TASK_NOT_FOUND": TaskNotFoundError,
    "TASK_ID_CONFLICT": TaskIdConflictError,
    "LEASE_LOST": LeaseLostError,
    "SERVER_DRAINING": ServerDrainingError,
    "STORE_UNAVAILABLE": StoreUnavailableError,
    "PROTOCOL_UNSUPPORTED": ProtocolUnsupportedError,
    "TASK_NOT_TERMINAL": TaskNotTerminalError,
    "TASK_NOT_RESUBMITTABLE": TaskNotResubmittableError,
    "PAGE_TOKEN_INVALID": PageTokenInvalidError,
    "WORKER_NOT_FOUND": WorkerNotFoundError,
    "QUEUE_FULL": QueueFullError,
    "STORE_FULL": StoreFullError,
    "STORE_EMPTIED": StoreEmptiedError,
    "INTERNAL": InternalServerError,
}
"""ErrorReason, without its prefix, to class."""

# For an answer without a reason (gRPC's own, a proxy's) or with one that is newer than this client.
BY_CODE: dict[grpc.StatusCode, type[TailraceError]] = {
    grpc.StatusCode.ABORTED: LeaseLostError,
    grpc.StatusCode.ALREADY_EXISTS: TaskIdConflictError,
    grpc.StatusCode.CANCELLED: ServerUnavailableError,
    grpc.StatusCode.DATA_LOSS: InternalServerError,
    grpc.StatusCode.DEADLINE_EXCEEDED: ServerUnavailableError,
    grpc.StatusCode.FAILED_PRECONDITION: ProtocolUnsupportedError,
    grpc.StatusCode.INTERNAL: InternalServerError,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequestError,
    grpc.StatusCode.NOT_FOUND: TaskNotFoundError,
    grpc.StatusCode.OUT_OF_RANGE: InvalidRequestError,
    grpc.StatusCode.PERMISSION_DENIED: CallRefusedError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: LimitExceededError,  # gRPC's word for a message over the size limit
    grpc.StatusCode.UNAUTHENTICATED: CallRefusedError,
    grpc.StatusCode.UNAVAILABLE: ServerUnavailableError,
    grpc.StatusCode.UNIMPLEMENTED: ProtocolUnsupportedError,
    grpc.StatusCode.UNKNOWN: InternalServerError,
}


def error_from(status: "CallStatus", *, task_id: str | None = None) -> TailraceError:
    """Return the exception for a call, or an item of one, that was not OK."""
    error_class = BY_REASON.get(status.reason) or BY_CODE.get(status.code, CallRefusedError)
    message = status.message or status.reason or status.code.name
    if issubclass(error_class, ServerUnavailableError):
        message = f"{message} ({status.code.name})"
    return error_class(message, task_id=task_id)


def batch_error(accepted: Sequence[Any], errors: Mapping[int, TailraceError]) -> BatchSubmitError:
    """Return the exception for a batch of which some items have errors, by their place in it."""
    first = errors[min(errors)]
    message = f"{len(errors)} of {len(errors) + len(accepted)} tasks were not accepted; item {min(errors)}: {first}"
    error = BatchSubmitError(message, accepted=accepted, errors=errors)
    error.__cause__ = first
    return error
