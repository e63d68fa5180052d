"""AsyncSubmitter: an asyncio client together with the options of what it submits."""

from collections.abc import Awaitable, Iterable, Sequence
from typing import Any, overload

from tailrace.client import _batches
from tailrace.client._async_calls import AsyncCalls
from tailrace.client._async_result import AsyncioResult
from tailrace.client._conversion import Conversion
from tailrace.client._errors import batch_error
from tailrace.client._options import SubmitOptions
from tailrace.client._outcome import Outcome
from tailrace.client._submission import NamedTask, TaskFunction, result_type, submit_request
from tailrace.client._type_variables import P, R


class AsyncSubmitter:
    """What ``client.options(...)`` returns: it submits with those options, as often as wanted."""

    def __init__(self, calls: AsyncCalls, conversion: Conversion, options: SubmitOptions) -> None:
        self._calls = calls
        self._conversion = conversion
        self._options = options

    @overload
    async def submit(
        self, task: TaskFunction[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> AsyncioResult[R]: ...

    @overload
    async def submit(self, task: TaskFunction[P, R], /, *args: P.args, **kwargs: P.kwargs) -> AsyncioResult[R]: ...

    @overload
    async def submit(self, task: str, /, *args: Any, **kwargs: Any) -> AsyncioResult[Any]: ...

    async def submit(self, task: str | NamedTask, /, *args: Any, **kwargs: Any) -> AsyncioResult[Any]:
        """Submit a task; see ``AsyncClient.submit``."""
        request = submit_request(task, args, kwargs, self._options, self._conversion)
        response = await self._calls.call(
            self._calls.stub.Submit, request, repeat_for_s=self._options.repeat_for_s, task_id=request.task_id
        )
        result = self._result(task, request.task_id)
        result._note_submitted(Outcome(response.task))  # noqa: SLF001
        return result

    @overload
    async def map(
        self, task: TaskFunction[..., Awaitable[R]], argument_tuples: Iterable[Sequence[Any]], /
    ) -> list[AsyncioResult[R]]: ...

    @overload
    async def map(
        self, task: TaskFunction[..., R], argument_tuples: Iterable[Sequence[Any]], /
    ) -> list[AsyncioResult[R]]: ...

    @overload
    async def map(self, task: str, argument_tuples: Iterable[Sequence[Any]], /) -> list[AsyncioResult[Any]]: ...

    async def map(self, task: str | NamedTask, argument_tuples: Iterable[Sequence[Any]], /) -> list[AsyncioResult[Any]]:
        """Submit a task for each tuple of arguments; see ``AsyncClient.map``."""
        requests = _batches.submit_requests(task, argument_tuples, self._options, self._conversion)
        errors = await self._calls.submit_batch(requests, self._options.repeat_for_s)
        accepted = [self._result(task, request.task_id) for request in requests if request.task_id not in errors]
        if errors:
            raise batch_error(accepted, _batches.by_index(requests, errors))
        return accepted

    def _result(self, task: str | NamedTask, task_id: str) -> AsyncioResult[Any]:
        return AsyncioResult(task_id, self._calls, self._conversion.returning(result_type(task)))
