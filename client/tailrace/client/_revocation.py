"""Revoking tasks: the requests, and the answers to them."""

from collections.abc import Iterable
from typing import Protocol

import grpc

from tailrace.client import _retry
from tailrace.client._errors import TaskNotFoundError, error_from
from tailrace.client._outcome import Outcome, TaskState
from tailrace.client._status import CallStatus, status_of_item
from tailrace.v1.task_service_pb2 import REVOKE_MODE_FORCE, REVOKE_MODE_REQUEST, RevokeRequest, RevokeResponse

MAX_ITEMS = 1000
"""Of one call, by the contract."""

_UNANSWERED = CallStatus(code=grpc.StatusCode.UNKNOWN, message="the server left a task unanswered")


class _Identified(Protocol):
    @property
    def id(self) -> str: ...


def revoke_request(task_id: str, *, force: bool, reason: str) -> RevokeRequest:
    """Build the request for one task."""
    return _request([task_id], force=force, reason=reason)


def status_in(response: RevokeResponse) -> CallStatus | None:
    """Tell why the one task could not be revoked; None when it was answered for."""
    if len(response.items) != 1:
        return _UNANSWERED
    item = response.items[0]
    return status_of_item(item.error) if item.WhichOneof("outcome") == "error" else None


def outcome_in(response: RevokeResponse) -> Outcome:
    """Read how the task is now; the answer has neither its result nor its failure."""
    return Outcome(response.items[0].task)


def revoke_requests(tasks: Iterable[str | _Identified], *, force: bool, reason: str) -> list[RevokeRequest]:
    """Build the requests for many tasks, named by their ids or by results, each as large as the server takes.

    Raises:
        TypeError: Something is neither an id nor a result.
    """
    task_ids = list(dict.fromkeys(_id_of(task) for task in tasks))
    parts = (task_ids[start : start + MAX_ITEMS] for start in range(0, len(task_ids), MAX_ITEMS))
    return [_request(part, force=force, reason=reason) for part in parts]


def status_in_many(response: RevokeResponse, *, count: int) -> CallStatus | None:
    """Tell why a call should be made again; None when each of so many tasks got an answer that will not get better."""
    if len(response.items) != count:
        return _UNANSWERED
    statuses = (status_of_item(item.error) for item in response.items if item.WhichOneof("outcome") == "error")
    return next((status for status in statuses if _retry.is_retryable(status)), None)


def states_in(responses: Iterable[RevokeResponse]) -> dict[str, TaskState]:
    """Read how the tasks are now, by their ids, leaving out those that do not exist.

    Raises:
        TailraceError: A task was refused for another reason.
    """
    states: dict[str, TaskState] = {}
    for item in (item for response in responses for item in response.items):
        if item.WhichOneof("outcome") == "task":
            states[item.task_id] = Outcome(item.task).state
        elif not isinstance(error := error_from(status_of_item(item.error), task_id=item.task_id), TaskNotFoundError):
            raise error
    return states


def _request(task_ids: Iterable[str], *, force: bool, reason: str) -> RevokeRequest:
    mode = REVOKE_MODE_FORCE if force else REVOKE_MODE_REQUEST
    return RevokeRequest(task_ids=task_ids, mode=mode, reason=reason)


def _id_of(task: str | _Identified) -> str:
    task_id = task if isinstance(task, str) else getattr(task, "id", None)
    if not isinstance(task_id, str):
        raise TypeError(f"revoke takes ids and results one by one, as in client.revoke(*results), not {task!r}")
    return task_id
