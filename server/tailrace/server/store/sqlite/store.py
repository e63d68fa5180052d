"""The embedded store: the rules of ``domain`` on rows of one SQLite file."""

from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from tailrace.server.domain.deadline import DeadlineFailures
from tailrace.server.domain.errors import StoreFullError, StoreUnavailableError
from tailrace.server.domain.lease import AttemptEnd
from tailrace.server.domain.task import Submission, TaskSnapshot
from tailrace.server.store.changes import Change
from tailrace.server.store.sqlite import duties, operations
from tailrace.server.store.sqlite.faults import is_full
from tailrace.server.store.sqlite.operator_calls import OperatorCalls
from tailrace.server.store.values import (
    Beat,
    Leased,
    LeaseHeld,
    LeaseRequest,
    Release,
    ResultStored,
    Revocation,
    Submitted,
    Tick,
)


class SqliteStore(OperatorCalls):
    """A Store in one file, for one process at a time; every answer is on disk before it is given.

    Every change is made by this process, so ``changes`` tells them all and nothing has to be registered.
    """

    def __init__(self, path: Path, *, clock: Callable[[], int] | None = None, partitions: int = 1) -> None:
        """Name the file; ``clock`` tells ms since the epoch. None: a clock that never goes backwards."""
        super().__init__(path, clock=clock, partitions=partitions)
        self.path = path

    @property
    def description(self) -> str:
        """See Store."""
        return f"SQLite file {self.path}, every change synced to disk"

    @property
    def partitions(self) -> int:
        """See Store."""
        return self._partitions

    async def open(self) -> None:
        """See Store.

        Raises:
            StoreUnavailableError: The file is in use by another server, cannot be opened or written, is not a store of
                this release, or has another number of partitions.
        """
        await self._writer.open()

    async def close(self) -> None:
        """See Store. What was asked for before is done first."""
        try:
            await self._writer.close()
        finally:
            self._feed.close()

    def changes(self) -> AsyncIterator[Change]:
        """See Store."""
        return self._feed.changes()

    async def submit_tasks(
        self, partition: int, submissions: Sequence[Submission], *, max_queue_depth: int | None = None
    ) -> list[Submitted]:
        """See Store."""
        task_ids = [submission.task_id for submission in submissions]
        try:
            return await self._run(
                partition,
                lambda records: operations.submit_tasks(records, submissions, max_queue_depth),
                in_doubt=task_ids,
                observed_as="submit_tasks",
            )
        except StoreUnavailableError as error:
            if is_full(error):
                raise StoreFullError(str(error)) from error
            raise

    async def read_tasks(self, partition: int, task_ids: Sequence[str]) -> list[TaskSnapshot | None]:
        """See Store."""
        return await self._run(partition, lambda records: operations.read_tasks(records, task_ids))

    async def register_waits(
        self, partition: int, task_ids: Sequence[str], *, with_progress: bool = False
    ) -> list[TaskSnapshot | None]:
        """See Store. Every change is made by this process, so ``changes`` has them all."""
        return await self.read_tasks(partition, task_ids)

    async def lease_tasks(self, partition: int, request: LeaseRequest) -> Leased:
        """See Store."""
        return await self._run(
            partition,
            lambda records: operations.lease_tasks(records, request),
            in_doubt=None if request.start_immediately else (),
            observed_as="lease_tasks",
        )

    async def beat_leases(self, partition: int, beats: Sequence[Beat]) -> list[LeaseHeld | None]:
        """See Store."""
        task_ids = [beat.task_id for beat in beats]
        return await self._run(
            partition,
            lambda records: operations.beat_leases(records, beats),
            in_doubt=task_ids,
            observed_as="beat_leases",
        )

    async def store_results(self, partition: int, ends: Sequence[AttemptEnd]) -> list[ResultStored | None]:
        """See Store."""
        task_ids = [end.task_id for end in ends]
        return await self._run(
            partition,
            lambda records: operations.store_results(records, ends),
            in_doubt=task_ids,
            observed_as="store_results",
        )

    async def release_leases(self, partition: int, releases: Sequence[Release], failure: bytes) -> list[bool]:
        """See Store."""
        task_ids = [release.task_id for release in releases]
        return await self._run(
            partition,
            lambda records: operations.release_leases(records, releases, failure),
            in_doubt=task_ids,
            observed_as="release_leases",
        )

    async def revoke_tasks(self, partition: int, revocations: Sequence[Revocation]) -> list[TaskSnapshot | None]:
        """See Store."""
        task_ids = [revocation.task_id for revocation in revocations]
        return await self._run(
            partition,
            lambda records: operations.revoke_tasks(records, revocations),
            in_doubt=task_ids,
            observed_as="revoke_tasks",
        )

    async def reap_leases(self, partition: int, limit: int, failure: bytes) -> Tick:
        """See Store."""
        return await self._run(
            partition,
            lambda records: duties.reap_leases(records, limit, failure, self._reap_guards),
            in_doubt=None,
            observed_as="reap_leases",
        )

    async def end_overdue(self, partition: int, failures: DeadlineFailures, jitters: Sequence[int]) -> Tick:
        """See Store."""
        return await self._run(
            partition,
            lambda records: duties.end_overdue(records, failures, jitters, self._reap_guards),
            in_doubt=None,
            observed_as="end_overdue",
        )

    async def promote_due(self, partition: int, limit: int) -> Tick:
        """See Store."""
        return await self._run(partition, lambda records: duties.promote_due(records, limit))

    async def expire_done(self, partition: int, limit: int) -> Tick:
        """See Store."""
        return await self._run(partition, lambda records: duties.expire_done(records, limit))
