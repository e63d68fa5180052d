"""Which calls are repeated, when, and for how long.

Every call of TaskService is idempotent (submits by their task_id), so an unknown outcome is always safe to ask about
again. Pure but for the clock and the dice, which the tests bring along.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import grpc

from tailrace.client._status import CallStatus

# No answer, or none that counts. CANCELLED: gRPC's servers answer so when calls arrive faster than they are accepted;
# what the caller himself cancels never comes this far. DEADLINE_EXCEEDED: one try's share of the time ran out.
_RETRYABLE = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED})

# A connection that swallows the request must not use up the time for all the tries.
_MAX_TRY_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Pauses that double up to a cap."""

    initial_s: float = 0.1
    cap_s: float = 2.0

    def pause_s(self, failures: int, dice: float) -> float:
        """Return the pause after so many failures in a row, shortened by up to half by dice from 0 to 1."""
        doublings = min(failures - 1, 30)
        return float(min(self.cap_s, self.initial_s * 2**doublings)) * (0.5 + dice / 2)


CALL_BACKOFF = Backoff()
STREAM_BACKOFF = Backoff(cap_s=5.0)


def is_retryable(status: CallStatus) -> bool:
    """Tell whether the same call may do better a little later."""
    return status.code in _RETRYABLE and (status.pushback_ms is None or status.pushback_ms >= 0)


class Tries:
    """The tries of one unary call."""

    def __init__(
        self,
        *,
        timeout_s: float,
        repeat_for_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        dice: Callable[[], float] = random.random,
    ) -> None:
        """Start the clock.

        Args:
            timeout_s: How long the call may take, all tries together.
            repeat_for_s: How long from now on another try may start; 0: there is only one; None: as long as the call
                may take.
            clock: Seconds, monotonic.
            dice: From 0 to 1.
        """
        self._clock = clock
        self._dice = dice
        self.end_s = clock() + timeout_s
        """When the call's time is up, by the clock."""
        self.last_start_s = clock() + (timeout_s if repeat_for_s is None else min(timeout_s, repeat_for_s))
        """When the last try may start."""
        self.failures = 0
        self.is_exhausted = False
        """Whether the calls stopped for lack of time, not for what was answered."""
        self._unreached: CallStatus | None = None

    def timeout_s(self) -> float:
        """Return how long the try that starts now may take."""
        return max(0.0, min(_MAX_TRY_S, self.end_s - self._clock()))

    @property
    def waits_for_ready(self) -> bool:
        """Whether the next try should wait for a connection rather than fail for lack of one.

        Between calls that fail at once, gRPC's synchronous stack does not notice for seconds that it is connected.
        """
        return self._unreached is not None

    def verdict(self, status: CallStatus) -> CallStatus:
        """Say what the last try came to: one that waited for a connection in vain failed for lack of one."""
        waited_in_vain = status.code is grpc.StatusCode.DEADLINE_EXCEEDED
        return self._unreached if self._unreached is not None and waited_in_vain else status

    def pause_after(self, status: CallStatus) -> float | None:
        """Return how long to pause before the next try, in seconds; None when there must be none."""
        self.failures += 1
        if status.code is grpc.StatusCode.UNAVAILABLE and not status.reason:
            self._unreached = status
        elif status.code is not grpc.StatusCode.DEADLINE_EXCEEDED:
            self._unreached = None
        if not is_retryable(status):
            return None
        pause_s = CALL_BACKOFF.pause_s(self.failures, self._dice())
        if status.pushback_ms is not None:
            pause_s = max(pause_s, status.pushback_ms / 1000)
        self.is_exhausted = self._clock() + pause_s >= self.last_start_s
        return None if self.is_exhausted else pause_s
