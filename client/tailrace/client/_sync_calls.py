"""The calls of the synchronous client: its channels, and the loops that repeat calls and resume streams."""

import threading
from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar

import grpc

from tailrace.client import _channel
from tailrace.client._batches import Chunk, chunks
from tailrace.client._errors import ClientClosedError, TailraceError, error_from
from tailrace.client._fan_in import Stop, fan_in
from tailrace.client._retry import Tries
from tailrace.client._settings import ClientSettings
from tailrace.client._silence_watch import SilenceWatch
from tailrace.client._status import CallStatus, status_of
from tailrace.client._stream_channels import StreamChannels
from tailrace.client._tracing import call_metadata
from tailrace.client._waiting import News, Wait, split_targets
from tailrace.v1.task_service_pb2 import SubmitRequest, WaitForResponse
from tailrace.v1.task_service_pb2_grpc import TaskServiceStub

ResultT = TypeVar("ResultT")
Method = Callable[..., ResultT]


class SyncCalls:
    """The channels of one client, and the loops that repeat calls and resume streams on them. Safe from any thread."""

    def __init__(self, settings: ClientSettings, *, silence_watch: SilenceWatch | None = None) -> None:
        self._settings = settings
        self._silence_watch = silence_watch or SilenceWatch()
        self._channel = grpc.insecure_channel(settings.address, options=_channel.call_channel_options())
        self._streams: StreamChannels[grpc.Channel, TaskServiceStub] = StreamChannels(
            self._open_stream_channel, TaskServiceStub
        )
        self._closing = threading.Event()
        self.stub = TaskServiceStub(self._channel)

    def close(self) -> None:
        """Close every channel. Calls under way in other threads raise ClientClosedError."""
        self._closing.set()
        self._silence_watch.close()
        for channel in [self._channel, *self._streams.remove_all()]:
            channel.close()

    def call(
        self,
        method: Method[ResultT],
        request: Any,
        *,
        repeat_for_s: float | None = None,
        task_id: str | None = None,
        status_in: Callable[[ResultT], CallStatus | None] = lambda _: None,
    ) -> ResultT:
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
            answer = self._try(method, request, tries)
            status = answer if isinstance(answer, CallStatus) else status_in(answer)
            if status is None:
                assert not isinstance(answer, CallStatus)
                return answer
            pause_s = tries.pause_after(status)
            if pause_s is None:
                raise error_from(tries.verdict(status), task_id=task_id)
            self._closing.wait(pause_s)

    def submit_batch(self, requests: Sequence[SubmitRequest], repeat_for_s: float) -> dict[str, TailraceError]:
        """Submit many, each call as often as it takes; return why some were not accepted, by task_id."""
        errors: dict[str, TailraceError] = {}
        for part in chunks(requests):
            chunk = Chunk(part)
            if not self._submit_chunk(chunk, self._tries(repeat_for_s)):
                # One patience for the whole batch: what is left is tried once.
                repeat_for_s = 0
            errors |= chunk.errors
        return errors

    def follow(
        self, task_ids: Sequence[str], timeout_s: float | None, *, with_progress: bool = False
    ) -> Generator[News, None, None]:
        """Yield each task as it is done or found unknown, for as long as it takes or the time allows.

        With progress, also each that said how far it has come, as often as it did, but for what came too fast.

        Raises:
            WaitTimeoutError: The time is up.
            TailraceError: The server refused to be waited on.
        """
        waits = [Wait(part, timeout_s=timeout_s, with_progress=with_progress) for part in split_targets(task_ids)]
        stop = Stop()
        if len(waits) == 1:
            return self._follow(waits[0], stop)
        return fan_in([self._follow(wait, stop) for wait in waits], stop)

    def _tries(self, repeat_for_s: float | None) -> Tries:
        return Tries(timeout_s=self._settings.call_timeout_s, repeat_for_s=repeat_for_s)

    def _submit_chunk(self, chunk: Chunk, tries: Tries) -> bool:
        """Submit one call's worth; return False once there was no time left to repeat it."""
        while True:
            answer = self._try(self.stub.BatchSubmit, chunk.call(), tries)
            status = answer if isinstance(answer, CallStatus) else chunk.settle(answer.items)
            if status is None:
                return True
            pause_s = tries.pause_after(status)
            if pause_s is None:
                chunk.give_up(tries.verdict(status))
                return not tries.is_exhausted
            self._closing.wait(pause_s)

    def _try(self, method: Method[ResultT], request: Any, tries: Tries) -> ResultT | CallStatus:
        try:
            return self._open(method, request, tries.timeout_s(), waits_for_ready=tries.waits_for_ready)
        except grpc.RpcError as error:
            return self._status_of(error)

    def _follow(self, wait: Wait, stop: Stop) -> Generator[News, None, None]:
        while not wait.is_over() and not stop.is_set():
            status = yield from self._follow_stream(wait, stop)
            if not wait.is_over() and not stop.is_set():
                stop.pause(wait.pause_after(status))

    def _follow_stream(self, wait: Wait, stop: Stop) -> Generator[News, None, CallStatus | None]:
        """Follow one stream until it, or the wait, is over; return why, None standing for OK."""
        plan = wait.next_stream()
        with self._streams.lend() as stub:
            call = self._open(stub.WaitFor, plan.request, plan.timeout_s, waits_for_ready=plan.waits_for_ready)
            stop.attach(call)
            try:
                while not wait.is_over():
                    answer = self._read(call)
                    if not isinstance(answer, WaitForResponse):
                        return answer
                    yield from wait.take(answer)
            finally:
                stop.detach(call)
                call.cancel()
        return None

    def _read(self, call: Any) -> WaitForResponse | CallStatus | None:
        """Return the next message, or how the stream ended, None standing for OK."""
        try:
            with self._silence_watch.reading(call):
                response: WaitForResponse | None = next(call, None)
                return response
        except grpc.RpcError as error:
            return self._status_of(error)

    def _open(self, method: Method[ResultT], request: Any, timeout_s: float, *, waits_for_ready: bool) -> ResultT:
        self._refuse_if_closed()
        try:
            metadata = call_metadata()
            return method(request, timeout=timeout_s, wait_for_ready=waits_for_ready, metadata=metadata)
        except ValueError:
            # What grpc says of a channel that another thread has just closed.
            self._refuse_if_closed()
            raise

    def _status_of(self, error: grpc.RpcError) -> CallStatus:
        # Closing the channel cancels what runs on it.
        self._refuse_if_closed()
        return status_of(error)

    def _refuse_if_closed(self) -> None:
        if self._closing.is_set():
            raise ClientClosedError("the client is closed")

    def _open_stream_channel(self) -> grpc.Channel:
        return grpc.insecure_channel(self._settings.address, options=_channel.stream_channel_options())
