"""Task ids: UUIDv7 (RFC 9562, section 5.7), made on this side so that a repeated submit is safe."""

import os
import secrets
import threading
import time
from collections.abc import Callable
from uuid import UUID

_NS_PER_MS = 1_000_000
_VERSION_AND_VARIANT = (0x7 << 76) | (0b10 << 62)


class TaskIds:
    """A source of task ids that sort in the order in which this process made them.

    The twelve bits after the milliseconds hold the fraction of the millisecond (RFC 9562, section 6.2, method 3);
    where the clock stands still or steps back, the last value is counted up. 62 random bits keep processes apart.
    """

    def __init__(self, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._clock_ns = clock_ns
        self._lock = threading.Lock()
        self._last_tick = 0

    def new(self) -> str:
        """Make an id. Safe to call from any thread."""
        tick = self._next_tick()
        milliseconds, fraction = tick >> 12, tick & 0xFFF
        bits = (milliseconds << 80) | (fraction << 64) | _VERSION_AND_VARIANT | secrets.randbits(62)
        return str(UUID(int=bits))

    def _next_tick(self) -> int:
        milliseconds, rest_ns = divmod(self._clock_ns(), _NS_PER_MS)
        tick = (milliseconds << 12) | (rest_ns << 12) // _NS_PER_MS
        with self._lock:
            self._last_tick = max(tick, self._last_tick + 1)
            return self._last_tick

    def begin_anew(self) -> None:
        """Go on in a forked process, whoever held the lock in the other."""
        self._lock = threading.Lock()


_task_ids = TaskIds()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_task_ids.begin_anew)


def new_task_id() -> str:
    """Make a task id that sorts after those this process made before."""
    return _task_ids.new()
