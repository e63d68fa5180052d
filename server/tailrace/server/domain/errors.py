"""What can go wrong with a call, one class for one thing a caller can do about it.

::

    TailraceError
    ├── InvalidRequestError       something in the request is malformed
    ├── LimitExceededError        something in the request is too large
    ├── TaskNotFoundError
    ├── TaskIdConflictError       the id is taken by a different request
    ├── LeaseLostError            the lease token is not the current one
    ├── ProtocolUnsupportedError
    ├── TaskNotTerminalError      only a task that is done can be deleted
    ├── TaskNotResubmittableError only a failed or revoked task can be run again
    ├── PageTokenInvalidError
    ├── WorkerNotFoundError
    ├── QueueFullError            the operator's limit is reached; nothing was done
    ├── ServerDrainingError
    ├── StoreEmptiedError         the store came back without its data
    ├── StoreFullError            the store takes no more data; nothing was done
    └── StoreUnavailableError     the store did not answer; outcome unknown
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


class TailraceError(Exception):
    """Base of everything that a caller is told by name.

    ``metadata`` travels to the caller beside the message; its keys are part of the contract.
    """

    def __init__(self, message: str, *, metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.metadata: dict[str, str] = dict(metadata or {})


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field at fault: its path in the request (``requests[3].spec.queue``) and what is wrong with it."""

    field: str
    description: str


class InvalidRequestError(TailraceError):
    """The request is malformed; ``violations`` names the fields."""

    def __init__(self, violations: Sequence[FieldViolation]) -> None:
        self.violations = tuple(violations)
        first = self.violations[0]
        more = f" (and {len(self.violations) - 1} more)" if len(self.violations) > 1 else ""
        super().__init__(f"{first.field}: {first.description}{more}")


class LimitExceededError(TailraceError):
    """Something is larger than the server takes."""

    def __init__(self, field: str, *, limit: int, actual: int) -> None:
        super().__init__(
            f"{field}: {actual} is over the limit of {limit}",
            metadata={"field": field, "limit": str(limit), "actual": str(actual)},
        )
        self.field = field


class TaskNotFoundError(TailraceError):
    """No such task, or its record expired."""

    def __init__(self, task_id: str) -> None:
        super().__init__(f"no task {task_id}", metadata={"task_id": task_id})


class TaskIdConflictError(TailraceError):
    """The id is taken by a task with another type, queue or input."""

    def __init__(self, task_id: str) -> None:
        super().__init__(f"task {task_id} exists with a different request", metadata={"task_id": task_id})


class LeaseLostError(TailraceError):
    """The lease token is not, or no longer, the current one."""

    def __init__(self, task_id: str) -> None:
        super().__init__(f"the lease of task {task_id} is lost", metadata={"task_id": task_id})


class ProtocolUnsupportedError(TailraceError):
    """The worker speaks a version that this server does not."""

    def __init__(self, version: int, *, minimum: int, maximum: int) -> None:
        super().__init__(
            f"protocol_version {version} is not supported, only {minimum} to {maximum}",
            metadata={"min": str(minimum), "max": str(maximum)},
        )


class ServerDrainingError(TailraceError):
    """The server is going away; nothing was done."""

    def __init__(self) -> None:
        super().__init__("the server is draining, reconnect")


class TaskNotTerminalError(TailraceError):
    """Only a task that is done can be deleted."""

    def __init__(self, task_id: str) -> None:
        super().__init__(f"task {task_id} is not done; revoke it first", metadata={"task_id": task_id})


class TaskNotResubmittableError(TailraceError):
    """Only a task in FAILURE or REVOKED can be run again."""

    def __init__(self, task_id: str, state: str) -> None:
        super().__init__(
            f"task {task_id} is in {state}; only one in FAILURE or REVOKED can be run again",
            metadata={"task_id": task_id},
        )


class PageTokenInvalidError(TailraceError):
    """The page token is malformed, or of another query."""

    def __init__(self) -> None:
        super().__init__("the page token is malformed or of another query; start from the first page")


class WorkerNotFoundError(TailraceError):
    """No worker of this id is connected."""

    def __init__(self, worker_id: str) -> None:
        super().__init__(f"no worker {worker_id} is connected", metadata={"worker_id": worker_id})


class QueueFullError(TailraceError):
    """The queue has as many waiting tasks as the operator allows; nothing was done."""

    def __init__(self, queue: str, *, max_depth: int) -> None:
        super().__init__(
            f"queue {queue} has {max_depth} waiting tasks, as many as it may; try again later",
            metadata={"queue": queue, "max_depth": str(max_depth)},
        )


class StoreEmptiedError(TailraceError):
    """The store came back without its data: what it held is gone."""

    def __init__(self) -> None:
        super().__init__("the store lost its data, and this task with it; submit it again")


class StoreFullError(TailraceError):
    """The store takes no more data; nothing was done."""


class StoreUnavailableError(TailraceError):
    """The store did not answer in time, or not at all. Whether a write took place is unknown."""
