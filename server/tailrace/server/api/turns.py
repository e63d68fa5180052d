"""Store calls on behalf of one stream, and the answers to them in the order in which they were asked for."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

PATIENCE_S = 0.5
"""How long what a peer says next waits for the store to deal with what it said before."""
MAX_LATE_CALLS = 24
"""Beyond these whatever comes next waits, and with it the peer."""

Answer = TypeVar("Answer")


class Turns:
    """Lets what concerns one partition go on while another one does not answer.

    Calls are made in the order of asking, each a moment after the one before at the latest. Answers are given one after
    the other, so one that is late holds up the answers behind it, but not what the store does.
    """

    def __init__(self, on_late: Callable[[], None]) -> None:
        self._on_late = on_late
        self._line: deque[_Turn] = deque()
        self._calls: set[asyncio.Task[None]] = set()
        self._error: BaseException | None = None

    async def ask(self, call: Callable[[], Awaitable[Answer]], say: Callable[[Answer], None]) -> None:
        """Make a call and have its answer said; returns before that where it takes long.

        Raises:
            Exception: What the call raised, or one before it that was late.
        """
        turn = _Turn()
        self._line.append(turn)
        task = asyncio.create_task(self._make(call, say, turn))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        await asyncio.wait([task], timeout=PATIENCE_S if len(self._calls) <= MAX_LATE_CALLS else None)
        if not task.done():
            task.add_done_callback(lambda _: self._on_late())
        self._raise_error()

    async def all_answered(self) -> None:
        """Wait for the calls that are late.

        Raises:
            Exception: What one of them raised.
        """
        while self._calls:
            await asyncio.wait(self._calls)
        self._raise_error()

    def cancel(self) -> None:
        """Answer nothing more, where something was left to be answered. A second call does nothing."""
        for task in self._calls:
            task.cancel()

    async def _make(self, call: Callable[[], Awaitable[Answer]], say: Callable[[Answer], None], turn: "_Turn") -> None:
        try:
            answer = await call()
        except Exception as error:  # noqa: BLE001 - raised again where the next call is made, or all are waited for
            self._error = error
            turn.say = _nothing
        else:
            turn.say = partial(say, answer)
        while self._line and (say_next := self._line[0].say) is not None:
            self._line.popleft()
            say_next()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error


@dataclass(slots=True)
class _Turn:
    """The place of one answer in the line."""

    say: Callable[[], None] | None = None
    """Set once the answer has come."""


def _nothing() -> None:
    """Say nothing: the call brought no answer."""
