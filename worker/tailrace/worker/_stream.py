"""One Work call: a thread that reads, and the iterator from which gRPC takes what is to be written.

The worker speaks through gRPC's synchronous stack. Its tasks may run an event loop of their own, with an AsyncClient
in it, and several grpc.aio loops in one process disturb each other; besides, a busy process starves a thread that
sends beats less easily than a coroutine.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import grpc

from tailrace.client import ProtocolUnsupportedError
from tailrace.client._status import CallStatus, status_of
from tailrace.v1 import worker_service_pb2 as wire
from tailrace.v1.worker_service_pb2_grpc import WorkerServiceStub
from tailrace.worker._conversation import Conversation
from tailrace.worker._leases import LeaseKey
from tailrace.worker._session import PROTOCOL_VERSION, Heard

logger = logging.getLogger("tailrace.worker")


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamTimes:
    """How long a stream may take for things, in seconds."""

    welcome_s: float = 10.0
    """From the call to the server's Welcome."""
    silence_s: float = 50.0
    """Between two messages of the server, which sends one at least every 20."""
    superseded_s: float = 5.0
    """What a stream that another one has replaced may still be heard."""


class TaskRunner(Protocol):
    """What a stream needs of those who run tasks."""

    def start(self, tasks: Sequence[tuple[LeaseKey, wire.Assignment]]) -> None:
        """Begin tasks. Never raises, never blocks."""

    def stop(self, keys: Sequence[LeaseKey]) -> None:
        """Stop tasks whose lease was lost. Never raises, never blocks."""

    def revoke(self, keys: Sequence[LeaseKey]) -> None:
        """Ask tasks to stop. Never raises, never blocks."""


class Stream:
    """One stream to the server, from Hello to its status."""

    def __init__(
        self,
        stub: WorkerServiceStub,
        conversation: Conversation,
        runner: TaskRunner,
        *,
        times: StreamTimes,
        waits_for_server: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open it.

        Args:
            stub: Where to.
            conversation: What is said.
            runner: Who is told of tasks.
            times: How patient to be.
            waits_for_server: Be there the moment the server can be reached, instead of failing when it cannot.
            clock: Seconds, monotonic.
        """
        self.welcomed_at: float | None = None
        self.superseded = False
        self.leaving = False
        """The server wants the stream elsewhere."""
        self.ended = False
        self.status: CallStatus | None = None
        """How it ended; None when it has not, or ended with OK."""
        self.given_up = ""
        """Why this side ended it, when it took too long over something."""
        self._conversation = conversation
        self._runner = runner
        self._times = times
        self._clock = clock
        self._hello = conversation.hello()
        self._opened_at = clock()
        self._heard_at = self._opened_at
        self._superseded_at: float | None = None
        self._call = stub.Work(self._requests(), wait_for_ready=waits_for_server)
        self._reader = threading.Thread(target=self._read, name="tailrace-worker-reader", daemon=True)
        self._reader.start()

    @property
    def welcomed(self) -> bool:
        """True once the server has said Welcome."""
        return self.welcomed_at is not None

    def overdue_at(self) -> float:
        """Tell when the stream is to be given up, unless something is heard before."""
        return self._limit()[0]

    def give_up_if_overdue(self) -> None:
        """End the stream if it has taken too long over something."""
        overdue_at, why = self._limit()
        if not self.given_up and self._clock() >= overdue_at:
            self.given_up = why
            self._call.cancel()

    def cancel(self) -> None:
        """End the stream. Again, or once it has ended: no effect."""
        self._call.cancel()

    def join(self, timeout_s: float) -> None:
        """Wait for the reader to be done."""
        self._reader.join(timeout_s)

    def _requests(self) -> Iterator[wire.WorkRequest]:
        yield self._hello
        while (frame := self._conversation.next_frame(self)) is not None:
            yield frame.request
            # gRPC asks for the next request only when the last one has left: now a crash is a crash of a started task.
            self._runner.start(self._conversation.written(frame))

    def _limit(self) -> tuple[float, str]:
        times = self._times
        if not self.welcomed:
            return self._opened_at + times.welcome_s, f"no Welcome within {times.welcome_s:g} s"
        silence = self._heard_at + times.silence_s, f"nothing heard for {times.silence_s:g} s"
        if not self.superseded:
            return silence
        if self._superseded_at is None:
            self._superseded_at = self._clock()
        return min(silence, (self._superseded_at + times.superseded_s, "another stream has taken its place"))

    def _read(self) -> None:
        try:
            for response in self._call:
                self._heard_at = self._clock()
                self._hear(response)
        except grpc.RpcError as error:
            self.status = status_of(error)
        except ProtocolUnsupportedError as error:
            self.status = CallStatus(code=grpc.StatusCode.FAILED_PRECONDITION, message=str(error))
        except Exception as error:
            logger.exception("stream_broken: a message of the server could not be handled")
            self.status = CallStatus(code=grpc.StatusCode.INTERNAL, message=str(error))
        finally:
            self._call.cancel()
            self._conversation.end(self)

    def _hear(self, response: wire.WorkResponse) -> None:
        if self.welcomed:
            heard = self._conversation.receive(response)
        elif response.HasField("welcome"):
            heard = self._begin(response.welcome)
        else:
            raise ValueError("the server's first message was not Welcome")
        self._runner.stop(heard.lost)
        self._runner.revoke(heard.revoked)
        if heard.server_drain:
            self.leaving = True
            self._conversation.wake()

    def _begin(self, welcome: wire.Welcome) -> Heard:
        if welcome.protocol_version != PROTOCOL_VERSION:
            raise ProtocolUnsupportedError(
                f"the server speaks protocol version {welcome.protocol_version}, this worker {PROTOCOL_VERSION}"
            )
        self.welcomed_at = self._clock()
        return self._conversation.attach(self, self._hello.hello, welcome)
