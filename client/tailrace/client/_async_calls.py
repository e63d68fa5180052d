"""The calls of the asyncio client: its channels, and the loops that repeat calls and resume streams."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

import grpc
import grpc.aio

from tailrace.client import _channel
from tailrace.client._async_fan_in import async_fan_in
from tailrace.client._batches import Chunk, chunks
from tailrace.client._errors import ClientClosedError, TailraceError, error_from
from tailrace.client._retry import Tries
from tailrace.client._settings import ClientSettings
from tailrace.client._status import CallStatus, status_of
from tailrace.client._stream_channels import StreamChannels
from tailrace.client._tracing import call_metadata
from tailrace.client._waiting import SILENCE_LIMIT_S, News, Wait, split_targets
from tailrace.v1.task_service_pb2 import SubmitRequest, WaitForRequest, WaitForResponse
from tailrace.v1.task_service_pb2_grpc import TaskServiceStub

if TYPE_CHECKING:
    from tailrace.v1.task_service_pb2_grpc import TaskServiceAsyncStub

RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")
ResultT_co = TypeVar("ResultT_co", covariant=True)


class _UnaryCall(Awaitable[ResultT_co], Protocol[ResultT_co]):
    def cancel(self) -> bool: ...


class AsyncCalls:
    """The channels of one client, and the loops that repeat calls and resume streams on them.

    The channels are opened in the event loop that uses the client first, and belong to it.
    """

    def __init__(self, settings: ClientSettings, *, silence_limit_s: float = SILENCE_LIMIT_S) -> None:
        self._settings = settings
        self._silence_limit_s = silence_limit_s
        self._channel: grpc.aio.Channel | None = None
        self._stub: TaskServiceAsyncStub | None = None
        self._streams: StreamChannels[grpc.aio.Channel, TaskServiceAsyncStub] = StreamChannels(
            self._open_stream_channel, TaskServiceStub
        )
        self._is_closed = False

    @property
    def stub(self) -> "TaskServiceAsyncStub":
        """The stub for unary calls.

        Raises:
            ClientClosedError: The client is closed.
        """
        self._refuse_if_closed()
        if self._stub is None:
            options = _channel.call_channel_options()
            self._channel = grpc.aio.insecure_channel(self._settings.address, options=options)
            self._stub = TaskServiceStub(self._channel)
        return self._stub

    async def close(self) -> None:
        """Close every channel. Calls under way in other tasks raise ClientClosedError."""
        self._is_closed = True
        channels = self._streams.remove_all()
        if self._channel is not None:
            channels.append(self._channel)
            self._channel = None
        for channel in channels:
            await channel.close()

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
        waits = [Wait(part, timeout_s=timeout_s, with_progress=with_progress) for part in split_targets(task_ids)]
        if len(waits) == 1:
            return self._follow(waits[0])
        return async_fan_in([self._follow(wait) for wait in waits])

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
            with self._streams.lend() as stub:
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
            raise ClientClosedError("the client is closed")

    def _open_stream_channel(self) -> grpc.aio.Channel:
        return grpc.aio.insecure_channel(self._settings.address, options=_channel.stream_channel_options())


def _cancel_requests() -> int:
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()
