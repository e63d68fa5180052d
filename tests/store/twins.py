"""Two stores that are asked the same, call by call, and have to answer alike."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

from tailrace.server.domain.detail import TaskDetail
from tailrace.server.domain.task import Place, TaskSnapshot
from tailrace.server.domain.transition import Transitions
from tailrace.server.store.base import Store
from tailrace.server.store.changes import Change, DrainRequested, EpochBreak, LeaseNews, QueueReady, TaskChanged
from tailrace.server.store.operators import QueueStats
from tests.store.harness import Harness
from tests.store.redis_harness import open_redis
from tests.store.sqlite_harness import open_sqlite
from tests.store.steps import repairs_of

HEAR_DEADLINE_S = 5.0
MANY = 1_000

Call = Callable[[Store], Awaitable[Any]]
Details = Mapping[str, TaskDetail]
"""The tasks of a partition that exist."""


class Twin:
    """One of the two, and what it tells."""

    def __init__(self, harness: Harness) -> None:
        self.harness = harness
        self._changes: AsyncIterator[Change] = harness.store.changes()
        self._observed = list[Transitions]()
        harness.store.observe(self._observed.append)
        self._sign = itertools.count()

    @property
    def store(self) -> Store:
        return self.harness.store

    async def reopen(self) -> None:
        await self.harness.reopen()
        self._changes = self.harness.store.changes()
        self.store.observe(self._observed.append)

    async def hear(self) -> list[Change]:
        """Take all that was told since the last time: what comes before the answer to a request to drain.

        Raises:
            TimeoutError: The request was not told.
        """
        sign = DrainRequested(f"sign-{next(self._sign)}")
        await self.store.drain_worker(sign.worker_id)
        heard: list[Change] = []
        async with asyncio.timeout(HEAR_DEADLINE_S):
            while not heard or heard[-1] != sign:
                heard.append(await anext(self._changes))
        return heard

    def observed(self) -> Mapping[str, Counter[Any]]:
        """Take the transitions told since the last time, however many calls of an operation they were spread over."""
        observed: dict[str, Counter[Any]] = {}
        for each in self._observed:
            told = [*each.accepted, *each.began, *each.ended]
            observed.setdefault(each.operation, Counter()).update(told)
            observed[each.operation].update(each.delivered)
        self._observed.clear()
        return {operation: counts for operation, counts in observed.items() if counts}

    async def look(self, partition: int, task_ids: Sequence[str]) -> tuple[Details, Sequence[QueueStats]]:
        """Read all that there is to see."""
        details = await self.store.read_details(partition, task_ids)
        assert [detail and detail.snapshot for detail in details] == await self.store.read_tasks(partition, task_ids)
        queues = await self.store.list_queues(partition, "", MANY)
        return {detail.snapshot.task_id: detail for detail in details if detail is not None}, queues


class Twins:
    """The embedded store and Redis, on the same clock."""

    def __init__(self, twins: Sequence[Twin], stack: AsyncExitStack, queues: Sequence[Mapping[str, str]]) -> None:
        self._twins = twins
        self._stack = stack
        self._queues = queues
        self._known: list[Details] = [{} for _ in queues]

    @classmethod
    async def open(cls, directory: Path, redis_url: str, queues: Sequence[Mapping[str, str]]) -> Self:
        """Open both; ``queues`` has, for each partition, every task id that there will be, and its queue."""
        async with AsyncExitStack() as stack:
            sqlite = await stack.enter_async_context(open_sqlite(directory, partitions=len(queues)))
            redis = await stack.enter_async_context(open_redis(redis_url, partitions=len(queues)))
            return cls([Twin(sqlite), Twin(redis)], stack.pop_all(), queues)

    async def close(self) -> None:
        await self._stack.aclose()

    @property
    def now_ms(self) -> int:
        return self._twins[0].harness.now_ms

    def known(self, partition: int) -> Details:
        """Give the tasks as they were after the latest call."""
        return self._known[partition]

    async def advance(self, ms: int) -> None:
        for twin in self._twins:
            await twin.harness.advance(ms)
        await self._look_everywhere()

    async def reopen(self) -> None:
        for twin in self._twins:
            await twin.reopen()
        await self._look_everywhere()

    async def ask(self, partition: int, call: Call) -> Any:
        """Ask both; compare their answers, all tasks and queues afterwards, and what was told. Returns the answer."""
        answers = [await call(twin.store) for twin in self._twins]
        assert answers[0] == answers[1], f"answered {answers[0]}\n     and {answers[1]}"
        observed = [twin.observed() for twin in self._twins]
        assert observed[0] == observed[1], f"observed {observed[0]}\n     and {observed[1]}"

        before = self._known[partition]
        await self._look(partition)
        heard = [await twin.hear() for twin in self._twins]
        for twin, changes in zip(self._twins, heard, strict=True):
            self._check_that_all_was_told(twin.store.description, changes, partition, before)
        news = [{change for change in changes if isinstance(change, LeaseNews)} for changes in heard]
        is_certain = not any(EpochBreak() in changes for changes in heard)
        assert news[0] == news[1] or not is_certain, f"told {news[0]}\n and {news[1]}"
        return answers[0]

    async def audit(self) -> None:
        """Have both look for what needs repair: there is nothing."""
        for twin in self._twins:
            for partition in range(len(self._queues)):
                assert await repairs_of(twin.store, partition) == {}, twin.store.description
        await self._look_everywhere()

    async def _look_everywhere(self) -> None:
        for partition in range(len(self._queues)):
            await self._look(partition)

    async def _look(self, partition: int) -> None:
        queue_of = self._queues[partition]
        seen = [await twin.look(partition, list(queue_of)) for twin in self._twins]
        assert seen[0] == seen[1], f"has {seen[0]}\nand {seen[1]}"
        details, queues = seen[0]
        places = Counter((queue_of[task_id], detail.snapshot.place) for task_id, detail in details.items())
        for stats in queues:
            counts = (stats.ready_count, stats.schedule_count, stats.lease_count)
            assert counts == tuple(places[stats.queue, place] for place in (Place.READY, Place.SCHEDULE, Place.LEASE))
        self._known[partition] = details

    def _check_that_all_was_told(
        self, description: str, changes: Sequence[Change], partition: int, before: Details
    ) -> None:
        if EpochBreak() in changes:
            return
        told = [change for change in changes if isinstance(change, TaskChanged)]
        queues = {change.queue for change in changes if isinstance(change, QueueReady)}
        for task_id, detail in self._known[partition].items():
            then, now = before[task_id].snapshot if task_id in before else None, detail.snapshot
            if then is None or then.revision != now.revision:
                assert any(_tells(change, now) for change in told), f"{description} did not tell {now}"
            elif then.progress != now.progress:
                assert any(change.task_id == task_id for change in told), f"{description} did not tell {now}"
            if _is_ready(now) and not _is_ready(then):
                queue = self._queues[partition][task_id]
                assert queue in queues, f"{description} did not tell that {queue} is ready"


def _tells(change: TaskChanged, now: TaskSnapshot) -> bool:
    if change.task_id != now.task_id or change.is_progress:
        return False
    return change.snapshot == now or (change.snapshot is None and change.is_done in {None, now.is_done})


def _is_ready(snapshot: TaskSnapshot | None) -> bool:
    return snapshot is not None and snapshot.place is Place.READY and not snapshot.is_queue_paused
