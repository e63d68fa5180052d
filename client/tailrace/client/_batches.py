"""Batches: many submissions in calls that the server takes, and what became of each."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import grpc

from tailrace.client import _retry
from tailrace.client._conversion import Conversion
from tailrace.client._errors import PayloadError, TailraceError, error_from
from tailrace.client._options import SubmitOptions
from tailrace.client._status import CallStatus, status_of_item
from tailrace.client._submission import NamedTask, submit_request
from tailrace.v1.task_service_pb2 import BatchSubmitRequest, SubmitItem, SubmitRequest

MAX_ITEMS = 1000
"""Of one call, by the contract."""

MAX_BYTES = 3_500_000
"""Of one call. The contract says 4 MiB; the rest is room for framing."""

_ITEM_OVERHEAD_BYTES = 8


def submit_requests(
    task: str | NamedTask,
    argument_tuples: Iterable[Sequence[Any]],
    options: SubmitOptions,
    conversion: Conversion,
) -> list[SubmitRequest]:
    """Build one request per tuple of arguments, all of them before any is sent.

    Raises:
        TypeError: An item is not a tuple or list.
        ValueError: The options carry a task_id, which only one task can have.
        PayloadError: An argument cannot be carried; the path starts with the item's number.
    """
    check_task_id(options)
    return [item_request(task, index, args, options, conversion) for index, args in enumerate(argument_tuples)]


def draw_requests(
    task: str | NamedTask,
    argument_tuples: Iterable[Sequence[Any]],
    options: SubmitOptions,
    conversion: Conversion,
) -> Iterator[SubmitRequest]:
    """Build one request per tuple of arguments, each when it is asked for; raises as ``submit_requests`` does."""
    check_task_id(options)
    return (item_request(task, index, args, options, conversion) for index, args in enumerate(argument_tuples))


def check_look_ahead(look_ahead: int) -> None:
    """Refuse what is no number of tasks."""
    if look_ahead < 1:
        raise ValueError(f"look_ahead must be at least 1, not {look_ahead}")


def check_task_id(options: SubmitOptions) -> None:
    """Refuse an id that many tasks would have to share."""
    if options.task_id is not None:
        raise ValueError("map submits many tasks, and they cannot share one task_id")


def item_request(
    task: str | NamedTask,
    index: int,
    args: Sequence[Any],
    options: SubmitOptions,
    conversion: Conversion,
) -> SubmitRequest:
    """Build one of many requests; see ``submit_requests``."""
    if not isinstance(args, tuple | list):
        raise TypeError(f"map takes a tuple of arguments for each task; item {index} is a {type(args).__name__}")
    try:
        return submit_request(task, args, {}, options, conversion)
    except PayloadError as error:
        raise PayloadError(f"item {index}: {error}", path=f"[{index}].{error.path}") from error


def chunks(requests: Sequence[SubmitRequest]) -> Iterator[Sequence[SubmitRequest]]:
    """Cut the requests into calls of at most 1000 items and 3.5 MB; a larger item is a call of its own."""
    start, chunk_bytes = 0, 0
    for index, request in enumerate(requests):
        request_bytes = request.ByteSize() + _ITEM_OVERHEAD_BYTES
        if index > start and (index - start >= MAX_ITEMS or chunk_bytes + request_bytes > MAX_BYTES):
            yield requests[start:index]
            start, chunk_bytes = index, 0
        chunk_bytes += request_bytes
    if start < len(requests):
        yield requests[start:]


class Chunk:
    """One call's worth of submissions, and how each of them stands."""

    def __init__(self, requests: Sequence[SubmitRequest]) -> None:
        self._open: dict[str, SubmitRequest] = {request.task_id: request for request in requests}
        self._unsettled: dict[str, CallStatus] = {}
        self.errors: dict[str, TailraceError] = {}
        """By task_id: those not accepted. Complete once ``give_up`` or ``settle`` left nothing open."""

    def call(self) -> BatchSubmitRequest:
        """Return the call for what is still open."""
        return BatchSubmitRequest(requests=self._open.values())

    def settle(self, items: Iterable[SubmitItem]) -> CallStatus | None:
        """Take the server's answers.

        Returns:
            Why something is still open; None when nothing is.
        """
        retryable = None
        for item in items:
            if item.WhichOneof("outcome") != "error":
                self._open.pop(item.task_id, None)
                continue
            status = status_of_item(item.error)
            if _retry.is_retryable(status):
                retryable = self._unsettled[item.task_id] = status
                continue
            self._open.pop(item.task_id, None)
            self.errors[item.task_id] = error_from(status, task_id=item.task_id)
        if self._open and retryable is None:
            return CallStatus(code=grpc.StatusCode.UNKNOWN, message="the server left items of the batch unanswered")
        return retryable

    def give_up(self, status: CallStatus) -> None:
        """Count as failed what is still open, each for its own reason or else for this one."""
        for task_id in self._open:
            self.errors[task_id] = error_from(self._unsettled.get(task_id, status), task_id=task_id)
        self._open.clear()


def by_index(requests: Sequence[SubmitRequest], errors: Mapping[str, TailraceError]) -> dict[int, TailraceError]:
    """Number the errors by the items they belong to."""
    return {index: errors[request.task_id] for index, request in enumerate(requests) if request.task_id in errors}
