"""The connections of one synchronous client in one process. Nothing is opened before it is used."""

import atexit
import threading
import weakref
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from tailrace.client import _channel
from tailrace.client._fork import process
from tailrace.client._settings import ClientSettings
from tailrace.client._silence_watch import SilenceWatch
from tailrace.client._stream_channels import StreamChannels
from tailrace.client._sync_watch import SyncWatch
from tailrace.client._watch import closed
from tailrace.v1.task_service_pb2 import WatchRequest
from tailrace.v1.task_service_pb2_grpc import TaskServiceStub

_all: "weakref.WeakSet[SyncConnections]" = weakref.WeakSet()


@atexit.register
def _end_all() -> None:
    for connections in list(_all):
        connections.end()


class SyncConnections:
    """Channels, and the Watch stream. It knows nothing of its client, which may go without a word."""

    def __init__(self, settings: ClientSettings, silence_watch: SilenceWatch) -> None:
        self.generation = process.generation
        """Of the process that they belong to."""
        self.closing = threading.Event()
        self.silence_watch = silence_watch
        self.streams: StreamChannels[grpc.Channel, TaskServiceStub] = StreamChannels(
            self._open_stream_channel, TaskServiceStub
        )
        self.watch = SyncWatch(self._open_watch, silence_watch)
        self._settings = settings
        self._lock = threading.Lock()
        self._channel: grpc.Channel | None = None
        self._stub: TaskServiceStub | None = None
        _all.add(self)

    @property
    def stub(self) -> TaskServiceStub:
        """The stub for unary calls.

        Raises:
            ClientClosedError: The client is closed.
            ForkedProcessError: gRPC does not work in this process.
        """
        stub = self._stub
        return self._open() if stub is None else stub

    def close(self) -> None:
        """Close every channel. Calls under way in other threads end; a second call does nothing."""
        if self.generation != process.generation:
            # Another process closes what it opened.
            return
        self.closing.set()
        self.watch.close()
        self.silence_watch.close()
        with self._lock:
            channel, self._channel = self._channel, None
        for each in [channel, *self.streams.remove_all()]:
            if each is not None:
                each.close()

    def end(self) -> None:
        """Leave gRPC in good order at the end of the program; whoever still waits ends with it, and is told nothing."""
        if self.generation == process.generation:
            self.watch.end()
            self.silence_watch.close()

    def refuse_if_closed(self) -> None:
        """Raise ClientClosedError if the client is closed."""
        if self.closing.is_set():
            raise closed()

    def _open(self) -> TaskServiceStub:
        with self._lock:
            self.refuse_if_closed()
            if self._stub is None:
                process.note_connection(is_asyncio=False)
                options = _channel.call_channel_options()
                self._channel = grpc.insecure_channel(self._settings.address, options=options)
                self._stub = TaskServiceStub(self._channel)
            return self._stub

    def _open_stream_channel(self) -> grpc.Channel:
        self.refuse_if_closed()
        process.note_connection(is_asyncio=False)
        return grpc.insecure_channel(self._settings.address, options=_channel.stream_channel_options())

    @contextmanager
    def _open_watch(
        self, messages: Iterator[WatchRequest], timeout_s: float, *, waits_for_ready: bool
    ) -> Generator[Any, None, None]:
        with self.streams.lend() as stub:
            try:
                yield stub.Watch(messages, timeout=timeout_s, wait_for_ready=waits_for_ready)
            except ValueError:
                # What grpc says of a channel that another thread has just closed.
                self.refuse_if_closed()
                raise
