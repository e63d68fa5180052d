"""The line of changes from a store to whoever listens, bounded."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from tailrace.server.store.changes import Change, EpochBreak

CAPACITY = 100_000


class ChangeFeed:
    """A queue of changes with one reader. When it overflows, what it held becomes one EpochBreak.

    Not safe across threads: put from the event loop only.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._changes: deque[Change] = deque()
        self._arrived = asyncio.Event()
        self._is_closed = False

    def put(self, change: Change) -> None:
        """Add a change; never waits."""
        if len(self._changes) >= self._capacity:
            self._changes.clear()
            self._changes.append(EpochBreak())
        self._changes.append(change)
        self._arrived.set()

    def close(self) -> None:
        """End the iteration once what is in the feed has been read."""
        self._is_closed = True
        self._arrived.set()

    async def changes(self) -> AsyncIterator[Change]:
        """Iterate until the feed is closed."""
        while True:
            while self._changes:
                yield self._changes.popleft()
            if self._is_closed:
                return
            self._arrived.clear()
            await self._arrived.wait()
