"""RetryLater: what a task raises when it wants to be tried again at a time of its own choosing."""

from datetime import timedelta

MAX_DELAY = timedelta(days=30)


class RetryLater(Exception):  # noqa: N818 (it asks for something, as StopIteration does)
    """Ends an attempt and asks for the next one after ``delay``, instead of the retry policy's backoff.

    It is a failed attempt like any other: the policy, the submitter's or the task's own, decides whether there is a
    next one, and without a policy there is none. ``dont_retry_on`` and ``retry_on`` do not apply to it. ``raise
    RetryLater(...) from error`` keeps the reason.
    """

    delay: timedelta
    """How long to wait; the next attempt may begin later, never sooner."""

    def __init__(self, message: str = "", *, delay: timedelta) -> None:
        """Choose the delay.

        Args:
            message: For people, as the failure's message.
            delay: From zero to 30 days.

        Raises:
            TypeError: The delay is not a timedelta.
            ValueError: The delay is out of bounds.
        """
        if not isinstance(delay, timedelta):
            raise TypeError(f"delay must be a timedelta, not {type(delay).__name__}")
        if not timedelta(0) <= delay <= MAX_DELAY:
            raise ValueError(f"delay must be from zero to {MAX_DELAY.days} days, not {delay}")
        super().__init__(message or f"to be tried again in {delay}")
        self.delay = delay


# The name under which clients and policies know the failure.
RetryLater.__module__ = "tailrace.worker"
