"""Keeps a stream to the server open: opens it, watches it, opens another one. For ever, unless the server refuses."""

import logging
import random
import threading
import time
from collections.abc import Callable

import grpc

from tailrace.client._errors import TailraceError, error_from
from tailrace.client._retry import CALL_BACKOFF
from tailrace.v1.worker_service_pb2_grpc import WorkerServiceStub
from tailrace.worker._conversation import Conversation
from tailrace.worker._stream import Stream, StreamTimes, TaskRunner

# Coming back would meet the same answer: what has to change is this program, its settings or the server's version.
_REFUSALS = frozenset(
    {
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)

_SETTLED_S = 2.0
_JOIN_S = 5.0
_TIDY_S = 5.0

logger = logging.getLogger("tailrace.worker")


class Connection:
    """The supervisor of a conversation's streams, in a thread of its own."""

    def __init__(
        self,
        stub: WorkerServiceStub,
        conversation: Conversation,
        runner: TaskRunner,
        *,
        times: StreamTimes | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.refusal: TailraceError | None = None
        """Why the server wants nothing of this worker; the conversation is closed then."""
        self._stub = stub
        self._conversation = conversation
        self._runner = runner
        self._times = times or StreamTimes()
        self._clock = clock
        self._streams: list[Stream] = []
        self._failures = 0
        self._thread = threading.Thread(target=self._run, name="tailrace-worker-connection", daemon=True)

    def start(self) -> None:
        """Begin. Once."""
        self._thread.start()

    def close(self) -> None:
        """End every stream; before start(): no effect. The conversation must be closed."""
        if self._thread.ident is None:
            return
        self._thread.join(_JOIN_S)
        for stream in self._streams:
            stream.cancel()
            stream.join(_JOIN_S)

    def _run(self) -> None:
        while not self._over():
            stream = self._open()
            self._watch(stream)
            if self._over():
                return
            self._judge(stream)

    def _open(self) -> Stream:
        stream = Stream(
            self._stub,
            self._conversation,
            self._runner,
            times=self._times,
            # The first failure is worth hearing of at once; from then on only the server's return is.
            waits_for_server=self._failures > 0,
            clock=self._clock,
        )
        self._streams.append(stream)
        return stream

    def _over(self) -> bool:
        return self._conversation.closed or self._conversation.drained

    def _watch(self, stream: Stream) -> None:
        """Return when the stream has ended, or another one is to take its place."""
        self._wait(lambda: stream.welcomed or stream.ended)
        if stream.welcomed:
            logger.info("server_connected")
        self._wait(lambda: stream.leaving or stream.ended)

    def _wait(self, condition: Callable[[], bool]) -> None:
        while not (condition() or self._conversation.closed):
            self._conversation.wait_for(condition, self._tidy() - self._clock())

    def _tidy(self) -> float:
        """Give up streams that are overdue, forget those that have ended. Returns when to do so again."""
        for stream in self._streams:
            stream.give_up_if_overdue()
        self._streams = [stream for stream in self._streams if not stream.ended]
        overdue = [stream.overdue_at() for stream in self._streams if not stream.given_up]
        return min(overdue, default=self._clock() + _TIDY_S)

    def _judge(self, stream: Stream) -> None:
        """Close the conversation when the server refused this worker; otherwise pause before the next stream."""
        if stream.status and stream.status.code in _REFUSALS:
            self.refusal = error_from(stream.status)
            logger.error("worker_refused: %s: %s", stream.status.code.name, self.refusal)
            self._conversation.close()
            return
        settled = stream.welcomed_at is not None and self._clock() - stream.welcomed_at >= _SETTLED_S
        if settled:
            self._failures = 0
        if not (settled and stream.leaving):
            self._pause(stream)

    def _pause(self, stream: Stream) -> None:
        level = logging.DEBUG if self._failures or stream.leaving else logging.WARNING  # an outage is worth one line
        logger.log(level, "server_lost: %s; trying again", _why(stream))
        self._failures += 1
        pause_s = CALL_BACKOFF.pause_s(self._failures, random.random())
        self._conversation.wait_for(lambda: self._conversation.drained, pause_s)


def _why(stream: Stream) -> str:
    if stream.leaving:
        return "the server asked for another stream"
    if stream.given_up or stream.status is None:
        return stream.given_up or "the server ended the stream"
    return f"{stream.status.message or stream.status.reason} ({stream.status.code.name})"
