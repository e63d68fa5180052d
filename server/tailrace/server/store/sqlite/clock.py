"""The embedded store's own clock: that of the machine, but never backwards."""

import threading
import time
from collections.abc import Callable
from typing import Final

_NS_A_MS: Final = 1_000_000
_CATCHING_UP: Final = (9, 10)
"""How fast it goes while the machine's clock is behind."""


class SteadyClock:
    """Follows the machine's clock forwards at once, but does not follow it back.

    Set back, it would let leases and delays last longer by as much. So this one goes on by itself then, a little slower
    than time does, until the machine's clock has caught up. May be asked from several threads.
    """

    def __init__(
        self,
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns
        self._lock = threading.Lock()
        self._asked_ns = monotonic_ns()
        self._now_ns = wall_ns()

    def __call__(self) -> int:
        """Tell the time in ms since the epoch."""
        with self._lock:
            asked_ns = self._monotonic_ns()
            part, whole = _CATCHING_UP
            went_on_ns = self._now_ns + (asked_ns - self._asked_ns) * part // whole
            self._asked_ns, self._now_ns = asked_ns, max(self._wall_ns(), went_on_ns)
            return self._now_ns // _NS_A_MS

    def go_on_from(self, ms: int) -> int:
        """Be no earlier than this from now on, and tell how many ms ahead of the machine's clock that is."""
        with self._lock:
            self._now_ns = max(self._now_ns, ms * _NS_A_MS)
            return max(0, self._now_ns - self._wall_ns()) // _NS_A_MS
