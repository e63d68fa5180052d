"""Waiting for a condition that no event announces."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

POLL_S = 0.02


def eventually(condition: Callable[[], T], what: str, *, within_s: float = 10.0) -> T:
    """Ask again and again until the answer is true, and return it.

    Raises:
        AssertionError: It was not true in time; ``what`` says what should have been.
    """
    deadline = time.monotonic() + within_s
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
        time.sleep(POLL_S)
    return answer


async def eventually_async(condition: Callable[[], T], what: str, *, within_s: float = 10.0) -> T:
    """Do as ``eventually`` does, on an event loop."""
    deadline = time.monotonic() + within_s
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
        await asyncio.sleep(POLL_S)
    return answer


async def eventually_answers(ask: Callable[[], Awaitable[T]], expected: T, *, within_s: float = 10.0) -> None:
    """Ask again and again until the answer is the expected one.

    Raises:
        AssertionError: It was another one all the time; the message has the last.
    """
    deadline = time.monotonic() + within_s
    while (answer := await ask()) != expected:
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {expected!r}, but {answer!r}"
        await asyncio.sleep(POLL_S)
