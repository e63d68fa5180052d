"""SilenceWatch: cancels streams of the synchronous client that have gone silent."""

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol

from tailrace.client._waiting import SILENCE_LIMIT_S


class Cancellable(Protocol):
    """A call that can be ended from another thread."""

    def cancel(self) -> object:
        """End it; the reader gets the status CANCELLED."""


class SilenceWatch:
    """One thread that watches all of a client's streams, alive only while there are any.

    A synchronous read takes no timeout, and the deadline of a call cannot be moved while it runs, so the reader cannot
    notice by itself that nothing comes. Reads are timed, not streams: a program that takes its time between two of them
    is not a server gone silent.
    """

    def __init__(self, limit_s: float = SILENCE_LIMIT_S) -> None:
        self._limit_s = limit_s
        self._reads: dict[Cancellable, float] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    @contextmanager
    def reading(self, call: Cancellable) -> Generator[None, None, None]:
        """Watch one read: past the limit, the call is cancelled."""
        with self._changed:
            self._reads[call] = time.monotonic()
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="tailrace-silence-watch", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._changed:
                del self._reads[call]

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _watch(self) -> None:
        while True:
            with self._changed:
                if not self._is_closed:
                    self._changed.wait(self._limit_s / 5)
                if self._is_closed or not self._reads:
                    self._thread = None
                    return
                heard_before = time.monotonic() - self._limit_s
                silent = [call for call, since in self._reads.items() if since < heard_before]
            for call in silent:
                call.cancel()
