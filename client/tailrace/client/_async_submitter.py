"""AsyncSubmitter: an asyncio client together with the options of what it submits."""

from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, overload

from tailrace.client import _batches
from tailrace.client._async_calls import AsyncCalls
from tailrace.client._async_drawing import AnyIterable, done_in_order, each_of
from tailrace.client._async_result import AsyncioResult
from tailrace.client._completion import LOOK_AHEAD
from tailrace.client._conversion import Conversion
from tailrace.client._errors import batch_error
from tailrace.client._options import SubmitOptions
from tailrace.client._outcome import Outcome
from tailrace.client._submission import NamedTask, TaskFunction, result_type, submit_request
from tailrace.client._tracing import sending
from tailrace.client._type_variables import P, R
from tailrace.v1.task_service_pb2 import SubmitRequest


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
        return await self._submit(task, request)

    @overload
    async def map(
        self, task: TaskFunction[..., Awaitable[R]], argument_tuples: AnyIterable[Sequence[Any]], /
    ) -> list[AsyncioResult[R]]: ...

    @overload
    async def map(
        self, task: TaskFunction[..., R], argument_tuples: AnyIterable[Sequence[Any]], /
    ) -> list[AsyncioResult[R]]: ...

    @overload
    async def map(self, task: str, argument_tuples: AnyIterable[Sequence[Any]], /) -> list[AsyncioResult[Any]]: ...

    async def map(
        self, task: str | NamedTask, argument_tuples: AnyIterable[Sequence[Any]], /
    ) -> list[AsyncioResult[Any]]:
        """Submit a task for each tuple of arguments; see ``AsyncClient.map``."""
        requests = [request async for request in self._requests(task, argument_tuples)]
        with sending(requests):
            errors = await self._calls.submit_many(requests, self._options.repeat_for_s)
        accepted = [self._result(task, request.task_id) for request in requests if request.task_id not in errors]
        if errors:
            raise batch_error(accepted, _batches.by_index(requests, errors))
        return accepted

    @overload
    def imap(
        self,
        task: TaskFunction[..., Awaitable[R]],
        argument_tuples: AnyIterable[Sequence[Any]],
        /,
        *,
        look_ahead: int = LOOK_AHEAD,
    ) -> AsyncGenerator[AsyncioResult[R], None]: ...

    @overload
    def imap(
        self,
        task: TaskFunction[..., R],
        argument_tuples: AnyIterable[Sequence[Any]],
        /,
        *,
        look_ahead: int = LOOK_AHEAD,
    ) -> AsyncGenerator[AsyncioResult[R], None]: ...

    @overload
    def imap(
        self, task: str, argument_tuples: AnyIterable[Sequence[Any]], /, *, look_ahead: int = LOOK_AHEAD
    ) -> AsyncGenerator[AsyncioResult[Any], None]: ...

    async def imap(
        self,
        task: str | NamedTask,
        argument_tuples: AnyIterable[Sequence[Any]],
        /,
        *,
        look_ahead: int = LOOK_AHEAD,
    ) -> AsyncGenerator[AsyncioResult[Any], None]:
        """Submit tasks as their results are asked for; see ``AsyncClient.imap``."""
        _batches.check_look_ahead(look_ahead)
        requests = self._requests(task, argument_tuples)
        async with aclosing(done_in_order(requests, partial(self._submit, task), look_ahead)) as results:
            async for result in results:
                yield result

    async def _requests(
        self, task: str | NamedTask, argument_tuples: AnyIterable[Sequence[Any]]
    ) -> AsyncGenerator[SubmitRequest, None]:
        _batches.check_task_id(self._options)
        index = 0
        async for args in each_of(argument_tuples):
            yield _batches.item_request(task, index, args, self._options, self._conversion)
            index += 1

    async def _submit(self, task: str | NamedTask, request: SubmitRequest) -> AsyncioResult[Any]:
        with sending([request]):
            response = await self._calls.submit(request, self._options.repeat_for_s)
        result = self._result(task, request.task_id)
        result._note_submitted(Outcome(response.task))  # noqa: SLF001
        return result

    def _result(self, task: str | NamedTask, task_id: str) -> AsyncioResult[Any]:
        conversion = self._conversion.returning(result_type(task))
        return AsyncioResult(task_id, self._calls, conversion, self._calls.interest_in(task_id))
