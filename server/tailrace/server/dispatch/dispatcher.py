"""Draws tasks from the store for consumers with room, without polling while there is nothing to draw.

Consumers that want the same queues in the same order form a pool, and a pool draws for all of them in one store call.
It draws while it has room and the store has, or may have, tasks: a partition that answered "drained" is left alone
until a queue is reported ready, or a second has passed, which makes up for a report that was lost. One that does not
answer is left alone too, and what it says late is handed out like any other: the other partitions do not wait for it.
"""

import asyncio
import random
import time
from collections.abc import Sequence

import structlog

from tailrace.server.coordinator.coordinator import Coordinator
from tailrace.server.dispatch.consumer import Consumer, Kind, count_that_has_room, kind_of, split
from tailrace.server.dispatch.holders import Holders
from tailrace.server.dispatch.session import LeaseKey
from tailrace.server.dispatch.take import IMPATIENCE_S, PATIENCE_S, Take, give_back
from tailrace.server.domain.errors import TailraceError
from tailrace.server.domain.lease import DELIVERY_LEASE_MS
from tailrace.server.store.base import MAX_ITEMS
from tailrace.server.store.changes import Change, EpochBreak, LeaseNews, QueueReady, TaskChanged
from tailrace.server.store.values import Delivery, Leased

LOOK_AGAIN_S = 1.0
STORE_BACKOFF_S = 0.5
OLDEST_DELIVERY_S = DELIVERY_LEASE_MS / 2000
"""A reply older than half the delivery lease (this process was stopped) is given back instead of handed out."""

logger = structlog.get_logger(__name__)


class _Pool:
    """Consumers that draw alike."""

    def __init__(self, coordinator: Coordinator, kind: Kind, tasks: asyncio.TaskGroup) -> None:
        self.queues = kind.queues
        self.consumers: list[Consumer] = []
        self._kind = kind
        self._coordinator = coordinator
        self._tasks = tasks
        self._partitions = list(range(coordinator.partitions))
        self._may_have_tasks = set(self._partitions)
        self._away = set[int]()
        """Partitions that have yet to answer, or refused to a moment ago."""
        self._blocked: int | None = None
        """The partition whose next task was too large for the room in bytes that there was."""
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
            if self._blocked is not None:
                # It is room that is missing. A smaller task that goes before the large one is found when next looking.
                return
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
            except Exception:
                logger.exception("draw_failed", queues=self.queues)
                await asyncio.sleep(STORE_BACKOFF_S * random.uniform(0.5, 1.5))
            await self._rest()

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(LOOK_AGAIN_S if self.room > 0 else None):
                await self._woken.wait()
        except TimeoutError:
            self._may_have_tasks.update(self._partitions)
        self._woken.clear()

    async def _draw(self) -> None:
        """Take tasks from every partition that may have some, as long as there is room.

        Where the next task is too large, nothing is taken from the other partitions either, until there is room for
        it: small ones would always find some, and the large one never would.
        """
        random.shuffle(self._partitions)
        self._partitions.sort(key=lambda partition: partition != self._blocked)
        patience_s = PATIENCE_S
        for partition in self._partitions:
            while partition in self._may_have_tasks and partition not in self._away and self.room > 0:
                draw = self._tasks.create_task(self._draw_from(partition))
                await asyncio.wait([draw], timeout=patience_s)
                if not draw.done():
                    patience_s = IMPATIENCE_S
                    self._leave_alone(partition, draw)
                elif (leased := draw.result()) is None:
                    self._let_rest(partition)
                elif leased.is_blocked:
                    self._blocked = partition
                    return
            if partition == self._blocked:
                self._blocked = None

    def _leave_alone(self, partition: int, draw: "asyncio.Task[Leased | None]") -> None:
        """Ask a partition nothing more until it has answered."""
        self._away.add(partition)

        def answered(draw: "asyncio.Task[Leased | None]") -> None:
            if not draw.cancelled() and draw.result() is None:
                self._let_rest(partition)
            else:
                self._is_back(partition)

        draw.add_done_callback(answered)

    def _let_rest(self, partition: int) -> None:
        """Ask a partition nothing for a moment."""
        self._away.add(partition)
        backoff_s = STORE_BACKOFF_S * random.uniform(0.5, 1.5)
        asyncio.get_running_loop().call_later(backoff_s, self._is_back, partition)

    def _is_back(self, partition: int) -> None:
        self._away.discard(partition)
        self._may_have_tasks.add(partition)
        self._woken.set()

    async def _draw_from(self, partition: int) -> Leased | None:
        """Take tasks and hand them out; None where the store does not answer."""
        try:
            return await self._lease_from(partition)
        except TailraceError as error:
            logger.warning("lease_failed", queues=self.queues, partition=partition, error=str(error))
        except Exception:
            logger.exception("lease_failed", queues=self.queues, partition=partition)
        return None

    async def _lease_from(self, partition: int) -> Leased:
        wakes = self._wakes
        asked_at = time.monotonic()
        loner = self._kind.loner
        leased = await self._coordinator.lease(
            partition,
            self.queues,
            min(self.room, MAX_ITEMS),
            start_immediately=self._kind.start_immediately,
            max_bytes=None if loner is None else loner.room_bytes,
            is_first_free=loner is not None and loner.holds_nothing,
            worker_id=self._kind.worker_id,
        )
        if leased.is_drained and wakes == self._wakes:
            self._may_have_tasks.discard(partition)
        await self._hand_out(leased.deliveries, is_fresh=time.monotonic() - asked_at < OLDEST_DELIVERY_S)
        return leased

    async def _hand_out(self, deliveries: Sequence[Delivery], *, is_fresh: bool) -> None:
        shares = split(self.consumers, len(deliveries)) if is_fresh else []
        begin = 0
        left_over: list[Delivery] = []
        for consumer, share in shares:
            portion = deliveries[begin : begin + share]
            count = count_that_has_room(consumer, portion)
            consumer.assign(portion[:count])
            left_over.extend(portion[count:])
            begin += share
        left_over.extend(deliveries[begin:])
        if left_over:
            # Whoever had room for these has gone meanwhile, or wants less than before.
            await give_back(self._coordinator, left_over)


class Dispatcher:
    """All the pools of this process."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self.holders = Holders()
        """Which sessions hold which lease."""
        self._pools: dict[Kind, _Pool] = {}
        self._kinds: dict[Consumer, Kind] = {}
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
        kind = self._kinds[consumer] = kind_of(consumer)
        if kind not in self._pools:
            pool = self._pools[kind] = _Pool(self._coordinator, kind, self._tasks)
            self._tasks.create_task(pool.run())
        pool = self._pools[kind]
        pool.consumers.append(consumer)
        pool.wake(is_ready=False)

    async def take(self, consumer: Consumer) -> list[Delivery]:
        """Take what is there right now for a consumer that does not join.

        Raises:
            StoreUnavailableError: No partition answered.
        """
        assert self._tasks is not None, "consumers take from a running dispatcher"
        return await Take(consumer, self._coordinator, self._tasks).run()

    def leave(self, consumer: Consumer) -> None:
        """Serve a consumer no longer. A second call does nothing."""
        kind = self._kinds.pop(consumer, None)
        if kind is None:
            return
        pool = self._pools[kind]
        pool.consumers.remove(consumer)
        if not pool.consumers:
            del self._pools[kind]
            pool.stop()

    def made_room(self, consumer: Consumer) -> None:
        """Hear that a consumer takes more than before, or that its limits are others."""
        kind = self._kinds.get(consumer)
        if kind is None:
            return
        if kind_of(consumer) == kind:
            self._pools[kind].wake(is_ready=False)
        else:
            self.leave(consumer)
            self.join(consumer)

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

    def mentioned(self, key: LeaseKey, *, is_over: bool = False) -> None:
        """Hear that a worker spoke of a lease in a call of its own, and whether it is held no longer.

        Its stream, if it has one here, then has that credit back.
        """
        for session in self.holders.of(key):
            session.mention(key)
        if is_over:
            self._pass_on(LeaseNews(task_id=key[0], lease_token=key[1], revocation=None))

    def _pass_on(self, news: LeaseNews) -> None:
        """Tell whoever holds the lease, and draw again where that made room."""
        for session in self.holders.of((news.task_id, news.lease_token)):
            session.hear(news)
            self.made_room(session)
