"""One method a use case. Items of one call may live in any partition; each succeeds or fails by itself."""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from tailrace.server.coordinator.batcher import Batcher
from tailrace.server.coordinator.failures import DEADLINES, RELEASED_TOO_OFTEN
from tailrace.server.coordinator.in_time import in_time
from tailrace.server.domain.errors import (
    LeaseLostError,
    QueueFullError,
    TailraceError,
    TaskIdConflictError,
    TaskNotFoundError,
)
from tailrace.server.domain.ids import partition_of
from tailrace.server.domain.lease import NONCE_BYTES, AttemptEnd
from tailrace.server.domain.task import Submission, TaskSnapshot
from tailrace.server.store.base import MAX_ITEMS, Store
from tailrace.server.store.values import (
    Beat,
    Leased,
    LeaseHeld,
    LeaseRequest,
    Release,
    ResultStored,
    Revocation,
    Submitted,
)

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


class Coordinator:
    """What callers may ask for, whichever way they came in.

    Outcomes come in the order of the items. An item that failed is answered with its error, so that one bad item fails
    none of the others.
    """

    def __init__(self, store: Store, *, max_queue_depth: int | None = None) -> None:
        self._store = store
        self.max_queue_depth = max_queue_depth
        """How many tasks may wait in one queue, over all partitions; None: no limit."""
        partitions = range(store.partitions)
        # Each partition has its share; where tasks are few, exactness would cost a look at all the others.
        depth = None if max_queue_depth is None else -(-max_queue_depth // store.partitions)
        submit = partial(store.submit_tasks, max_queue_depth=depth)
        self._submits = [Batcher(partial(submit, p), size_of=_submission_bytes) for p in partitions]
        self._reads = [Batcher(partial(store.read_tasks, p)) for p in partitions]
        self._waits = [Batcher(partial(store.register_waits, p)) for p in partitions]
        watch = partial(store.register_waits, with_progress=True)
        self._progress_waits = [Batcher(partial(watch, p)) for p in partitions]
        self._beats = [Batcher(partial(store.beat_leases, p), size_of=_beat_bytes) for p in partitions]
        self._ends = [Batcher(partial(store.store_results, p), size_of=_end_bytes) for p in partitions]
        release = partial(store.release_leases, failure=RELEASED_TOO_OFTEN)
        self._releases = [Batcher(partial(release, p), is_last_first=True) for p in partitions]
        self._revocations = [Batcher(partial(store.revoke_tasks, p), size_of=_revocation_bytes) for p in partitions]

    @property
    def partitions(self) -> int:
        """How many partitions there are to lease from."""
        return self._store.partitions

    def partition_of(self, task_id: str) -> int:
        """Tell in which of them a task lives."""
        return partition_of(task_id, self.partitions)

    async def submit(self, submissions: Sequence[Submission]) -> list[Submitted | TailraceError]:
        """Accept tasks. Repeating a submission whose outcome is unknown is safe.

        Each item is answered with a TaskIdConflictError when its id is taken by a different request, and with a
        QueueFullError when too many tasks wait in its queue.
        """
        outcomes = await self._spread(self._submits, submissions, lambda submission: submission.task_id)
        return [self._judge(submission, outcome) for submission, outcome in zip(submissions, outcomes, strict=True)]

    def _judge(self, submission: Submission, outcome: Submitted | TailraceError) -> Submitted | TailraceError:
        if isinstance(outcome, TailraceError):
            return outcome
        if outcome.is_conflict:
            return TaskIdConflictError(submission.task_id)
        if outcome.is_queue_full:
            return QueueFullError(submission.queue, max_depth=self.max_queue_depth or 0)
        return outcome

    async def read(self, task_ids: Sequence[str]) -> list[TaskSnapshot | TailraceError | None]:
        """Read outcomes as they are now; None for an id that does not exist.

        Where many are large, not all are whole: see ``read_whole``.
        """
        return await self._spread(self._reads, task_ids, lambda task_id: task_id)

    async def read_whole(self, task_id: str) -> TaskSnapshot | None:
        """Read one outcome with all that it carries; None for an id that does not exist.

        Raises:
            StoreUnavailableError: The store did not answer.
        """
        (outcome,) = await self.read([task_id])
        if isinstance(outcome, TailraceError):
            raise outcome
        if outcome is None or outcome.is_whole:
            return outcome
        # Others took the room in that call; in one of its own there is enough.
        partition = partition_of(task_id, self.partitions)
        (outcome,) = await in_time(self._store.read_tasks(partition, [task_id]))
        return outcome

    async def register_waits(
        self, task_ids: Sequence[str], *, with_progress: bool = False
    ) -> list[TaskSnapshot | TailraceError | None]:
        """Read outcomes as ``read`` does, and have this process told of every change from then on."""
        batchers = self._progress_waits if with_progress else self._waits
        return await self._spread(batchers, task_ids, lambda task_id: task_id)

    async def lease(
        self,
        partition: int,
        queues: tuple[str, ...],
        count: int,
        *,
        start_immediately: bool = False,
        max_bytes: int | None = None,
        is_first_free: bool = False,
        worker_id: str = "",
    ) -> Leased:
        """Take up to ``count`` tasks (at most MAX_ITEMS) of one partition out of their queues.

        The rest is as in LeaseRequest.

        Raises:
            StoreUnavailableError: What the store may have handed out comes back by itself after the delivery lease.
        """
        random_bytes = secrets.token_bytes(NONCE_BYTES * min(count, MAX_ITEMS))
        nonces = tuple(random_bytes[i : i + NONCE_BYTES] for i in range(0, len(random_bytes), NONCE_BYTES))
        request = LeaseRequest(
            queues=queues,
            nonces=nonces,
            failures=DEADLINES,
            start_immediately=start_immediately,
            max_bytes=max_bytes,
            is_first_free=is_first_free,
            worker_id=worker_id,
        )
        return await in_time(self._store.lease_tasks(partition, request))

    async def heartbeat(self, beats: Sequence[Beat]) -> list[LeaseHeld | TailraceError]:
        """Extend leases and start attempts; LeaseLostError for one that is lost."""
        outcomes = await self._spread(self._beats, beats, lambda beat: beat.task_id)
        return [
            LeaseLostError(beat.task_id) if outcome is None else outcome
            for beat, outcome in zip(beats, outcomes, strict=True)
        ]

    async def store_results(self, ends: Sequence[AttemptEnd]) -> list[ResultStored | TailraceError]:
        """End attempts; LeaseLostError where the token is not the current one."""
        outcomes = await self._spread(self._ends, ends, lambda end: end.task_id)
        return [
            LeaseLostError(end.task_id) if outcome is None else outcome
            for end, outcome in zip(ends, outcomes, strict=True)
        ]

    async def release(self, releases: Sequence[Release]) -> list[TailraceError | None]:
        """Give leases back; None where it worked, LeaseLostError where the token is not the current one.

        Tasks without delay go to the head of their queue in the order of the call, the first of them foremost.
        """
        outcomes = await self._spread(self._releases, releases, lambda release: release.task_id)
        return [
            outcome if isinstance(outcome, TailraceError) else None if outcome else LeaseLostError(release.task_id)
            for release, outcome in zip(releases, outcomes, strict=True)
        ]

    async def revoke(self, revocations: Sequence[Revocation]) -> list[TaskSnapshot | TailraceError]:
        """Keep tasks from running, or ask them to stop; answers with each as it is then, without payloads.

        TaskNotFoundError for an id that does not exist. Repeating a revocation whose outcome is unknown is safe.
        """
        outcomes = await self._spread(self._revocations, revocations, lambda revocation: revocation.task_id)
        return [
            TaskNotFoundError(revocation.task_id) if outcome is None else outcome
            for revocation, outcome in zip(revocations, outcomes, strict=True)
        ]

    async def _spread(
        self, batchers: Sequence[Batcher[Item, Outcome]], items: Sequence[Item], id_of: Callable[[Item], str]
    ) -> list[Outcome | TailraceError]:
        """Send each item to the batcher of its partition and put the outcomes back in order."""
        if len(batchers) == 1:
            return await _run(batchers[0], items)
        places: dict[int, list[int]] = {}
        for index, item in enumerate(items):
            places.setdefault(partition_of(id_of(item), len(batchers)), []).append(index)
        answers = await asyncio.gather(
            *(_run(batchers[partition], [items[i] for i in indexes]) for partition, indexes in places.items())
        )
        by_index = {
            index: outcome
            for indexes, answer in zip(places.values(), answers, strict=True)
            for index, outcome in zip(indexes, answer, strict=True)
        }
        return [by_index[index] for index in range(len(items))]


async def _run(batcher: Batcher[Item, Outcome], items: Sequence[Item]) -> list[Outcome | TailraceError]:
    try:
        return await batcher.run(items)
    except TailraceError as error:
        return [error] * len(items)


def _submission_bytes(submission: Submission) -> int:
    return len(submission.request)


def _beat_bytes(beat: Beat) -> int:
    return len(beat.progress or b"")


def _end_bytes(end: AttemptEnd) -> int:
    return len(end.result or b"") + len(end.failure or b"")


def _revocation_bytes(revocation: Revocation) -> int:
    return len(revocation.failure)
