"""The Watch stream of the synchronous client: a thread that opens and reads streams, and callers that wait for news.

gRPC's own thread takes the messages to write from ``_messages`` one after the other, each when the one before it was
written. Nobody who wants the client collected is held by these threads: they know the streams, not the client.
"""

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import grpc

from tailrace.client._errors import ClientClosedError, WaitTimeoutError
from tailrace.client._fork import process
from tailrace.client._outgoing import Answer, Submit, unreached
from tailrace.client._silence_watch import SilenceWatch
from tailrace.client._status import CallStatus, status_of
from tailrace.client._targets import Interest, Listener
from tailrace.client._ticket import Ticket
from tailrace.client._waiting import timeout_error
from tailrace.client._watch import STREAM_S, Watch, closed
from tailrace.v1.task_pb2 import TaskResult
from tailrace.v1.task_service_pb2 import SubmitRequest, WatchRequest, WatchResponse

JOIN_S = 1.0

logger = logging.getLogger("tailrace.client")


class OpenStream(Protocol):
    """Opens a Watch call."""

    def __call__(
        self, messages: Iterator[WatchRequest], timeout_s: float, *, waits_for_ready: bool
    ) -> AbstractContextManager[Any]:
        """Lend the call, whose messages are iterated in another thread."""
        ...


class SyncWatch:
    """Carries submits and waits from any thread."""

    def __init__(self, open_stream: OpenStream, silence_watch: SilenceWatch, watch: Watch | None = None) -> None:
        self._open_stream = open_stream
        self._silence_watch = silence_watch
        self._watch = watch or Watch()
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        """There is something to say, the stream is over, or the client is closed."""
        self._room = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None
        self._stream: _Stream | None = None
        self._is_closed = False
        """Callers are refused."""
        self._is_ending = False
        """The threads are to end."""

    @property
    def is_off(self) -> bool:
        """Whether calls of their own have to do for now."""
        return self._watch.is_off

    def interest_in(self, task_id: str) -> Interest:
        """Return what keeps a submitted task followed."""
        return self._watch.targets.interest_in(task_id)

    def claim(self, task_id: str) -> TaskResult | None:
        """Take what is kept of a task that is done."""
        with self._lock:
            return self._watch.targets.claim(task_id)

    def begin(self, request: SubmitRequest, *, end_s: float, last_start_s: float) -> Ticket:
        """Put a submit on its way.

        What comes from one thread is accepted in that order. A thread waits here while 4000 submits, or 14 MB of them,
        are without an answer.

        Args:
            request: Has its task_id.
            end_s: When the time is up, by time.monotonic().
            last_start_s: When what was sent may be repeated for the last time.
        """
        ticket = Ticket(request, end_s=end_s, last_start_s=last_start_s)
        if ticket.submit.is_too_large:
            ticket.settle(None)
        elif not self.put(ticket.submit, end_s):
            ticket.settle(self.why_not())
        return ticket

    def answer_to(self, ticket: Ticket) -> Answer:
        """Wait for the server's answer to a submit, or for the end of its time."""
        if not ticket.wait():
            with self._lock:
                if not ticket.submit.is_settled:
                    ticket.answer = self.why_not()
                    self._withdraw([ticket.submit])
        return ticket.answer

    def put(self, submit: Submit, end_s: float) -> bool:
        """Add a submit, once there is room; False when there was none in time."""
        with self._lock:
            while self._watch.outgoing.is_full and not self._is_closed:
                if not self._room.wait(max(0.0, end_s - time.monotonic())):
                    return False
            self._refuse_if_unusable()
            self._watch.submit(submit)
            self._wake()
        return True

    def withdraw(self, submits: Sequence[Submit]) -> None:
        """Tell nobody what becomes of these."""
        with self._lock:
            self._withdraw(submits)

    def why_not(self) -> CallStatus:
        """Say why a submit has no answer after all its time."""
        return unreached(self._watch.last_status)

    def follow(self, task_ids: Sequence[str], listener: Listener) -> bool:
        """Have a listener told of tasks; False where there are too many for one stream."""
        with self._lock:
            self._refuse_if_unusable()
            is_followed = self._watch.follow(task_ids, listener)
            self._wake()
        return is_followed

    def leave(self, listener: Listener) -> None:
        """Tell a listener nothing any more.

        A generator that waits may be collected by a thread that holds the lock: then the server hears of it later.
        """
        self._watch.targets.leave(listener)
        if self._watch.targets.has_news and self._lock.acquire(blocking=False):
            try:
                self._wake()
            finally:
                self._lock.release()

    def timeout_error(self, listener: Listener, timeout_s: float) -> WaitTimeoutError:
        """Return the exception for a listener whose time is up."""
        return timeout_error(list(listener.open), timeout_s, self._watch.trouble)

    def close(self) -> None:
        """End the streams and the threads. Whoever waits is told ClientClosedError; a second call does nothing."""
        with self._lock:
            self._is_closed = True
            self._watch.close()
            self._room.notify_all()
        self.end()

    def end(self) -> None:
        """End the streams and the threads, and tell nobody: whoever waits at the end of the program ends with it."""
        with self._lock:
            self._is_ending = True
            self._work.notify_all()
            stream, thread = self._stream, self._thread
        if stream is not None:
            stream.cancel()
        if thread is not None and thread is not threading.current_thread():
            thread.join(JOIN_S)

    def _withdraw(self, submits: Sequence[Submit]) -> None:
        self._watch.outgoing.withdraw(submits)
        self._room.notify_all()

    def _refuse_if_unusable(self) -> None:
        if self._is_closed:
            raise closed()
        process.refuse_if_unusable()

    def _wake(self) -> None:
        """Have what there is to say said, by a thread that is begun with the first of it."""
        if self._thread is None and not self._is_ending:
            thread = threading.Thread(target=self._run, name="tailrace-watch", daemon=True)
            thread.start()
            self._thread = thread
        if self._stream is None or self._watch.has_something_to_say:
            self._work.notify_all()

    def _run(self) -> None:
        while self._wait_until_needed():
            try:
                pause_s = self._carry()
            except Exception:
                # Whoever waits must not wait for ever.
                logger.exception("watch_broke_down")
                pause_s = 0.0
                with self._lock:
                    self._watch.break_down()
                    self._room.notify_all()
            with self._lock:
                if pause_s > 0:
                    self._work.wait_for(lambda: self._is_ending, pause_s)

    def _wait_until_needed(self) -> bool:
        with self._lock:
            self._work.wait_for(lambda: self._is_ending or self._watch.is_needed)
            return not self._is_ending

    def _carry(self) -> float:
        """Open a stream and read it to its end; return how long to pause before the next one."""
        with self._lock:
            self._watch.begin()
            stream = self._stream = _Stream()
            waits_for_ready = self._watch.waits_for_ready
        status: CallStatus | None = None
        try:
            with self._open_stream(self._messages(stream), STREAM_S, waits_for_ready=waits_for_ready) as stream.call:
                if self._is_ending:
                    stream.cancel()
                self._read(stream)
        except grpc.RpcError as error:
            status = status_of(error)
        except ClientClosedError:
            return 0.0
        finally:
            with self._lock:
                stream.is_over = True
                self._stream = None
                self._work.notify_all()
            stream.cancel()
        with self._lock:
            if self._is_ending:
                return 0.0
            pause_s = self._watch.end_mute() if stream.is_mute else self._watch.end(status)
            self._room.notify_all()
        return pause_s

    def _read(self, stream: "_Stream") -> None:
        while True:
            with self._silence_watch.reading(stream):
                response: WatchResponse | None = next(stream.call, None)
            if response is None:
                return
            with self._lock:
                was_full = self._watch.outgoing.is_full
                self._watch.take(response)
                if was_full:
                    self._room.notify_all()
                if self._watch.has_something_to_say:
                    self._work.notify_all()

    def _messages(self, stream: "_Stream") -> Iterator[WatchRequest]:
        """Yield what is to be written, for as long as the stream lives; runs in a thread of gRPC's."""
        while True:
            with self._lock:
                while not stream.is_over and not self._watch.has_something_to_say:
                    self._wait_for_work(stream)
                if stream.is_over:
                    return
                message = self._watch.next_message()
            if message is not None:
                yield message

    def _wait_for_work(self, stream: "_Stream") -> None:
        overdue_at_s = self._watch.outgoing.overdue_at_s
        if overdue_at_s is None:
            self._work.wait()
        elif (left_s := overdue_at_s - time.monotonic()) > 0:
            self._work.wait(left_s)
        else:
            stream.is_mute = stream.is_over = True
            stream.cancel()


class _Stream:
    """One stream, and how it stands with it."""

    def __init__(self) -> None:
        self.call: Any = None
        self.is_over = False
        self.is_mute = False
        """Whether it was given up for want of answers."""

    def cancel(self) -> None:
        """End it; the reader gets the status CANCELLED."""
        if self.call is not None:
            self.call.cancel()
