"""The line of changes from a store to whoever listens, bounded."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from tailrace.server.store.changes import Change, DrainRequested, EpochBreak, StoreEmptied

CAPACITY = 100_000
_KEPT = (StoreEmptied, DrainRequested, asyncio.Event)


class ChangeFeed:
    """A queue of changes with one reader. When it overflows, what it held becomes one EpochBreak.

    What an EpochBreak does not imply is kept, as there is little of it.

    Not safe across threads: put from the event loop only.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._changes: deque[Change | asyncio.Event] = deque()
        self._arrived = asyncio.Event()
        self._is_closed = False

    def put(self, change: Change) -> None:
        """Add a change; never waits."""
        if len(self._changes) >= self._capacity:
            kept = [item for item in self._changes if isinstance(item, _KEPT)]
            self._changes.clear()
            self._changes += (*kept, EpochBreak())
        self._append(change)

    def close(self) -> None:
        """End the iteration once what is in the feed has been read."""
        self._is_closed = True
        self._arrived.set()

    def mark(self) -> asyncio.Event:
        """Make an event that is set once the reader has dealt with all that is in the feed now."""
        mark = asyncio.Event()
        self._append(mark)
        return mark

    async def changes(self) -> AsyncIterator[Change]:
        """Iterate until the feed is closed."""
        while True:
            while self._changes:
                item = self._changes.popleft()
                if isinstance(item, asyncio.Event):
                    item.set()
                else:
                    yield item
            if self._is_closed:
                return
            self._arrived.clear()
            await self._arrived.wait()

    def _append(self, item: Change | asyncio.Event) -> None:
        self._changes.append(item)
        self._arrived.set()
