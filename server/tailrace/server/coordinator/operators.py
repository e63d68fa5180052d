"""What operators, and whoever looks tasks up, may ask for: one method a use case.

Whatever spans several partitions is gathered from them one by one and is no snapshot: what changes meanwhile may be
seen before or after its change.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from tailrace.server.coordinator.failures import PURGED, revoked
from tailrace.server.coordinator.in_time import in_time
from tailrace.server.coordinator.page_of_tasks import TaskPage, TaskPager
from tailrace.server.coordinator.queue_stats import QueueTotals, just_before, merge
from tailrace.server.domain import limits
from tailrace.server.domain.detail import TaskDetail
from tailrace.server.domain.errors import (
    TaskNotFoundError,
    TaskNotResubmittableError,
    TaskNotTerminalError,
    WorkerNotFoundError,
)
from tailrace.server.domain.ids import partition_of
from tailrace.server.domain.task import TaskState
from tailrace.server.store.operators import OperatorStore, QueueStats, WorkerPresence

QUEUE_STEP = 200
"""Queues that one store call tells of."""
MAX_UNFINISHED_PURGES = 1_000
"""Queues of which it is remembered how far the purge came, for the next call to go on there."""
CONFIRM_PAUSES_S = (0.02, 0.25, 0.5, 1.0)
"""How long a drain waits for its confirmation before it is told again, or given up on."""

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgeTotals:
    """What one purge did, over all partitions."""

    count: int
    """Tasks revoked; where it only counts, those that would have been."""
    remaining: int


class Operators:
    """See the module's text. Every method raises StoreUnavailableError when the store does not answer."""

    def __init__(self, store: OperatorStore, partitions: int) -> None:
        self._store = store
        self._partitions = partitions
        self._unfinished_purges: dict[str, tuple[int, str]] = {}

    async def get_task(self, task_id: str) -> TaskDetail:
        """Read one whole record.

        Raises:
            TaskNotFoundError: There is none.
        """
        partition = partition_of(task_id, self._partitions)
        (detail,) = await in_time(self._store.read_details(partition, [task_id]))
        if detail is None:
            raise TaskNotFoundError(task_id)
        return detail

    async def get_resubmittable(self, task_id: str) -> TaskDetail:
        """Read the whole record of a task that can be run again.

        Raises:
            TaskNotFoundError: There is none.
            TaskNotResubmittableError: It is in neither FAILURE nor REVOKED.
        """
        detail = await self.get_task(task_id)
        state = detail.snapshot.state
        if state not in {TaskState.FAILURE, TaskState.REVOKED}:
            raise TaskNotResubmittableError(task_id, state)
        return detail

    async def list_tasks(
        self, place: str, page_size: int, *, passes: Callable[[TaskDetail], bool] | None, with_payloads: bool
    ) -> TaskPage:
        """Look through tasks, partition by partition, from a place on that an earlier page gave; at first ``""``.

        Those that ``passes`` turns down are left out; None: none are.

        Raises:
            PageTokenInvalidError: The place is none.
        """
        pager = TaskPager(self._store, self._partitions, passes=passes, with_payloads=with_payloads)
        return await pager.page(place, page_size)

    async def delete_task(self, task_id: str) -> None:
        """Remove the record of a task that is done.

        Raises:
            TaskNotFoundError: There is none.
            TaskNotTerminalError: The task is not done.
        """
        partition = partition_of(task_id, self._partitions)
        (is_deleted,) = await in_time(self._store.delete_tasks(partition, [task_id]))
        if is_deleted is None:
            raise TaskNotFoundError(task_id)
        if not is_deleted:
            raise TaskNotTerminalError(task_id)

    async def list_queues(self, after: str, limit: int) -> list[QueueTotals]:
        """Tell of up to ``limit`` queues by name, those after the one given; at first ``""``."""
        # The first names of all partitions together are among the first names of each.
        answers = await _all([self._queues_of(partition, after, limit) for partition in range(self._partitions)])
        return merge(answers, partitions=self._partitions)[:limit]

    async def pause_queue(self, queue: str, *, is_paused: bool) -> QueueTotals:
        """Stop deliveries from a queue, or let them go on. A second call does nothing."""
        answers = await _all(
            [
                in_time(self._store.pause_queue(partition, queue, is_paused=is_paused))
                for partition in range(self._partitions)
            ]
        )
        return merge([[stats] for stats in answers], partitions=self._partitions)[0]

    async def purge_queue(self, queue: str, *, is_forced: bool) -> PurgeTotals:
        """Revoke what is ready or on the schedule of a queue, as far as the budget of one call goes.

        Not forced, it only counts.
        """
        count = await self._purge(queue) if is_forced else 0
        waiting = await self._waiting_in(queue)
        return PurgeTotals(count=count if is_forced else waiting, remaining=waiting)

    async def announce_workers(self, workers: Sequence[WorkerPresence]) -> None:
        """Say which workers are connected to this process."""
        await in_time(self._store.announce_workers(workers))

    async def list_workers(self, after: str, limit: int) -> list[WorkerPresence]:
        """Tell of up to ``limit`` connected workers by worker_id, those after the one given; at first ``""``.

        Each comes once, with its latest session: after a reconnect the older one may be listed for a while.
        """
        latest: dict[str, WorkerPresence] = {}
        for presence in await in_time(self._store.list_workers()):
            known = latest.get(presence.worker_id)
            if known is None or known.connect_ms <= presence.connect_ms:
                latest[presence.worker_id] = presence
        return [latest[worker_id] for worker_id in sorted(latest) if worker_id > after][:limit]

    async def drain_worker(self, worker_id: str) -> WorkerPresence:
        """Have a worker get no more tasks, wherever it is connected, until its process ends. Harmless to repeat.

        What the servers are told can be lost, so they are told until the worker's own says that it heard; not for
        ever, as that one may be gone.

        Raises:
            WorkerNotFoundError: No such worker is connected.
        """
        presence = await self._find_worker(worker_id)
        if presence is None:
            raise WorkerNotFoundError(worker_id)
        for pause_s in CONFIRM_PAUSES_S:
            await in_time(self._store.drain_worker(worker_id))
            await asyncio.sleep(pause_s)
            presence = await self._find_worker(worker_id) or presence
            if presence.is_draining:
                break
        return replace(presence, is_draining=True)

    async def _find_worker(self, worker_id: str) -> WorkerPresence | None:
        sessions = [each for each in await in_time(self._store.list_workers()) if each.worker_id == worker_id]
        return max(sessions, key=lambda presence: presence.connect_ms, default=None)

    async def _queues_of(self, partition: int, after: str, limit: int) -> list[QueueStats]:
        queues: list[QueueStats] = []
        while len(queues) < limit:
            wanted = min(QUEUE_STEP, limit - len(queues))
            step = await in_time(self._store.list_queues(partition, after, wanted))
            queues.extend(step)
            if len(step) < wanted:
                break
            after = step[-1].queue
        return queues

    async def _purge(self, queue: str) -> int:
        failure = revoked(PURGED)
        until = time.monotonic() + limits.PURGE_BUDGET_S
        count = 0
        # Where many tasks of other queues have to be looked through, a call that began anew would never get past them.
        first, cursor = self._unfinished_purges.pop(queue, (0, ""))
        for partition in range(first, self._partitions):
            is_through = False
            while not is_through:
                step = await in_time(self._store.purge_queue(partition, queue, cursor, limits.MAX_PURGE_STEP, failure))
                count += step.count
                cursor, is_through = step.cursor, not step.cursor
                if time.monotonic() >= until:
                    self._go_on_later(queue, partition + is_through, cursor)
                    return count
        return count

    def _go_on_later(self, queue: str, partition: int, cursor: str) -> None:
        if partition < self._partitions and len(self._unfinished_purges) < MAX_UNFINISHED_PURGES:
            self._unfinished_purges[queue] = (partition, cursor)

    async def _waiting_in(self, queue: str) -> int:
        """Count what is ready or on the schedule of one queue."""
        steps = await _all(
            [
                in_time(self._store.list_queues(partition, just_before(queue), 1))
                for partition in range(self._partitions)
            ]
        )
        return sum(stats.ready_count + stats.schedule_count for step in steps for stats in step if stats.queue == queue)


async def _all(calls: Sequence[Coroutine[None, None, Answer]]) -> list[Answer]:
    """Make store calls at once, and all of them even where one fails: what is half done is to be as small as it can."""
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
