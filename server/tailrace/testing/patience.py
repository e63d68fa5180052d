"""Waiting, in a test, for what no event announces."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

T = TypeVar("T")

_PAUSE_S = 0.02


def eventually(condition: Callable[[], T], timeout: float | timedelta = 10.0) -> T:
    """Ask again and again until the answer is true, and return it.

    For states on the way, such as RETRY. The end of a task is waited for with ``get`` or ``wait``.

    Args:
        condition: Asked in this thread, some fifty times a second at most.
        timeout: Seconds or a timedelta, of real time.

    Raises:
        AssertionError: It was not true in time; the text has the last answer.
    """
    timeout_s = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    deadline_s = time.monotonic() + timeout_s
    while not (answer := condition()):
        if time.monotonic() >= deadline_s:
            raise AssertionError(f"not true within {timeout_s:g} s; the last answer was {answer!r}")
        time.sleep(_PAUSE_S)
    return answer
