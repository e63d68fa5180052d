"""Who is told when an attempt's time is up: one thread and a heap, for attempts of all executors."""

import heapq
import threading
import time
from collections.abc import Callable

from tailrace.worker._leases import LeaseKey

MAX_STALE = 64
"""How many limits of attempts that have ended are kept at least, before they are swept out."""
HARD_LIMIT_S = 5.0
"""How long an attempt whose time is up may take to end by itself, before it counts as one that cannot be stopped."""

OnLimit = Callable[[LeaseKey], None]


class TimeLimits:
    """Calls back at the soft limit of each attempt and again at the hard one. Thread-safe.

    Whoever is called decides whether the attempt still runs: it may end just then. To search the heap for each attempt
    that ends would cost too much, so its limits stay there until most of the heap is such.
    """

    def __init__(self, on_soft_limit: OnLimit, on_hard_limit: OnLimit, *, hard_limit_s: float = HARD_LIMIT_S) -> None:
        self._on_soft_limit = on_soft_limit
        self._on_hard_limit = on_hard_limit
        self._hard_limit_s = hard_limit_s
        self._changed = threading.Condition()
        self._due: list[tuple[float, int, OnLimit, LeaseKey]] = []
        self._watched: set[LeaseKey] = set()
        self._count = 0
        self._closed = False
        self._thread: threading.Thread | None = None

    def __len__(self) -> int:
        """Count the limits that are kept: at most two for each attempt, and some of such as have ended."""
        with self._changed:
            return len(self._due)

    def watch(self, key: LeaseKey, limit_s: float) -> None:
        """Begin to count the time of an attempt."""
        soft_at = time.monotonic() + limit_s
        with self._changed:
            self._begin(key)
            self._push(soft_at, self._on_soft_limit, key)
            self._push(soft_at + self._hard_limit_s, self._on_hard_limit, key)

    def hasten(self, key: LeaseKey) -> None:
        """Count from now to the hard limit of an attempt that is to stop, whether its time is limited or not."""
        with self._changed:
            self._begin(key)
            self._push(time.monotonic() + self._hard_limit_s, self._on_hard_limit, key)

    def forget(self, key: LeaseKey) -> None:
        """Count the time of an attempt no longer, as it has ended. Again: no effect."""
        with self._changed:
            self._watched.discard(key)
            if len(self._due) > 4 * len(self._watched) + MAX_STALE:
                self._due = [due for due in self._due if due[-1] in self._watched]
                heapq.heapify(self._due)

    def close(self) -> None:
        """Call nobody any more. Again: no effect."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _begin(self, key: LeaseKey) -> None:
        self._watched.add(key)
        if self._thread is None and not self._closed:
            self._thread = threading.Thread(target=self._run, name="tailrace-worker-time-limits", daemon=True)
            self._thread.start()

    def _push(self, due_at: float, on_limit: OnLimit, key: LeaseKey) -> None:
        self._count += 1  # keeps the heap from comparing callbacks
        heapq.heappush(self._due, (due_at, self._count, on_limit, key))
        self._changed.notify()

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
                    if key in self._watched:
                        return on_limit, key
                    continue
                self._changed.wait(rest_s)
            return None
