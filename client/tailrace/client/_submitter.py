"""Submitter: a client together with the options of what it submits."""

from collections.abc import Awaitable, Iterable, Sequence
from typing import Any, overload

from tailrace.client import _batches
from tailrace.client._conversion import Conversion
from tailrace.client._errors import batch_error
from tailrace.client._options import SubmitOptions
from tailrace.client._result import AsyncResult
from tailrace.client._submission import NamedTask, TaskFunction, result_type, submit_request
from tailrace.client._sync_calls import SyncCalls
from tailrace.client._type_variables import P, R


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
        self._calls.call(
            self._calls.stub.Submit, request, repeat_for_s=self._options.repeat_for_s, task_id=request.task_id
        )
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
        errors = self._calls.submit_batch(requests, self._options.repeat_for_s)
        accepted = [self._result(task, request.task_id) for request in requests if request.task_id not in errors]
        if errors:
            raise batch_error(accepted, _batches.by_index(requests, errors))
        return accepted

    def _result(self, task: str | NamedTask, task_id: str) -> AsyncResult[Any]:
        return AsyncResult(task_id, self._calls, self._conversion.returning(result_type(task)))
