"""Listening to what a store says has changed."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from tailrace.server.store.base import Store
from tailrace.server.store.changes import Change, QueueReady, TaskChanged

DEADLINE_S = 10.0


class Listener:
    """Keeps all that a store has told."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self._arrived = asyncio.Condition()

    async def hears(self, is_it: Callable[[Change], bool]) -> Change:
        """Wait for a change, one that has come already included.

        Raises:
            TimeoutError: It did not come.
        """
        async with asyncio.timeout(DEADLINE_S), self._arrived:
            while True:
                for change in self.changes:
                    if is_it(change):
                        return change
                await self._arrived.wait()

    async def hears_exactly(self, change: Change) -> None:
        await self.hears(lambda heard: heard == change)

    async def hears_of(self, task_id: str) -> TaskChanged:
        change = await self.hears(lambda change: isinstance(change, TaskChanged) and change.task_id == task_id)
        assert isinstance(change, TaskChanged)
        return change

    def of_task(self, task_id: str) -> list[TaskChanged]:
        return [change for change in self.changes if isinstance(change, TaskChanged) and change.task_id == task_id]

    def queues(self) -> list[str]:
        return [change.queue for change in self.changes if isinstance(change, QueueReady)]

    async def run(self, store: Store) -> None:
        async for change in store.changes():
            async with self._arrived:
                self.changes.append(change)
                self._arrived.notify_all()


@asynccontextmanager
async def listening_to(store: Store) -> AsyncIterator[Listener]:
    """Listen as long as the block lasts."""
    listener = Listener()
    task = asyncio.create_task(listener.run(store))
    try:
        yield listener
    finally:
        task.cancel()
        await asyncio.wait({task})
