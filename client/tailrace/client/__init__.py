"""The Python client of Tailrace: submit tasks, and have their results the moment they are done.

    from tailrace.client import Client

    with Client("localhost:7440") as client:
        result = client.submit("add", 10, 20)
        print(result.get(timeout=10))

``AsyncClient`` is the same for asyncio. Every exception that is not a task's own is a ``TailraceError``. Log records go
to the logger ``tailrace.client``.
"""

from tailrace.client._async_client import AsyncClient
from tailrace.client._async_result import AsyncioResult
from tailrace.client._async_submitter import AsyncSubmitter
from tailrace.client._client import Client
from tailrace.client._codec import PayloadCodec
from tailrace.client._errors import (
    BatchSubmitError,
    CallRefusedError,
    ClientClosedError,
    ForkedProcessError,
    InternalServerError,
    InvalidRequestError,
    LeaseLostError,
    LimitExceededError,
    PageTokenInvalidError,
    PayloadError,
    ProtocolUnsupportedError,
    QueueFullError,
    ServerDrainingError,
    ServerUnavailableError,
    StoreEmptiedError,
    StoreFullError,
    StoreUnavailableError,
    TailraceError,
    TaskFailedError,
    TaskIdConflictError,
    TaskNotFoundError,
    TaskNotResubmittableError,
    TaskNotTerminalError,
    TaskRevokedError,
    WaitTimeoutError,
    WorkerNotFoundError,
    WrongLoopError,
)
from tailrace.client._options import Options
from tailrace.client._outcome import TaskState
from tailrace.client._progress import Progress
from tailrace.client._result import AsyncResult
from tailrace.client._retry_policy import RetryPolicy
from tailrace.client._server_info import ServerInfo
from tailrace.client._submission import TaskFunction
from tailrace.client._submitter import Submitter

__all__ = [
    "AsyncClient",
    "AsyncResult",
    "AsyncSubmitter",
    "AsyncioResult",
    "BatchSubmitError",
    "CallRefusedError",
    "Client",
    "ClientClosedError",
    "ForkedProcessError",
    "InternalServerError",
    "InvalidRequestError",
    "LeaseLostError",
    "LimitExceededError",
    "Options",
    "PageTokenInvalidError",
    "PayloadCodec",
    "PayloadError",
    "Progress",
    "ProtocolUnsupportedError",
    "QueueFullError",
    "RetryPolicy",
    "ServerDrainingError",
    "ServerInfo",
    "ServerUnavailableError",
    "StoreEmptiedError",
    "StoreFullError",
    "StoreUnavailableError",
    "Submitter",
    "TailraceError",
    "TaskFailedError",
    "TaskFunction",
    "TaskIdConflictError",
    "TaskNotFoundError",
    "TaskNotResubmittableError",
    "TaskNotTerminalError",
    "TaskRevokedError",
    "TaskState",
    "WaitTimeoutError",
    "WorkerNotFoundError",
    "WrongLoopError",
]
