"""The part of the embedded store that is for operators and for those who look tasks up."""

from collections.abc import Sequence

from tailrace.server.domain.detail import TaskDetail
from tailrace.server.store.changes import DrainRequested
from tailrace.server.store.operators import PRESENCE_MS, Audited, Listed, Purged, QueueStats, WorkerPresence
from tailrace.server.store.sqlite import looking, queue_operations
from tailrace.server.store.sqlite.calls import Calls


class OperatorCalls(Calls):
    """An OperatorStore. Of workers it knows in memory only: there is no other process that could ask."""

    _workers: Sequence[WorkerPresence] = ()
    _workers_until_ms = 0

    async def read_details(self, partition: int, task_ids: Sequence[str]) -> list[TaskDetail | None]:
        """See OperatorStore."""
        return await self._run(partition, lambda records: looking.read_details(records, task_ids))

    async def list_tasks(self, partition: int, cursor: str, limit: int, *, with_payloads: bool) -> Listed:
        """See OperatorStore."""
        return await self._run(
            partition, lambda records: looking.list_tasks(records, cursor, limit, with_payloads=with_payloads)
        )

    async def delete_tasks(self, partition: int, task_ids: Sequence[str]) -> list[bool | None]:
        """See OperatorStore."""
        return await self._run(partition, lambda records: looking.delete_tasks(records, task_ids), in_doubt=task_ids)

    async def list_queues(self, partition: int, after: str, limit: int) -> list[QueueStats]:
        """See OperatorStore."""
        return await self._run(partition, lambda records: queue_operations.list_queues(records, after, limit))

    async def pause_queue(self, partition: int, queue: str, *, is_paused: bool) -> QueueStats:
        """See OperatorStore."""
        return await self._run(
            partition,
            lambda records: queue_operations.pause_queue(records, queue, is_paused=is_paused),
            in_doubt=None,
        )

    async def purge_queue(self, partition: int, queue: str, cursor: str, limit: int, failure: bytes) -> Purged:
        """See OperatorStore."""
        return await self._run(
            partition,
            lambda records: queue_operations.purge_queue(records, queue, cursor, limit, failure),
            in_doubt=None,
            observed_as="purge_queue",
        )

    async def audit_tasks(self, partition: int, cursor: str, limit: int) -> Audited:
        """See OperatorStore."""
        return await self._run(partition, lambda records: queue_operations.audit_queues(records, cursor, limit))

    async def announce_workers(self, workers: Sequence[WorkerPresence]) -> None:
        """See OperatorStore."""
        self._workers, self._workers_until_ms = tuple(workers), self._clock() + PRESENCE_MS

    async def list_workers(self) -> list[WorkerPresence]:
        """See OperatorStore."""
        workers = self._workers if self._clock() < self._workers_until_ms else ()
        return sorted(workers, key=lambda worker: (worker.worker_id, worker.session_id))

    async def drain_worker(self, worker_id: str) -> None:
        """See OperatorStore."""
        self._feed.put(DrainRequested(worker_id))
