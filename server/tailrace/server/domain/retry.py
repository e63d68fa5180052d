"""Whether and when a failed attempt is tried again."""

import math
from dataclasses import dataclass

DEFAULT_INITIAL_BACKOFF_MS = 1_000
DEFAULT_MAX_BACKOFF_MS = 300_000
DEFAULT_BACKOFF_MULTIPLIER = 2.0
DEFAULT_MAX_LOST_LEASES = 3
JITTER_STEPS = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often a task may fail and how long it rests in between; every default already filled in."""

    max_attempts: int
    """Attempts that may fail, the first included; at least 1."""
    initial_backoff_ms: int = DEFAULT_INITIAL_BACKOFF_MS
    max_backoff_ms: int = DEFAULT_MAX_BACKOFF_MS
    backoff_multiplier: float = DEFAULT_BACKOFF_MULTIPLIER
    non_retryable_types: tuple[str, ...] = ()

    def allows_retry(self, *, failed_attempts: int, failure_type: str) -> bool:
        """Tell whether another attempt may follow the one that was the ``failed_attempts``-th to fail."""
        return failed_attempts < self.max_attempts and failure_type not in self.non_retryable_types

    def backoff_ms(self, *, failed_attempts: int, jitter: int) -> int:
        """Tell how long to wait after the ``failed_attempts``-th failure.

        ``min(max_backoff, initial_backoff * multiplier^(failed_attempts - 1))``, times a factor from 0.5 to 1 that
        ``jitter`` (0 to 65,535) picks. Both stores leave the power to the C library, so that they round alike.
        """
        try:
            growth = self.backoff_multiplier ** (failed_attempts - 1)
        except OverflowError:
            growth = math.inf
        backoff = min(self.initial_backoff_ms * growth, self.max_backoff_ms) if self.initial_backoff_ms else 0
        return int(backoff * (0.5 + 0.5 * jitter / JITTER_STEPS))


NO_RETRY = RetryPolicy(max_attempts=1)
"""What holds where neither the submitter nor the worker declared a policy."""
