"""Answers to the submits of one Watch stream that were not written yet, in the order received."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from tailrace.server.domain.limits import MAX_BATCH_ITEMS
from tailrace.v1 import task_service_pb2 as pb

MAX_WAITING_ANSWERS = 4 * MAX_BATCH_ITEMS


@dataclass(frozen=True, slots=True)
class WatchAnswer:
    """One answer."""

    item: pb.SubmitItem
    expected_id: str | None
    """The task of which nothing may be told before; None where there is none."""


class WatchAnswers:
    """Bounded by whoever puts answers in waiting for room first."""

    def __init__(self) -> None:
        self._waiting: deque[WatchAnswer] = deque()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._is_closed = False

    def put(self, answers: Sequence[WatchAnswer]) -> None:
        """Add answers."""
        self._waiting.extend(answers)
        if len(self._waiting) >= MAX_WAITING_ANSWERS and not self._is_closed:
            self._has_room.clear()

    def cut(self) -> list[WatchAnswer]:
        """Take as many as go into one message; they are small."""
        answers = [self._waiting.popleft() for _ in range(min(MAX_BATCH_ITEMS, len(self._waiting)))]
        if len(self._waiting) < MAX_WAITING_ANSWERS:
            self._has_room.set()
        return answers

    async def wait_for_room(self) -> None:
        """Return when few enough answers wait, or when nobody writes them any more."""
        await self._has_room.wait()

    def close(self) -> None:
        """Keep nobody waiting for room: hardly any more answers are put in."""
        self._is_closed = True
        self._has_room.set()
