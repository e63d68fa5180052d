"""AsyncSubmitter: an asyncio client together with the options of what it submits."""

from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Sequence
from contextlib import aclosing
from typing import Any

from tailrace.client import _batches
from tailrace.client._async_calls import AsyncCalls
from tailrace.client._async_drawing import done_in_order, each_of
from tailrace.client._async_result import AsyncioResult
from tailrace.client._completion import LOOK_AHEAD
from tailrace.client._errors import batch_error
from tailrace.client._options import SubmitOptions
from tailrace.client._outcome import Outcome
from tailrace.client._remote_errors import RemoteErrors
from tailrace.client._submission import TaskFunction, submit_request
from tailrace.client._tracing import sending
from tailrace.v1.task_service_pb2 import SubmitRequest


class AsyncSubmitter:
    """What ``client.options(...)`` returns: it submits with those options, as often as wanted."""

    def __init__(self, calls: AsyncCalls, remote_errors: RemoteErrors, options: SubmitOptions) -> None:
        self._calls = calls
        self._remote_errors = remote_errors
        self._options = options

    async def submit(self, task: str | TaskFunction, /, *args: Any, **kwargs: Any) -> AsyncioResult:
        """Submit a task; see ``AsyncClient.submit``."""
        request = submit_request(task, args, kwargs, self._options)
        return await self._submit(request)

    async def map(
        self, task: str | TaskFunction, argument_tuples: Iterable[Sequence[Any]] | AsyncIterable[Sequence[Any]], /
    ) -> list[AsyncioResult]:
        """Submit a task for each tuple of arguments; see ``AsyncClient.map``."""
        requests = [request async for request in self._requests(task, argument_tuples)]
        with sending(requests):
            errors = await self._calls.submit_many(requests, self._options.repeat_for_s)
        accepted = [self._result(request.task_id) for request in requests if request.task_id not in errors]
        if errors:
            raise batch_error(accepted, _batches.by_index(requests, errors))
        return accepted

    async def imap(
        self,
        task: str | TaskFunction,
        argument_tuples: Iterable[Sequence[Any]] | AsyncIterable[Sequence[Any]],
        /,
        *,
        look_ahead: int = LOOK_AHEAD,
    ) -> AsyncGenerator[AsyncioResult, None]:
        """Submit tasks as their results are asked for; see ``AsyncClient.imap``."""
        _batches.check_look_ahead(look_ahead)
        requests = self._requests(task, argument_tuples)
        async with aclosing(done_in_order(requests, self._submit, look_ahead)) as results:
            async for result in results:
                yield result

    async def _requests(
        self, task: str | TaskFunction, argument_tuples: Iterable[Sequence[Any]] | AsyncIterable[Sequence[Any]]
    ) -> AsyncGenerator[SubmitRequest, None]:
        _batches.check_task_id(self._options)
        index = 0
        async for args in each_of(argument_tuples):
            yield _batches.item_request(task, index, args, self._options)
            index += 1

    async def _submit(self, request: SubmitRequest) -> AsyncioResult:
        with sending([request]):
            response = await self._calls.submit(request, self._options.repeat_for_s)
        result = self._result(request.task_id)
        result._note_submitted(Outcome(response.task))  # noqa: SLF001
        return result

    def _result(self, task_id: str) -> AsyncioResult:
        interest = self._calls.interest_in(task_id)
        return AsyncioResult(task_id, self._calls, self._remote_errors, interest)
