"""The calls of the asyncio client: its channels, and the loops that repeat calls and resume streams."""

import asyncio
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Protocol, TypeVar

import grpc
import grpc.aio

from tailrace.client._async_connections import AsyncConnections
from tailrace.client._async_fan_in import async_fan_in
from tailrace.client._async_following import AsyncFollowing
from tailrace.client._async_inbox import AsyncInbox
from tailrace.client._async_watch import AsyncWatch
from tailrace.client._batches import Chunk, chunks
from tailrace.client._errors import TailraceError, error_from
from tailrace.client._fork import process
from tailrace.client._outcome import Outcome
from tailrace.client._retry import Tries
from tailrace.client._settings import ClientSettings
from tailrace.client._status import CallStatus, status_of
from tailrace.client._targets import Interest, are_followable
from tailrace.client._tracing import call_metadata
from tailrace.client._waiting import SILENCE_LIMIT_S, News, Wait, is_short, split_targets
from tailrace.client._watch import closed
from tailrace.client._watched_batch import WatchedBatch
from tailrace.v1.task_service_pb2 import SubmitRequest, SubmitResponse, WaitForRequest, WaitForResponse

if TYPE_CHECKING:
    from tailrace.v1.task_service_pb2_grpc import TaskServiceAsyncStub

RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")
ResultT_co = TypeVar("ResultT_co", covariant=True)


class _UnaryCall(Awaitable[ResultT_co], Protocol[ResultT_co]):
    def cancel(self) -> bool: ...


class AsyncCalls:
    """The calls of one client, over the connections that it has in its event loop.

    They are opened in the loop that uses the client first. Once that loop is closed the next one may have its turn.
    """

    def __init__(self, settings: ClientSettings, *, silence_limit_s: float = SILENCE_LIMIT_S) -> None:
        self._settings = settings
        self._silence_limit_s = silence_limit_s
        self._connections: AsyncConnections | None = None
        self._closer: weakref.finalize[..., AsyncCalls] | None = None
        self._is_closed = False

    @property
    def stub(self) -> "TaskServiceAsyncStub":
        """The stub for unary calls; see ``AsyncConnections.stub``."""
        return self._mine.stub

    async def close(self) -> None:
        """Close every channel. Calls under way in other tasks raise ClientClosedError."""
        self._is_closed = True
        connections, self._connections = self._connections, None
        if connections is None or connections.generation != process.generation or connections.loop.is_closed():
            return
        if self._closer is not None:
            self._closer.detach()
        if connections.loop is asyncio.get_running_loop():
            await connections.close()
        else:
            connections.let_go()

    def interest_in(self, task_id: str) -> Interest:
        """Return what a handle of a submitted task holds, for as long as somebody may ask what became of it."""
        return self._mine.watch.interest_in(task_id)

    def claim(self, task_id: str) -> Outcome | None:
        """Return the end of a task that came by itself, if it is there; it is kept by whoever claims it."""
        task = None if self._connections is None else self._connections.watch.claim(task_id)
        return None if task is None else Outcome(task)

    @property
    def _mine(self) -> AsyncConnections:
        """The connections of this event loop, in this process.

        Raises:
            ClientClosedError: The client is closed.
            WrongLoopError: The client is in use in another event loop.
        """
        connections = self._connections
        if connections is not None and connections.is_usable_here():
            return connections
        return self._begin_anew()

    def _begin_anew(self) -> AsyncConnections:
        self._refuse_if_closed()
        before = self._connections
        if before is not None and self._closer is not None:
            self._closer.detach()
            if before.generation != process.generation:
                process.leave_alone(before)
        self._connections = AsyncConnections(self._settings, self._silence_limit_s)
        self._closer = weakref.finalize(self, self._connections.let_go)
        return self._connections

    async def call(
        self,
        method: Callable[..., _UnaryCall[ResponseT]],
        request: object,
        *,
        repeat_for_s: float | None = None,
        task_id: str | None = None,
        status_in: Callable[[ResponseT], CallStatus | None] = lambda _: None,
    ) -> ResponseT:
        """Make one call, as often as it takes.

        Args:
            method: A unary method of ``stub``.
            request: Sent unchanged each time.
            repeat_for_s: How long from now on it may be repeated; None: as long as the settings allow.
            task_id: The task concerned, for the error.
            status_in: Finds what counts as the call's failure in an answer that is OK.

        Raises:
            TailraceError: The answer was an error, or none came in time.
        """
        tries = self._tries(repeat_for_s)
        while True:
            answer = await self._try(method, request, tries)
            status = answer if isinstance(answer, CallStatus) else status_in(answer)
            if status is None:
                assert not isinstance(answer, CallStatus)
                return answer
            pause_s = tries.pause_after(status)
            if pause_s is None:
                raise error_from(tries.verdict(status), task_id=task_id)
            await asyncio.sleep(pause_s)

    async def submit(self, request: SubmitRequest, repeat_for_s: float) -> SubmitResponse:
        """Submit one task, on the Watch stream if there is one, as often as it takes.

        Raises:
            TailraceError: It was not accepted, or perhaps not.
        """
        tries = self._tries(repeat_for_s)
        while True:
            answer = await self._submit_once(request, tries)
            if isinstance(answer, SubmitResponse):
                return answer
            pause_s = tries.pause_after(answer)
            if pause_s is None:
                raise error_from(tries.verdict(answer), task_id=request.task_id)
            await asyncio.sleep(pause_s)

    async def submit_many(self, requests: Sequence[SubmitRequest], repeat_for_s: float) -> dict[str, TailraceError]:
        """Submit many on the Watch stream; return why some were not accepted, by task_id.

        What the stream does not take, or what a store that is away did not, goes by calls of its own, as often as it
        takes.
        """
        watch = self._mine.watch
        if watch.is_off or not requests:
            return await self.submit_batch(requests, repeat_for_s)
        done = asyncio.Event()
        batch = WatchedBatch(requests, done.set)
        try:
            is_moving = True
            for request in requests:
                if is_moving:
                    is_moving = await self._put(batch, request, watch, repeat_for_s)
            while is_moving and not done.is_set():
                is_moving = await self._is_moving(batch, done)
        finally:
            watch.withdraw(batch.submits)
        batch.raise_failure()
        batch.give_up(watch.why_not())
        if batch.left:
            batch.errors |= await self.submit_batch(batch.left, repeat_for_s)
        return batch.errors

    async def _put(self, batch: WatchedBatch, request: SubmitRequest, watch: AsyncWatch, repeat_for_s: float) -> bool:
        tries = self._tries(repeat_for_s)
        submit = batch.submit(request, last_start_s=tries.last_start_s)
        return submit is None or await watch.put(submit, tries.end_s)

    async def _is_moving(self, batch: WatchedBatch, done: asyncio.Event) -> bool:
        open_count = batch.open_count
        try:
            async with asyncio.timeout(self._settings.call_timeout_s):
                await done.wait()
        except TimeoutError:
            return batch.open_count < open_count
        return True

    async def submit_batch(self, requests: Sequence[SubmitRequest], repeat_for_s: float) -> dict[str, TailraceError]:
        """Submit many, each call as often as it takes; return why some were not accepted, by task_id."""
        errors: dict[str, TailraceError] = {}
        for part in chunks(requests):
            chunk = Chunk(part)
            if not await self._submit_chunk(chunk, self._tries(repeat_for_s)):
                # One patience for the whole batch: what is left is tried once.
                repeat_for_s = 0
            errors |= chunk.errors
        return errors

    def follow(
        self, task_ids: Sequence[str], timeout_s: float | None, *, with_progress: bool = False
    ) -> AsyncGenerator[News, None]:
        """Yield each task as it is done or found unknown, for as long as it takes or the time allows.

        With progress, also each that said how far it has come, as often as it did, but for what came too fast.

        Raises:
            WaitTimeoutError: The time is up.
            TailraceError: The server refused to be waited on.
        """
        if with_progress or is_short(timeout_s) or self._mine.watch.is_off or not are_followable(task_ids):
            return self._follow_alone(task_ids, timeout_s, with_progress=with_progress)
        return self._follow_watched(task_ids, timeout_s)

    @asynccontextmanager
    async def following(self, timeout_s: float | None) -> AsyncGenerator[AsyncFollowing, None]:
        """Follow tasks that are not all known yet, until the block ends; see ``follow``."""
        inbox = AsyncInbox(self._mine.watch, timeout_s)
        with inbox.following(()):
            following = AsyncFollowing(inbox, self._follow_alone, is_off=self._mine.watch.is_off)
            async with aclosing(following):
                yield following

    async def _follow_watched(self, task_ids: Sequence[str], timeout_s: float | None) -> AsyncGenerator[News, None]:
        inbox = AsyncInbox(self._mine.watch, timeout_s)
        with inbox.following(task_ids) as is_followed:
            while is_followed and inbox.is_open and (ends := await inbox.take()) is not None:
                for end in ends:
                    yield end
        if open_ids := list(inbox.listener.open) if is_followed else task_ids:
            async with aclosing(self._follow_alone(open_ids, inbox.left_s)) as rest:
                async for news in rest:
                    yield news

    def _follow_alone(
        self, task_ids: Sequence[str], timeout_s: float | None, *, with_progress: bool = False
    ) -> AsyncGenerator[News, None]:
        """Follow tasks on streams that carry nothing else."""
        waits = [Wait(part, timeout_s=timeout_s, with_progress=with_progress) for part in split_targets(task_ids)]
        if len(waits) == 1:
            return self._follow(waits[0])
        return async_fan_in([self._follow(wait) for wait in waits])

    async def _submit_once(self, request: SubmitRequest, tries: Tries) -> SubmitResponse | CallStatus:
        watch = self._mine.watch
        if not watch.is_off:
            answer = await watch.submit(request, end_s=tries.end_s, last_start_s=tries.last_start_s)
            if callable(answer):
                raise answer()
            if answer is not None:
                return answer
        return await self._try(self.stub.Submit, request, tries)

    def _tries(self, repeat_for_s: float | None) -> Tries:
        return Tries(timeout_s=self._settings.call_timeout_s, repeat_for_s=repeat_for_s)

    async def _submit_chunk(self, chunk: Chunk, tries: Tries) -> bool:
        """Submit one call's worth; return False once there was no time left to repeat it."""
        while True:
            answer = await self._try(self.stub.BatchSubmit, chunk.call(), tries)
            status = answer if isinstance(answer, CallStatus) else chunk.settle(answer.items)
            if status is None:
                return True
            pause_s = tries.pause_after(status)
            if pause_s is None:
                chunk.give_up(tries.verdict(status))
                return not tries.is_exhausted
            await asyncio.sleep(pause_s)

    async def _try(
        self, method: Callable[..., _UnaryCall[ResponseT]], request: object, tries: Tries
    ) -> ResponseT | CallStatus:
        self._refuse_if_closed()
        cancels = _cancel_requests()
        call = method(
            request, timeout=tries.timeout_s(), wait_for_ready=tries.waits_for_ready, metadata=call_metadata()
        )
        try:
            return await call
        except grpc.aio.AioRpcError as error:
            return self._status_of(error)
        except asyncio.CancelledError:
            return self._status_of_cancel(cancels)
        finally:
            call.cancel()

    async def _follow(self, wait: Wait) -> AsyncGenerator[News, None]:
        while not wait.is_over():
            plan = wait.next_stream()
            self._refuse_if_closed()
            with self._mine.streams.lend() as stub:
                call = stub.WaitFor(
                    plan.request,
                    timeout=plan.timeout_s,
                    wait_for_ready=plan.waits_for_ready,
                    metadata=call_metadata(),
                )
                try:
                    while isinstance(answer := await self._read(call), WaitForResponse):
                        for news in wait.take(answer):
                            yield news
                        if wait.is_over():
                            return
                finally:
                    # An abandoned call is not collected, and would stay open on the server.
                    call.cancel()
            await asyncio.sleep(wait.pause_after(answer))

    async def _read(
        self, call: "grpc.aio.UnaryStreamCall[WaitForRequest, WaitForResponse]"
    ) -> WaitForResponse | CallStatus | None:
        """Return the next message, or how the stream ended, None standing for OK."""
        cancels = _cancel_requests()
        # Not asyncio.timeout around the read: a cancelled read leaks memory in gRPC, a cancelled call does not.
        too_silent = asyncio.get_running_loop().call_later(self._silence_limit_s, call.cancel)
        try:
            answer = await call.read()
        except grpc.aio.AioRpcError as error:
            return self._status_of(error)
        except asyncio.CancelledError:
            return self._status_of_cancel(cancels)
        finally:
            too_silent.cancel()
        return answer if isinstance(answer, WaitForResponse) else None

    def _status_of(self, error: grpc.RpcError) -> CallStatus:
        # Closing the channel cancels what runs on it.
        self._refuse_if_closed()
        return status_of(error)

    def _status_of_cancel(self, cancels_before: int) -> CallStatus:
        """Tell who cancelled: raise if it was the caller, return a status if it was gRPC, the silence limit or close.

        In grpc.aio a call that ends on this side raises CancelledError, whoever ended it.
        """
        if _cancel_requests() > cancels_before:
            raise  # noqa: PLE0704 (called while the CancelledError is handled)
        self._refuse_if_closed()
        return CallStatus(code=grpc.StatusCode.CANCELLED, message="the call was cancelled on this side")

    def _refuse_if_closed(self) -> None:
        if self._is_closed:
            raise closed()


def _cancel_requests() -> int:
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()
