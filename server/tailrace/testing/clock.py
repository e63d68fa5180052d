"""The clock of a store, which a test moves."""

import threading
from datetime import timedelta

from tailrace.server.store.sqlite.clock import SteadyClock

_MS = timedelta(milliseconds=1)


class MovableClock:
    """Goes as the machine's does, and ahead of it by as much as it was moved. Thread-safe."""

    def __init__(self) -> None:
        self._steady = SteadyClock()
        self._lock = threading.Lock()
        self._ahead_ms = 0

    def __call__(self) -> int:
        """Tell the time in ms since the epoch."""
        with self._lock:
            return self._steady() + self._ahead_ms

    def advance(self, by: timedelta) -> None:
        """Move it forward.

        Raises:
            ValueError: ``by`` is negative.
        """
        if by < timedelta(0):
            raise ValueError(f"a clock goes forward, not by {by}")
        with self._lock:
            self._ahead_ms += by // _MS
