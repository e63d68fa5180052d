"""The Store protocol on Redis: every operation one script on one partition."""

from collections.abc import Sequence
from functools import partial

from tailrace.server.domain.deadline import DeadlineFailures
from tailrace.server.domain.lease import AttemptEnd
from tailrace.server.domain.task import Submission, TaskSnapshot
from tailrace.server.store.base import REAP_GAP_MS, REAP_GRACE_MS
from tailrace.server.store.redis import arguments, replies
from tailrace.server.store.redis.connection import Argument
from tailrace.server.store.redis.operator_calls import RedisOperatorCalls
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

MAX_TICK = 1_000
"""Tasks that one call of a maintenance duty handles at most: Redis does nothing else meanwhile."""


class RedisStore(RedisOperatorCalls):
    """Keeps tasks in one Redis; see RedisEngine for what it takes."""

    async def submit_tasks(
        self, partition: int, submissions: Sequence[Submission], *, max_queue_depth: int | None = None
    ) -> list[Submitted]:
        """Accept tasks."""
        return await self._perform(
            "submit_tasks",
            partition,
            arguments.submit_arguments(submissions, max_queue_depth),
            parse=lambda reply: replies.parse_submitted(submissions, reply),
            in_doubt=[submission.task_id for submission in submissions],
        )

    async def read_tasks(self, partition: int, task_ids: Sequence[str]) -> list[TaskSnapshot | None]:
        """Read outcomes."""
        return await self._perform(
            "read_tasks",
            partition,
            arguments.read_arguments(task_ids),
            parse=lambda reply: replies.parse_snapshots(task_ids, reply),
        )

    async def register_waits(
        self, partition: int, task_ids: Sequence[str], *, with_progress: bool = False
    ) -> list[TaskSnapshot | None]:
        """Read outcomes and have this process told of every later change."""
        snapshots = await self._perform(
            "register_waits",
            partition,
            arguments.register_arguments(task_ids, with_progress=with_progress),
            parse=lambda reply: replies.parse_snapshots(task_ids, reply),
        )
        if None in snapshots:
            await self._tell_if_emptied()
        return snapshots

    async def lease_tasks(self, partition: int, request: LeaseRequest) -> Leased:
        """Deliver ready tasks."""
        return await self._perform(
            "lease_tasks",
            partition,
            arguments.lease_arguments(request),
            parse=lambda reply: replies.parse_leased(request, reply),
            in_doubt=None,
        )

    async def beat_leases(self, partition: int, beats: Sequence[Beat]) -> list[LeaseHeld | None]:
        """Extend leases and start attempts."""
        return await self._perform(
            "beat_leases",
            partition,
            arguments.beat_arguments(beats),
            parse=replies.parse_beats,
            in_doubt=[beat.task_id for beat in beats],
        )

    async def store_results(self, partition: int, ends: Sequence[AttemptEnd]) -> list[ResultStored | None]:
        """End attempts."""
        return await self._perform(
            "store_results",
            partition,
            arguments.result_arguments(ends),
            parse=lambda reply: replies.parse_results(ends, reply),
            in_doubt=[end.task_id for end in ends],
        )

    async def release_leases(self, partition: int, releases: Sequence[Release], failure: bytes) -> list[bool]:
        """Take leases back without using up an attempt."""
        return await self._perform(
            "release_leases",
            partition,
            arguments.release_arguments(releases, failure),
            parse=replies.parse_released,
            in_doubt=[release.task_id for release in releases],
        )

    async def revoke_tasks(self, partition: int, revocations: Sequence[Revocation]) -> list[TaskSnapshot | None]:
        """Keep tasks from running, or ask them to stop."""
        task_ids = [revocation.task_id for revocation in revocations]
        return await self._perform(
            "revoke_tasks",
            partition,
            arguments.revoke_arguments(revocations),
            parse=lambda reply: replies.parse_revoked(task_ids, reply),
            in_doubt=task_ids,
        )

    async def reap_leases(self, partition: int, limit: int, failure: bytes) -> Tick:
        """Take tasks from holders whose lease ran out."""
        numbers = (min(limit, MAX_TICK), REAP_GAP_MS, REAP_GRACE_MS)
        return await self._tick("reap_leases", partition, (*numbers, failure), in_doubt=None)

    async def end_overdue(self, partition: int, failures: DeadlineFailures, jitters: Sequence[int]) -> Tick:
        """Act on tasks whose deadline has passed."""
        overdue_arguments = arguments.overdue_arguments(failures, jitters[:MAX_TICK])
        return await self._tick("end_overdue", partition, overdue_arguments, in_doubt=None)

    async def promote_due(self, partition: int, limit: int) -> Tick:
        """Move tasks whose time has come to their queue."""
        return await self._tick("promote_due", partition, (min(limit, MAX_TICK),))

    async def expire_done(self, partition: int, limit: int) -> Tick:
        """Remove records whose time is over."""
        return await self._tick("expire_done", partition, (min(limit, MAX_TICK),))

    async def _tick(
        self, script: str, partition: int, tick_arguments: Sequence[Argument], *, in_doubt: Sequence[str] | None = ()
    ) -> Tick:
        """Run a script of maintenance."""
        return await self._perform(
            script, partition, tick_arguments, parse=partial(replies.parse_tick, script), in_doubt=in_doubt
        )
