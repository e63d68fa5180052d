"""Who is told when an attempt's time is up: one thread and a heap, for attempts of all executors."""

import heapq
import threading
import time
from collections.abc import Callable

from tailrace.worker._leases import LeaseKey

HARD_LIMIT_S = 5.0
"""How long an attempt whose time is up may take to end by itself, before it counts as one that cannot be stopped."""

OnLimit = Callable[[LeaseKey], None]


class TimeLimits:
    """Calls back at the soft limit of each attempt and again at the hard one. Thread-safe.

    Whoever is called decides whether the attempt still runs: limits are not taken back when an attempt ends, which
    would cost a search, but forgotten when they come up.
    """

    def __init__(self, on_soft_limit: OnLimit, on_hard_limit: OnLimit, *, hard_limit_s: float = HARD_LIMIT_S) -> None:
        self._on_soft_limit = on_soft_limit
        self._on_hard_limit = on_hard_limit
        self._hard_limit_s = hard_limit_s
        self._changed = threading.Condition()
        self._due: list[tuple[float, int, OnLimit, LeaseKey]] = []
        self._count = 0
        self._closed = False
        self._thread: threading.Thread | None = None

    def watch(self, key: LeaseKey, limit_s: float) -> None:
        """Begin to count the time of an attempt."""
        soft_at = time.monotonic() + limit_s
        with self._changed:
            if self._closed:
                return
            self._push(soft_at, self._on_soft_limit, key)
            self._push(soft_at + self._hard_limit_s, self._on_hard_limit, key)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="tailrace-worker-time-limits", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self) -> None:
        """Call nobody any more. Again: no effect."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _push(self, due_at: float, on_limit: OnLimit, key: LeaseKey) -> None:
        self._count += 1  # keeps the heap from comparing callbacks
        heapq.heappush(self._due, (due_at, self._count, on_limit, key))

    def _run(self) -> None:
        while (due := self._next_due()) is not None:
            on_limit, key = due
            on_limit(key)

    def _next_due(self) -> tuple[OnLimit, LeaseKey] | None:
        """Wait for the next limit; None once closed."""
        with self._changed:
            while not self._closed:
                rest_s = self._due[0][0] - time.monotonic() if self._due else None
                if rest_s is not None and rest_s <= 0:
                    _, _, on_limit, key = heapq.heappop(self._due)
                    return on_limit, key
                self._changed.wait(rest_s)
            return None
