"""The session, shared by threads: the one lock, who may write, and waiting for something to change."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from tailrace.v1 import task_pb2
from tailrace.v1 import worker_service_pb2 as wire
from tailrace.worker._leases import LeaseKey
from tailrace.worker._session import Frame, Heard, WorkerSession

STALL_S = 2.0
"""From how late a sign of life is worth a word: the shortest lease."""

logger = logging.getLogger("tailrace.worker")


class Speaker(Protocol):
    """A stream as the conversation knows it. Its fields change only under the conversation's lock."""

    ended: bool
    superseded: bool


class Conversation:
    """Thread-safe shell of a WorkerSession. Only next_frame and the waits block.

    Several streams may read at a time, only the one attached last may write: a stream that the server is about to
    close goes on being heard, so that nothing already on its way is lost.
    """

    def __init__(self, session: WorkerSession, clock: Callable[[], float] = time.monotonic) -> None:
        self._session = session
        self._clock = clock
        self._lock = threading.Lock()
        self._to_write = threading.Condition(self._lock)
        self._changed = threading.Condition(self._lock)
        self._attached: Speaker | None = None
        self._closed = False

    # Streams.

    def hello(self) -> wire.WorkRequest:
        """Build the first frame of a stream."""
        with self._lock:
            return self._session.hello()

    def attach(self, stream: Speaker, hello: wire.Hello, welcome: wire.Welcome) -> Heard:
        """Make a stream that was welcomed the one that writes; the one before it writes no more."""
        with self._lock:
            if self._attached is not None:
                self._attached.superseded = True
            self._attached = stream
            heard = self._session.begin_stream(hello, welcome, self._clock())
            self._notify()
            return heard

    def end(self, stream: Speaker) -> None:
        """Note that a stream is over."""
        with self._lock:
            stream.ended = True
            if self._attached is stream:
                self._attached = None
            self._notify()

    def next_frame(self, stream: Speaker) -> Frame | None:
        """Wait until this stream has something to write. None: it is to write no more."""
        with self._lock:
            while not (stream.ended or stream.superseded or self._closed):
                if stream is not self._attached:
                    self._to_write.wait()
                    continue
                now = self._clock()
                _tell_of_stall(now - self._session.next_due_at())
                frame = self._session.next_frame(now)
                if frame is not None:
                    return frame
                self._to_write.wait(max(0.0, self._session.next_due_at() - now))
            return None

    def written(self, frame: Frame) -> list[tuple[LeaseKey, wire.Assignment]]:
        """Note that a frame is on the stream. Returns the tasks that may run from now on."""
        with self._lock:
            keys = self._session.written(frame, self._clock())
            return [(key, self._session.assignment(key)) for key in keys]

    def receive(self, response: wire.WorkResponse) -> Heard:
        """Take in one message of the server."""
        with self._lock:
            heard = self._session.receive(response, self._clock())
            self._notify_of_task()
            return heard

    # Tasks.

    def is_running(self, key: LeaseKey) -> bool:
        """Tell whether this lease's task should run."""
        with self._lock:
            return self._session.is_running(key)

    def is_revoked(self, key: LeaseKey) -> bool:
        """Tell whether this lease's task was asked to stop."""
        with self._lock:
            return self._session.is_revoked(key)

    def tell_progress(self, key: LeaseKey, progress: task_pb2.Progress) -> None:
        """Have a running task's progress told soon, see WorkerSession.tell_progress."""
        with self._lock:
            if self._session.tell_progress(key, progress, self._clock()):
                self._to_write.notify_all()

    def finish(self, key: LeaseKey, result: wire.AttemptResult | None) -> None:
        """Note that a task's code has ended, see WorkerSession.finish."""
        with self._lock:
            self._session.finish(key, result)
            self._notify_of_task()

    def abandon(self, key: LeaseKey, result: wire.AttemptResult) -> bool:
        """End an attempt whose code cannot be stopped, see WorkerSession.abandon."""
        with self._lock:
            was_running = self._session.abandon(key, result)
            self._notify_of_task()
            return was_running

    # Draining and the end.

    def drain(self) -> None:
        """Take no more tasks."""
        with self._lock:
            self._session.drain()
            self._notify()

    def running(self) -> list[LeaseKey]:
        """List the leases whose tasks run."""
        with self._lock:
            return self._session.running()

    def release_unfinished(self) -> int:
        """Give back every lease whose task has not ended. Returns how many there were."""
        with self._lock:
            released = self._session.release_unfinished()
            self._notify()
            return released

    @property
    def idle(self) -> bool:
        """True when nothing is held and nothing waits to be acknowledged."""
        return self._session.idle

    @property
    def unacknowledged(self) -> int:
        """Count the results and releases that the server has not answered."""
        return self._session.unacknowledged

    @property
    def drained(self) -> bool:
        """True when the server has taken leave of this worker."""
        return self._session.drained

    @property
    def said_goodbye(self) -> bool:
        """True when there is nothing to wait for any more: all settled, and the server, if it is there, knows."""
        return self._session.drained or (self._session.idle and self._attached is None)

    @property
    def closed(self) -> bool:
        """True after close()."""
        return self._closed

    def close(self) -> None:
        """End every stream's writing, and every wait. Again: no effect."""
        with self._lock:
            self._closed = True
            self._notify()

    def wake(self) -> None:
        """Make waits look at their conditions again."""
        with self._lock:
            self._notify()

    def wait_until_ended(self, keys: Sequence[LeaseKey], timeout_s: float) -> None:
        """Wait until none of these tasks runs any more, or time is up."""
        self.wait_for(lambda: not any(self._session.is_running(key) for key in keys), timeout_s)

    def wait_for(self, condition: Callable[[], bool], timeout_s: float | None = None) -> None:
        """Wait until the condition holds, the conversation is closed, or time is up; None: there is no limit.

        The condition is called with the lock held: it may read this object's properties, not call its methods.
        """
        deadline = None if timeout_s is None else self._clock() + timeout_s
        with self._lock:
            while not (condition() or self._closed):
                left_s = None if deadline is None else deadline - self._clock()
                if left_s is not None and left_s <= 0:
                    break
                self._changed.wait(left_s)

    def _notify_of_task(self) -> None:
        self._to_write.notify_all()
        if self._session.draining:  # until then nobody waits for what becomes of tasks, and they are many
            self._changed.notify_all()

    def _notify(self) -> None:
        self._to_write.notify_all()
        self._changed.notify_all()


def _tell_of_stall(late_s: float) -> None:
    if late_s >= STALL_S:
        logger.warning(
            "worker_stalled: no thread of this worker could run for %.1f s: the machine stood still, or a task called "
            'code that holds the GIL, which belongs in executor="process"',
            late_s,
        )
