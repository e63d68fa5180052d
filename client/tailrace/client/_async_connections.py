"""The connections of one asyncio client in one event loop. Nothing is opened before it is used."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from tailrace.client import _channel
from tailrace.client._async_watch import AsyncWatch
from tailrace.client._errors import WrongLoopError
from tailrace.client._fork import process
from tailrace.client._settings import ClientSettings
from tailrace.client._stream_channels import StreamChannels
from tailrace.client._watch import closed
from tailrace.v1.task_service_pb2_grpc import TaskServiceStub

if TYPE_CHECKING:
    from tailrace.v1.task_service_pb2_grpc import TaskServiceAsyncStub


class AsyncConnections:
    """Channels, and the Watch stream, of the running event loop. It knows nothing of its client."""

    def __init__(self, settings: ClientSettings, silence_limit_s: float) -> None:
        self.generation = process.generation
        """Of the process that they belong to."""
        self.loop = asyncio.get_running_loop()
        self.streams: StreamChannels[grpc.aio.Channel, TaskServiceAsyncStub] = StreamChannels(
            self._open_stream_channel, TaskServiceStub
        )
        self.watch = AsyncWatch(self._open_watch, silence_limit_s)
        self._settings = settings
        self._channel: grpc.aio.Channel | None = None
        self._stub: TaskServiceAsyncStub | None = None
        self._is_closed = False

    @property
    def stub(self) -> "TaskServiceAsyncStub":
        """The stub for unary calls.

        Raises:
            ClientClosedError: The client is closed.
            ForkedProcessError: gRPC does not work in this process.
        """
        self.refuse_if_closed()
        if self._stub is None:
            process.note_connection(is_asyncio=True)
            options = _channel.call_channel_options()
            self._channel = grpc.aio.insecure_channel(self._settings.address, options=options)
            self._stub = TaskServiceStub(self._channel)
        return self._stub

    async def close(self) -> None:
        """Close every channel. Calls under way in other tasks end; a second call does nothing."""
        self._is_closed = True
        await self.watch.close()
        channels = self.streams.remove_all()
        if self._channel is not None:
            channels.append(self._channel)
            self._channel = None
        for channel in channels:
            await channel.close()

    def let_go(self) -> None:
        """Close when the client was collected, wherever that happened to be noticed."""
        if self.generation == process.generation and not self._is_closed and not self.loop.is_closed():
            # It may be closed just now, and everything has ended with it then.
            with suppress(RuntimeError):
                self.loop.call_soon_threadsafe(self._close_soon)

    def _close_soon(self) -> None:
        _closing.add(task := self.loop.create_task(self.close()))
        task.add_done_callback(_closing.discard)

    def is_usable_here(self) -> bool:
        """Tell whether these are of the running event loop, in this process; False where they are of no use to anybody.

        Raises:
            WrongLoopError: They are in use in another event loop.
        """
        if self.generation != process.generation or self.loop.is_closed():
            return False
        if self.loop is not asyncio.get_running_loop():
            raise WrongLoopError("the client is in use in another event loop: make one client for each loop")
        return True

    def refuse_if_closed(self) -> None:
        """Raise ClientClosedError if the client is closed."""
        if self._is_closed:
            raise closed()

    def _open_stream_channel(self) -> grpc.aio.Channel:
        process.note_connection(is_asyncio=True)
        return grpc.aio.insecure_channel(self._settings.address, options=_channel.stream_channel_options())

    @contextmanager
    def _open_watch(self, timeout_s: float, *, waits_for_ready: bool) -> Generator[Any, None, None]:
        self.refuse_if_closed()
        with self.streams.lend() as stub:
            yield stub.Watch(timeout=timeout_s, wait_for_ready=waits_for_ready)


_closing: "set[asyncio.Task[None]]" = set()
"""A task that nobody holds may be collected before it ends."""
