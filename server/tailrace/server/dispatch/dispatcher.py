"""Draws tasks from the store for consumers with room, without polling while there is nothing to draw.

Consumers that want the same queues in the same order form a pool, and a pool draws for all of them in one store call.
It draws while it has room and the store has, or may have, tasks: a partition that answered "drained" is left alone
until a queue is reported ready, or a second has passed, which makes up for a report that was lost.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from typing import Protocol

import structlog

from tailrace.server.coordinator.coordinator import Coordinator
from tailrace.server.domain.errors import TailraceError
from tailrace.server.domain.lease import DELIVERY_LEASE_MS
from tailrace.server.store.base import MAX_ITEMS
from tailrace.server.store.changes import Change, EpochBreak, LeaseNews, QueueReady, TaskChanged
from tailrace.server.store.values import Delivery, Release

LOOK_AGAIN_S = 1.0
STORE_BACKOFF_S = 0.5
OLDEST_DELIVERY_S = DELIVERY_LEASE_MS / 2000
"""A reply older than half the delivery lease (this process was stopped) is given back instead of handed out."""

logger = structlog.get_logger(__name__)


class Consumer(Protocol):
    """Somebody who takes tasks: an open worker stream, or a call that waits for some."""

    @property
    def queues(self) -> tuple[str, ...]:
        """Queues to draw from, most wanted first."""

    @property
    def start_immediately(self) -> bool:
        """Whether tasks count as started on delivery."""

    @property
    def room(self) -> int:
        """How many more tasks it takes right now."""

    def assign(self, deliveries: Sequence[Delivery]) -> None:
        """Take tasks, at most ``room`` of them; never waits."""

    def hear(self, news: LeaseNews) -> bool:
        """Take news of a lease; tells whether it is this consumer's. Never waits."""


class _Pool:
    """Consumers that draw alike."""

    def __init__(self, coordinator: Coordinator, queues: tuple[str, ...], *, start_immediately: bool) -> None:
        self.queues = queues
        self.consumers: list[Consumer] = []
        self._coordinator = coordinator
        self._start_immediately = start_immediately
        self._partitions = list(range(coordinator.partitions))
        self._may_have_tasks = set(self._partitions)
        self._wakes = 0
        self._woken = asyncio.Event()
        self._is_stopped = False

    @property
    def room(self) -> int:
        return sum(consumer.room for consumer in self.consumers)

    def wake(self, *, is_ready: bool) -> None:
        """Look for work again: room was made or, with ``is_ready``, tasks may have come."""
        if is_ready:
            self._wakes += 1
            self._may_have_tasks.update(self._partitions)
        self._woken.set()

    def stop(self) -> None:
        """End ``run`` once the store call under way, if any, was answered: what it brings must be given back."""
        self._is_stopped = True
        self._woken.set()

    async def run(self) -> None:
        """Draw until stopped."""
        while not self._is_stopped:
            try:
                await self._draw()
            except TailraceError as error:
                logger.warning("lease_failed", queues=self.queues, error=str(error))
                await asyncio.sleep(STORE_BACKOFF_S * random.uniform(0.5, 1.5))
                continue
            except Exception:
                logger.exception("lease_failed", queues=self.queues)
                await asyncio.sleep(STORE_BACKOFF_S * random.uniform(0.5, 1.5))
                continue
            await self._rest()

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(LOOK_AGAIN_S if self.room > 0 else None):
                await self._woken.wait()
        except TimeoutError:
            self._may_have_tasks.update(self._partitions)
        self._woken.clear()

    async def _draw(self) -> None:
        """Take tasks from every partition that may have some, as long as there is room."""
        random.shuffle(self._partitions)
        for partition in self._partitions:
            while partition in self._may_have_tasks and (room := self.room) > 0:
                wakes = self._wakes
                asked_at = time.monotonic()
                leased = await self._coordinator.lease(
                    partition, self.queues, min(room, MAX_ITEMS), start_immediately=self._start_immediately
                )
                if leased.is_drained and wakes == self._wakes:
                    self._may_have_tasks.discard(partition)
                is_fresh = time.monotonic() - asked_at < OLDEST_DELIVERY_S
                await self._hand_out(leased.deliveries, is_fresh=is_fresh)

    async def _hand_out(self, deliveries: Sequence[Delivery], *, is_fresh: bool) -> None:
        shares = _shares(self.consumers, len(deliveries)) if is_fresh else []
        begin = 0
        for consumer, share in shares:
            consumer.assign(deliveries[begin : begin + share])
            begin += share
        if begin < len(deliveries):
            # Whoever had room for these has gone meanwhile.
            await give_back(self._coordinator, deliveries[begin:])


class Dispatcher:
    """All the pools of this process."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self._pools: dict[tuple[tuple[str, ...], bool], _Pool] = {}
        self._tasks: asyncio.TaskGroup | None = None

    @property
    def consumer_count(self) -> int:
        """How many consumers are being served."""
        return sum(len(pool.consumers) for pool in self._pools.values())

    async def run(self) -> None:
        """Keep the pools drawing, until cancelled; what they draw just then comes back after the delivery lease.

        Consumers can join from the first step on.
        """
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            await asyncio.get_running_loop().create_future()

    def join(self, consumer: Consumer) -> None:
        """Have a consumer served until it leaves."""
        assert self._tasks is not None, "consumers join a running dispatcher"
        key = (consumer.queues, consumer.start_immediately)
        if key not in self._pools:
            pool = _Pool(self._coordinator, consumer.queues, start_immediately=consumer.start_immediately)
            self._pools[key] = pool
            self._tasks.create_task(pool.run())
        pool = self._pools[key]
        pool.consumers.append(consumer)
        pool.wake(is_ready=False)

    def leave(self, consumer: Consumer) -> None:
        """Serve a consumer no longer. A second call does nothing."""
        key = (consumer.queues, consumer.start_immediately)
        pool = self._pools.get(key)
        if pool is None or consumer not in pool.consumers:
            return
        pool.consumers.remove(consumer)
        if not pool.consumers:
            del self._pools[key]
            pool.stop()

    def made_room(self, consumer: Consumer) -> None:
        """Hear that a consumer takes more than before."""
        pool = self._pools.get((consumer.queues, consumer.start_immediately))
        if pool is not None:
            pool.wake(is_ready=False)

    def apply(self, change: Change) -> None:
        """Take in what the store says; never waits."""
        # Most news are of tasks: those must not cost more the more pools there are.
        if isinstance(change, TaskChanged):
            return
        if isinstance(change, LeaseNews):
            self._pass_on(change)
        elif isinstance(change, EpochBreak | QueueReady):
            for pool in self._pools.values():
                if isinstance(change, EpochBreak) or change.queue in pool.queues:
                    pool.wake(is_ready=True)

    def _pass_on(self, news: LeaseNews) -> None:
        """Tell whoever holds the lease, and draw again if that made room."""
        for pool in self._pools.values():
            if any(consumer.hear(news) for consumer in pool.consumers):
                pool.wake(is_ready=False)
                return


async def give_back(coordinator: Coordinator, deliveries: Sequence[Delivery]) -> None:
    """Release deliveries that reached nobody. What cannot be released comes back after its delivery lease."""
    await coordinator.release([Release(task_id=d.task_id, lease_token=d.lease_token) for d in deliveries])


def _shares(consumers: Sequence[Consumer], count: int) -> list[tuple[Consumer, int]]:
    """Split ``count`` tasks evenly over consumers, to nobody more than it has room for."""
    takers = sorted((consumer for consumer in consumers if consumer.room > 0), key=lambda consumer: consumer.room)
    shares = []
    for index, consumer in enumerate(takers):
        # The smallest go first: what they cannot take is spread over the rest, and a lone task goes to the most room.
        share = min(consumer.room, count // (len(takers) - index))
        shares.append((consumer, share))
        count -= share
    return [(consumer, share) for consumer, share in shares if share > 0]
