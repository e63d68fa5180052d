"""Submitter: a client together with the options of what it submits."""

from collections.abc import Awaitable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, overload

from tailrace.client import _batches
from tailrace.client._completion import LOOK_AHEAD
from tailrace.client._conversion import Conversion
from tailrace.client._errors import batch_error
from tailrace.client._options import SubmitOptions
from tailrace.client._result import AsyncResult
from tailrace.client._submission import NamedTask, TaskFunction, result_type, submit_request
from tailrace.client._sync_calls import SyncCalls
from tailrace.client._tracing import sending
from tailrace.client._type_variables import P, R
from tailrace.v1.task_service_pb2 import SubmitRequest


class Submitter:
    """What ``client.options(...)`` returns: it submits with those options, as often as wanted."""

    def __init__(self, calls: SyncCalls, conversion: Conversion, options: SubmitOptions) -> None:
        self._calls = calls
        self._conversion = conversion
        self._options = options

    @overload
    def submit(self, task: TaskFunction[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]: ...

    @overload
    def submit(self, task: TaskFunction[P, R], /, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]: ...

    @overload
    def submit(self, task: str, /, *args: Any, **kwargs: Any) -> AsyncResult[Any]: ...

    def submit(self, task: str | NamedTask, /, *args: Any, **kwargs: Any) -> AsyncResult[Any]:
        """Submit a task; see ``Client.submit``."""
        request = submit_request(task, args, kwargs, self._options, self._conversion)
        with sending([request]):
            self._calls.submit(request, self._options.repeat_for_s)
        return self._result(task, request.task_id)

    @overload
    def map(
        self, task: TaskFunction[..., Awaitable[R]], argument_tuples: Iterable[Sequence[Any]], /
    ) -> list[AsyncResult[R]]: ...

    @overload
    def map(self, task: TaskFunction[..., R], argument_tuples: Iterable[Sequence[Any]], /) -> list[AsyncResult[R]]: ...

    @overload
    def map(self, task: str, argument_tuples: Iterable[Sequence[Any]], /) -> list[AsyncResult[Any]]: ...

    def map(self, task: str | NamedTask, argument_tuples: Iterable[Sequence[Any]], /) -> list[AsyncResult[Any]]:
        """Submit a task for each tuple of arguments; see ``Client.map``."""
        requests = _batches.submit_requests(task, argument_tuples, self._options, self._conversion)
        with sending(requests):
            errors = self._calls.submit_many(requests, self._options.repeat_for_s)
        accepted = [self._result(task, request.task_id) for request in requests if request.task_id not in errors]
        if errors:
            raise batch_error(accepted, _batches.by_index(requests, errors))
        return accepted

    @overload
    def imap(
        self,
        task: TaskFunction[..., Awaitable[R]],
        argument_tuples: Iterable[Sequence[Any]],
        /,
        *,
        look_ahead: int = LOOK_AHEAD,
    ) -> Iterator[AsyncResult[R]]: ...

    @overload
    def imap(
        self, task: TaskFunction[..., R], argument_tuples: Iterable[Sequence[Any]], /, *, look_ahead: int = LOOK_AHEAD
    ) -> Iterator[AsyncResult[R]]: ...

    @overload
    def imap(
        self, task: str, argument_tuples: Iterable[Sequence[Any]], /, *, look_ahead: int = LOOK_AHEAD
    ) -> Iterator[AsyncResult[Any]]: ...

    def imap(
        self,
        task: str | NamedTask,
        argument_tuples: Iterable[Sequence[Any]],
        /,
        *,
        look_ahead: int = LOOK_AHEAD,
    ) -> Iterator[AsyncResult[Any]]:
        """Submit tasks as their results are asked for; see ``Client.imap``."""
        requests = _traced(_batches.draw_requests(task, argument_tuples, self._options, self._conversion))
        _batches.check_look_ahead(look_ahead)
        ids = self._calls.submit_ahead(requests, self._options.repeat_for_s, look_ahead)
        return map(partial(self._result, task), ids)

    def _result(self, task: str | NamedTask, task_id: str) -> AsyncResult[Any]:
        conversion = self._conversion.returning(result_type(task))
        return AsyncResult(task_id, self._calls, conversion, self._calls.interest_in(task_id))


def _traced(requests: Iterable[SubmitRequest]) -> Iterator[SubmitRequest]:
    for request in requests:
        # Not for as long as it takes: whoever draws from this goes on with other things meanwhile.
        with sending([request]):
            pass
        yield request
