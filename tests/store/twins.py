"""Two stores that are asked the same, call by call, and have to answer alike."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

from tailrace.server.domain.task import Place, TaskSnapshot
from tailrace.server.store.base import Store
from tailrace.server.store.changes import Change, EpochBreak, LeaseNews, QueueReady, TaskChanged
from tests.store.harness import Harness
from tests.store.redis_harness import open_redis
from tests.store.sqlite_harness import open_sqlite

HEAR_DEADLINE_S = 5.0

Call = Callable[[Store], Awaitable[Any]]
Snapshots = Mapping[str, TaskSnapshot]


class Twin:
    """One of the two, and what it tells."""

    def __init__(self, harness: Harness) -> None:
        self.harness = harness
        self._changes: AsyncIterator[Change] = harness.store.changes()

    async def reopen(self) -> None:
        await self.harness.reopen()
        self._changes = self.harness.store.changes()

    async def hear(self, revised: Snapshots, ready: set[str]) -> None:
        """Take changes until these tasks, as they are now, and these queues were told.

        Raises:
            AssertionError: One of them was not.
        """
        tasks, queues = dict(revised), set(ready)
        try:
            async with asyncio.timeout(HEAR_DEADLINE_S):
                while tasks or queues:
                    change = await anext(self._changes)
                    if isinstance(change, EpochBreak):
                        return
                    if isinstance(change, QueueReady):
                        queues.discard(change.queue)
                    elif isinstance(change, LeaseNews):
                        continue
                    elif _is_true(change, tasks.get(change.task_id)):
                        del tasks[change.task_id]
        except TimeoutError:
            raise AssertionError(f"{self.harness.store.description} told nothing of {[*tasks, *queues]}") from None


def _is_true(change: TaskChanged, now: TaskSnapshot | None) -> bool:
    if now is None:
        return False
    return change.snapshot == now or (change.snapshot is None and change.is_done in {None, now.is_done})


class Twins:
    """The embedded store and Redis, on the same clock."""

    def __init__(self, twins: Sequence[Twin], stack: AsyncExitStack, queues: Sequence[Mapping[str, str]]) -> None:
        self._twins = twins
        self._stack = stack
        self._queues = queues
        self._known: dict[str, TaskSnapshot] = {}

    @classmethod
    async def open(cls, directory: Path, redis_url: str, queues: Sequence[Mapping[str, str]]) -> Self:
        """Open both; ``queues`` has, for each partition, every task id that there will be, and its queue."""
        async with AsyncExitStack() as stack:
            sqlite = await stack.enter_async_context(open_sqlite(directory, partitions=len(queues)))
            redis = await stack.enter_async_context(open_redis(redis_url, partitions=len(queues)))
            return cls([Twin(sqlite), Twin(redis)], stack.pop_all(), queues)

    async def close(self) -> None:
        await self._stack.aclose()

    async def advance(self, ms: int) -> None:
        for twin in self._twins:
            await twin.harness.advance(ms)
        await self._compare_tasks()

    async def reopen(self) -> None:
        for twin in self._twins:
            await twin.reopen()
        await self._compare_tasks()

    async def ask(self, call: Call) -> Any:
        """Ask both; compare their answers, all tasks afterwards, and what was told. Returns the answer."""
        answers = [await call(twin.harness.store) for twin in self._twins]
        assert answers[0] == answers[1]

        before = self._known
        await self._compare_tasks()
        revised = {task_id: now for task_id, now in self._known.items() if _is_revised(before.get(task_id), now)}
        became_ready = {task_id for task_id, now in self._known.items() if _became_ready(before.get(task_id), now)}
        ready = {queue for queues in self._queues for task_id, queue in queues.items() if task_id in became_ready}
        for twin in self._twins:
            await twin.hear(revised, ready)
        return answers[0]

    async def _compare_tasks(self) -> None:
        known: list[dict[str, TaskSnapshot]] = []
        for twin in self._twins:
            snapshots = [
                snapshot
                for partition, queues in enumerate(self._queues)
                for snapshot in await twin.harness.store.read_tasks(partition, list(queues))
            ]
            known.append({snapshot.task_id: snapshot for snapshot in snapshots if snapshot is not None})
        assert known[0] == known[1]
        self._known = known[0]


def _is_revised(before: TaskSnapshot | None, now: TaskSnapshot) -> bool:
    return before is None or before.revision != now.revision


def _became_ready(before: TaskSnapshot | None, now: TaskSnapshot) -> bool:
    return now.place is Place.READY and (before is None or before.place is not Place.READY)
