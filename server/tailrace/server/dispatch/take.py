"""Tasks for one call that does not wait, of all partitions, so that none of them is preferred."""

import asyncio
import random
from collections.abc import Sequence

import structlog

from tailrace.server.coordinator.coordinator import Coordinator
from tailrace.server.dispatch.consumer import Consumer
from tailrace.server.domain.errors import TailraceError
from tailrace.server.store.values import Delivery, Release

PATIENCE_S = 1.0
"""How long the other partitions wait for one that does not answer."""
IMPATIENCE_S = 0.05
"""Likewise for any further one, as most likely they live in the same place."""

logger = structlog.get_logger(__name__)


class Take:
    """Asks partition after partition until there is enough. What comes too late for the answer goes back."""

    def __init__(self, consumer: Consumer, coordinator: Coordinator, tasks: asyncio.TaskGroup) -> None:
        self._consumer = consumer
        self._coordinator = coordinator
        self._tasks = tasks
        self._taken: list[Delivery] = []
        self._answers = 0
        self._errors: list[Exception] = []
        self._is_over = False

    async def run(self) -> list[Delivery]:
        """Take at most as many tasks as there is room for.

        Raises:
            StoreUnavailableError: No partition answered.
        """
        room = self._consumer.room
        try:
            await self._ask_all(room)
        except asyncio.CancelledError:
            self._is_over = True
            await give_back(self._coordinator, self._taken)
            raise
        self._is_over = True
        # What one of them brought late may be more than what was still missing.
        await give_back(self._coordinator, self._taken[room:])
        if not self._answers and self._errors:
            raise self._errors[0]
        return self._taken[:room]

    async def _ask_all(self, room: int) -> None:
        partitions = range(self._coordinator.partitions)
        patience_s = PATIENCE_S
        late = set[asyncio.Task[None]]()
        for partition in random.sample(partitions, len(partitions)):
            if len(self._taken) >= room:
                break
            asked = self._tasks.create_task(self._ask(partition, room - len(self._taken)))
            await asyncio.wait([asked], timeout=patience_s)
            if not asked.done():
                patience_s = IMPATIENCE_S
                late.add(asked)
        if late:
            # Most of them may just be slow, and what they bring after the answer would have to go back.
            _, late = await asyncio.wait(late, timeout=PATIENCE_S)
        while late and not self._answers:
            _, late = await asyncio.wait(late, return_when=asyncio.FIRST_COMPLETED)

    async def _ask(self, partition: int, count: int) -> None:
        try:
            leased = await self._coordinator.lease(
                partition,
                self._consumer.queues,
                count,
                start_immediately=self._consumer.start_immediately,
                worker_id=self._consumer.worker_id,
            )
            self._answers += 1
            if self._is_over:
                await give_back(self._coordinator, leased.deliveries)
            else:
                self._taken.extend(leased.deliveries)
        except TailraceError as error:
            self._errors.append(error)
        except Exception as error:
            logger.exception("lease_failed", queues=self._consumer.queues, partition=partition)
            self._errors.append(error)


async def give_back(coordinator: Coordinator, deliveries: Sequence[Delivery]) -> None:
    """Release deliveries that reached nobody. What cannot be released comes back after its delivery lease."""
    await coordinator.release([Release(task_id=d.task_id, lease_token=d.lease_token) for d in deliveries])
