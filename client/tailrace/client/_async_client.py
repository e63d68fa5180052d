"""AsyncClient: the client for asyncio."""

from collections.abc import AsyncGenerator, Awaitable, Collection, Iterable, Sequence
from contextlib import aclosing
from datetime import timedelta
from functools import partial
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, Unpack, cast, overload

from tailrace.client import _spans
from tailrace.client._async_calls import AsyncCalls
from tailrace.client._async_drawing import AnyIterable, each_of
from tailrace.client._async_drawn_results import DrawnResults
from tailrace.client._async_result import AsyncioResult
from tailrace.client._async_submitter import AsyncSubmitter
from tailrace.client._codec import PayloadCodec
from tailrace.client._completion import LOOK_AHEAD, Completion
from tailrace.client._conversion import Conversion
from tailrace.client._gathering import Gathering
from tailrace.client._options import Options, SubmitOptions
from tailrace.client._outcome import TaskState
from tailrace.client._revocation import revoke_requests, states_in, status_in_many
from tailrace.client._server_info import ServerInfo
from tailrace.client._settings import resolve_settings
from tailrace.client._submission import NamedTask, TaskFunction
from tailrace.client._type_variables import P, R
from tailrace.v1.task_service_pb2 import GetServerInfoRequest, RevokeResponse

ErrorT = TypeVar("ErrorT", bound=type[Exception])


class AsyncClient:
    """Submits tasks and waits for them, from the event loop in which it is first used.

    Connecting, and connecting again after an outage, happens by itself: nothing fails for lack of a server before a
    call is made, and every call is repeated while that can help.

    What is submitted one by one, and all waits, share one stream, whichever tasks they come from: what gathers while a
    message is on its way goes into the next one. Results of tasks that were submitted here come by themselves. Those
    that nobody has asked for yet are kept as long as their handles live, 10,000 of them or 16 MiB at most; what is
    beyond that is asked for anew.

    Make one client for each event loop: in a second one that runs beside the first, calls raise WrongLoopError. Once
    the first is closed, the next one may use the client. gRPC itself is at its best with one event loop in a process;
    with several it logs BlockingIOErrors, which are noise. A client that was used before its process forked raises
    ForkedProcessError in the child; one that was only made works there.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        call_timeout: float | timedelta | None = None,
        content_type: str | None = None,
        codecs: Sequence[PayloadCodec] = (),
    ) -> None:
        """Prepare a client; nothing is sent yet, and no event loop is needed yet.

        Args:
            address: The server's ``host:port``. None: the variable TAILRACE_ADDRESS, or else ``localhost:7440``.
            call_timeout: How long a call that does not wait for a task may take, all its tries together, in seconds
                or as a timedelta. None: 60 s.
            content_type: What arguments are written as where ``options`` or the task's function say nothing else.
                None: ``application/json``.
            codecs: The first encodes what is sent; all of them decode what comes back, by the name that it carries.

        Raises:
            ValueError: The call_timeout is not positive, nothing is known of the content_type or its library is
                missing, or a codec's name is malformed.
        """
        self._conversion = Conversion.of(codecs, content_type)
        self._calls = AsyncCalls(resolve_settings(address, call_timeout))
        self._submitter = AsyncSubmitter(self._calls, self._conversion, SubmitOptions())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections. Waits in other tasks raise ClientClosedError; closing twice is harmless."""
        await self._calls.close()

    @overload
    async def submit(
        self, task: TaskFunction[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> AsyncioResult[R]: ...

    @overload
    async def submit(self, task: TaskFunction[P, R], /, *args: P.args, **kwargs: P.kwargs) -> AsyncioResult[R]: ...

    @overload
    async def submit(self, task: str, /, *args: Any, **kwargs: Any) -> AsyncioResult[Any]: ...

    async def submit(self, task: str | NamedTask, /, *args: Any, **kwargs: Any) -> AsyncioResult[Any]:
        """Submit a task. When this returns, the server has it in its store.

        Every argument but the first goes to the task; what concerns the submission goes to ``options``. Cancelled, it
        leaves open whether the task was accepted: give it a task_id by ``options`` if that matters.

        What many coroutines submit at once shares messages of up to 1000 tasks or 3.5 MB, and is accepted in the order
        of the calls. While 4000 tasks, or 14 MB of them, are without an answer, ``submit`` waits for room.

        Args:
            task: The task's type, or the function that ``@worker.task`` decorated.
            *args: Plain JSON values, the types that docs/payloads.md lists, or one protobuf message.
            **kwargs: Likewise.

        Raises:
            PayloadError: An argument cannot be carried; the error names its place.
            TaskIdConflictError: The task_id from ``options`` is taken by a different task.
            InvalidRequestError: The type, or an option, is malformed.
            LimitExceededError: The arguments are too large.
            ServerUnavailableError: No answer came in time. Whether the task was accepted is unknown; the error's
                ``task_id`` makes it safe to submit again, and possible to find it.
        """
        return await self._submitter.submit(cast("str", task), *args, **kwargs)  # of which no more is known here

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
        """Submit a task for each tuple of arguments, in order, many to a message. ``imap`` does so lazily.

        Args:
            task: As for ``submit``.
            argument_tuples: Of positional arguments; one of a single argument is written ``(x,)``.

        Returns:
            The results, in the order of the arguments.

        Raises:
            BatchSubmitError: Some were not accepted. All were tried, and the error has the results of the others.
            PayloadError: An argument cannot be carried. Nothing was submitted.
        """
        return await self._submitter.map(cast("str", task), argument_tuples)

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

    def imap(
        self,
        task: str | NamedTask,
        argument_tuples: AnyIterable[Sequence[Any]],
        /,
        *,
        look_ahead: int = LOOK_AHEAD,
    ) -> AsyncGenerator[AsyncioResult[Any], None]:
        """Do as ``map`` does, but lazily: submit tasks as results are asked for. Takes more than fits into memory.

        Nothing is submitted before the first is asked for. ``as_completed`` draws from it as tasks are done:
        ``async for done in client.as_completed(client.imap("add", rows)): ...``.

        Args:
            task: The task's type, or the function that ``@worker.task`` decorated.
            argument_tuples: Drawn from one by one; asynchronous ones may take their time.
            look_ahead: How many tasks may be on their way to the server at a time; a result is yielded, in the order
                of the arguments, once the server has its task.

        Raises:
            PayloadError: An argument cannot be carried; what came before it may have been submitted.
            TailraceError: A task was not accepted, as ``submit`` says; up to ``look_ahead`` after it may have been.
        """
        return self._submitter.imap(cast("str", task), argument_tuples, look_ahead=look_ahead)

    def options(self, **options: Unpack[Options]) -> AsyncSubmitter:
        """Return a view of this client that submits with these options.

        Args:
            **options: ``queue``, ``priority``, ``delay``, ``schedule_time``, ``start_within``, ``start_deadline``,
                ``execution_timeout``, ``total_timeout``, ``retry``, ``lease_duration``, ``result_ttl``,
                ``content_type``, ``labels``, ``headers``, ``task_id``, ``parent_task_id``, ``return_existing``;
                ``Options`` explains each.

        Raises:
            TypeError: There is no such option, or its value is of the wrong kind.
            ValueError: A datetime does not say its time zone, or nothing is known of the content_type.
            InvalidRequestError: Two of them contradict each other. Bounds are checked by the server, at the submit.
        """
        return AsyncSubmitter(self._calls, self._conversion, SubmitOptions(**options))

    def result(self, task_id: str) -> AsyncioResult[Any]:
        """Return a handle to a task submitted earlier, or elsewhere. Nothing is asked yet.

        Its value comes as plain JSON; ``client.result(id).returning(Order)`` has it come as an Order.
        """
        return AsyncioResult(task_id, self._calls, self._conversion)

    async def resubmit(self, task_id: str, *, new_task_id: str | None = None) -> AsyncioResult[Any]:
        """Run a failed or revoked task again, as a new one; see ``AsyncioResult.resubmit``."""
        return await self.result(task_id).resubmit(new_task_id=new_task_id)

    async def as_completed(
        self, results: AnyIterable[AsyncioResult[R]], timeout: float | timedelta | None = None
    ) -> AsyncGenerator[AsyncioResult[R], None]:
        """Yield results as their tasks are done, those done already first. Their ``get`` then returns at once.

        An unknown task counts as done, and raises TaskNotFoundError when asked. Leave the loop early inside
        ``contextlib.aclosing``, which ends the waiting there and then.

        Args:
            results: A list, or another collection, of any size. An iterator, such as ``imap`` gives, is drawn from as
                its tasks are done, so that no more than 1000 are waited for at a time: it may be longer than memory.
            timeout: For all of them, in seconds or as a timedelta; None waits for ever.

        Raises:
            WaitTimeoutError: Some were not done in time.
        """
        timeout_s = None if timeout is None else _spans.to_seconds(timeout)
        if not isinstance(results, Collection):
            async with aclosing(self._as_drawn(each_of(results), timeout_s)) as drawn:
                async for result in drawn:
                    yield result
            return
        completion = Completion(results)
        for result in completion.known:
            yield result
        awaited_ids = completion.awaited_ids
        if not awaited_ids:
            return
        async with aclosing(self._calls.follow(awaited_ids, timeout_s)) as news:
            async for finished in news:
                for result in completion.finish(finished):
                    yield result

    async def _as_drawn(
        self, results: AsyncGenerator[AsyncioResult[R], None], timeout_s: float | None
    ) -> AsyncGenerator[AsyncioResult[R], None]:
        """Yield results as their tasks are done, while drawing more."""
        async with self._calls.following(timeout_s) as following:
            drawn = DrawnResults(results, following)
            try:
                while not drawn.is_over:
                    for result in await drawn.next():
                        yield result
            finally:
                await drawn.close()

    @overload
    async def gather(
        self,
        results: Iterable[AsyncioResult[R]],
        timeout: float | timedelta | None = None,
        *,
        return_exceptions: Literal[False] = False,
    ) -> list[R]: ...

    @overload
    async def gather(
        self, results: Iterable[AsyncioResult[R]], timeout: float | timedelta | None = None, *, return_exceptions: bool
    ) -> list[R | Exception]: ...

    async def gather(
        self,
        results: Iterable[AsyncioResult[Any]],
        timeout: float | timedelta | None = None,
        *,
        return_exceptions: bool = False,
    ) -> list[Any]:
        """Wait for all of them; return what they returned, in order, or raise the first failure there is.

        A failure is raised the moment it is known, and the other tasks go on: ``client.revoke(*results)`` ends them. A
        revoked task and an unknown one are failures too.

        Args:
            results: Any number.
            timeout: For all of them, in seconds or as a timedelta; None waits for ever.
            return_exceptions: Wait for all of them in any case, and put what ``get`` would raise where the value would
                be.

        Raises:
            WaitTimeoutError: Some were not done in time.
            Exception: Whatever ``get`` raises of a task.
        """
        timeout_s = None if timeout is None else _spans.to_seconds(timeout)
        gathering = Gathering(results, return_exceptions=return_exceptions)
        if awaited_ids := gathering.begin():
            async with aclosing(self._calls.follow(awaited_ids, timeout_s)) as stream:
                async for news in stream:
                    gathering.take(news)
        return gathering.values()

    async def revoke(
        self, *tasks: str | AsyncioResult[Any], force: bool = False, reason: str = ""
    ) -> dict[str, TaskState]:
        """Ask for tasks not to run, or to stop, many to a call; ``AsyncioResult.revoke`` says what that means for each.

        Args:
            *tasks: Ids or results: ``client.revoke(*results)``.
            force: End running tasks at once too. Whatever they still come to is refused.
            reason: Why, for workers and for whoever asks for the results. At most 1 KiB.

        Returns:
            The state of each task after that, by its id. Ids of which there is no task are left out.

        Raises:
            InvalidRequestError: An id is malformed, and the other tasks were revoked; or the reason is, and none was.
            ServerUnavailableError: No answer came in time. Some may have been revoked; asking again is safe.
        """
        responses: list[RevokeResponse] = []
        for request in revoke_requests(tasks, force=force, reason=reason):
            status_in = partial(status_in_many, count=len(request.task_ids))
            responses.append(await self._calls.call(self._calls.stub.Revoke, request, status_in=status_in))
        return states_in(responses)

    async def server_info(self) -> ServerInfo:
        """Ask the server for its version and limits."""
        response = await self._calls.call(self._calls.stub.GetServerInfo, GetServerInfoRequest())
        return ServerInfo.from_wire(response)

    def register_exception(self, error_class: ErrorT, *, name: str | None = None) -> ErrorT:
        """Let tasks that fail with an exception class of yours raise it here as itself; usable as a decorator.

        Args:
            error_class: Made from the failure's message alone: ``error_class(message)`` must work.
            name: The failure's type on the wire. None: ``module.QualifiedName``, as Python workers send it.

        Raises:
            TypeError: Not a subclass of Exception, or it cannot be made from one text.
        """
        self._conversion.remote_errors.register(error_class, name=name)
        return error_class
