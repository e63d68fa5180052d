"""What happens to tasks, in the words of the tests: each step is one call of a store, or the few it takes."""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence

from tailrace.server.domain.detail import TaskDetail
from tailrace.server.domain.lease import AttemptEnd
from tailrace.server.domain.task import Submission, TaskSnapshot
from tailrace.server.store.base import MAX_ITEMS, REAP_GAP_MS, Store
from tailrace.server.store.operators import Purged, QueueStats
from tailrace.server.store.values import (
    Beat,
    Delivery,
    Leased,
    LeaseHeld,
    Release,
    ResultStored,
    Revocation,
    Submitted,
    Tick,
)
from tests.store.builders import LOST, MISSED, PURGED, STOP, a_lease_request, a_submission
from tests.store.harness import Harness

PARTITION = 0
LIMIT = 100


class Steps:
    """Drives one partition; every lease gets a nonce of its own."""

    def __init__(self, harness: Harness) -> None:
        self.harness = harness
        self._next_nonce = itertools.count(1)

    @property
    def store(self) -> Store:
        return self.harness.store

    @property
    def now_ms(self) -> int:
        return self.harness.now_ms

    async def submit(self, *submissions: Submission, max_queue_depth: int | None = None) -> list[Submitted]:
        return await self.store.submit_tasks(PARTITION, submissions, max_queue_depth=max_queue_depth)

    async def submit_one(self, submission: Submission | None = None) -> Submitted:
        (submitted,) = await self.submit(submission or a_submission())
        return submitted

    async def lease(
        self,
        *queues: str,
        count: int = 1,
        start_immediately: bool = False,
        max_bytes: int | None = None,
        is_first_free: bool = False,
        worker_id: str = "",
    ) -> Leased:
        request = a_lease_request(
            *queues,
            count=count,
            first_nonce=next(self._next_nonce) * MAX_ITEMS,
            start_immediately=start_immediately,
            max_bytes=max_bytes,
            is_first_free=is_first_free,
            worker_id=worker_id,
        )
        return await self.store.lease_tasks(PARTITION, request)

    async def deliver(self, *queues: str, start_immediately: bool = False, worker_id: str = "") -> Delivery:
        """Lease the one task that is foremost."""
        leased = await self.lease(*queues, start_immediately=start_immediately, worker_id=worker_id)
        (delivery,) = leased.deliveries
        return delivery

    async def start(self, *queues: str) -> Delivery:
        """Lease the foremost task and begin it."""
        delivery = await self.deliver(*queues)
        assert await self.beat(delivery) is not None
        return delivery

    async def submit_and_start(self, submission: Submission | None = None) -> Delivery:
        submission = submission or a_submission()
        await self.submit(submission)
        delivery = await self.start(submission.queue)
        assert delivery.task_id == submission.task_id
        return delivery

    async def beat(
        self, delivery: Delivery, *, is_waiting: bool = False, worker_id: str = "", progress: bytes | None = None
    ) -> int | None:
        """Tell when the lease now ends; None: it is lost."""
        held = await self.beat_for_news(delivery, is_waiting=is_waiting, worker_id=worker_id, progress=progress)
        return None if held is None else held.expire_ms

    async def beat_for_news(
        self, delivery: Delivery, *, is_waiting: bool = False, worker_id: str = "", progress: bytes | None = None
    ) -> LeaseHeld | None:
        beat = Beat(
            task_id=delivery.task_id,
            lease_token=delivery.lease_token,
            is_waiting=is_waiting,
            worker_id=worker_id,
            progress=progress,
        )
        (held,) = await self.store.beat_leases(PARTITION, [beat])
        return held

    async def revoke(self, *task_ids: str, is_forced: bool = False, failure: bytes = STOP) -> list[TaskSnapshot | None]:
        ids = task_ids or ("task-1",)
        revocations = [Revocation(task_id=task_id, failure=failure, is_forced=is_forced) for task_id in ids]
        return await self.store.revoke_tasks(PARTITION, revocations)

    async def end(self, end: AttemptEnd) -> ResultStored | None:
        (stored,) = await self.store.store_results(PARTITION, [end])
        return stored

    async def release(self, *deliveries: Delivery, delay_ms: int = 0) -> list[bool]:
        releases = [Release(task_id=d.task_id, lease_token=d.lease_token, delay_ms=delay_ms) for d in deliveries]
        return await self.store.release_leases(PARTITION, releases, LOST)

    async def reap(self, *, limit: int = LIMIT) -> Tick:
        return await self.store.reap_leases(PARTITION, limit, LOST)

    async def end_overdue(self, *, jitters: Sequence[int] = (0,) * LIMIT) -> Tick:
        return await self.store.end_overdue(PARTITION, MISSED, jitters)

    async def promote(self, *, limit: int = LIMIT) -> Tick:
        return await self.store.promote_due(PARTITION, limit)

    async def expire(self, *, limit: int = LIMIT) -> Tick:
        return await self.store.expire_done(PARTITION, limit)

    async def pause(self, queue: str = "default", *, is_paused: bool = True) -> QueueStats:
        return await self.store.pause_queue(PARTITION, queue, is_paused=is_paused)

    async def queue(self, name: str = "default") -> QueueStats:
        """Tell of one queue that is known."""
        (stats,) = [stats for stats in await self.store.list_queues(PARTITION, "", LIMIT) if stats.queue == name]
        return stats

    async def purge(self, queue: str = "default", *, cursor: str = "", limit: int = LIMIT) -> Purged:
        return await self.store.purge_queue(PARTITION, queue, cursor, limit, PURGED)

    async def delete(self, *task_ids: str) -> list[bool | None]:
        return await self.store.delete_tasks(PARTITION, task_ids)

    async def walk(self, *, limit: int = LIMIT, with_payloads: bool = False) -> list[TaskDetail]:
        """List all tasks of the partition, to the end."""
        details: list[TaskDetail] = []
        cursor = ""
        while True:
            listed = await self.store.list_tasks(PARTITION, cursor, limit, with_payloads=with_payloads)
            assert len(listed.details) <= limit
            details += listed.details
            cursor = listed.cursor
            if not cursor:
                return details

    async def audit(self, *, limit: int = LIMIT) -> Mapping[str, int]:
        """Audit the whole partition, and tell what was mended."""
        return await repairs_of(self.store, PARTITION, limit=limit)

    async def pass_time(self, ms: int) -> int:
        """Let time go by as it does while the server lives: leases are looked after. Tells how many were reaped."""
        reaped = 0
        while ms > 0:
            step = min(ms, REAP_GAP_MS)
            await self.harness.advance(step)
            reaped += (await self.reap()).count
            ms -= step
        return reaped

    async def find(self, task_id: str = "task-1") -> TaskSnapshot | None:
        (snapshot,) = await self.store.read_tasks(PARTITION, [task_id])
        return snapshot

    async def detail(self, task_id: str = "task-1") -> TaskDetail:
        (detail,) = await self.store.read_details(PARTITION, [task_id])
        assert detail is not None
        return detail

    async def read(self, task_id: str = "task-1") -> TaskSnapshot:
        snapshot = await self.find(task_id)
        assert snapshot is not None
        return snapshot

    async def drain(self, *queues: str) -> list[str]:
        """Lease all that is ready and tell in which order it came."""
        leased = await self.lease(*queues, count=MAX_ITEMS)
        return [delivery.task_id for delivery in leased.deliveries]


async def repairs_of(store: Store, partition: int, *, limit: int = LIMIT) -> Mapping[str, int]:
    """Audit a whole partition, and tell what was mended."""
    repairs: Counter[str] = Counter()
    cursor = ""
    while True:
        audited = await store.audit_tasks(partition, cursor, limit)
        repairs.update(audited.repairs)
        cursor = audited.cursor
        if not cursor:
            return repairs
