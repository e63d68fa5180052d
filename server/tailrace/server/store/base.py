"""The Store protocol: what any database behind Tailrace has to do.

Batches go in and batches come out, one outcome per item in the order of the items. Every method is one atomic step on
one partition; all items of a call belong to that partition (``domain.ids.partition_of``). A call carries at most
``MAX_ITEMS`` items and about ``MAX_CALL_BYTES`` of payloads; the coordinator sees to it.

Every method that fails raises StoreUnavailableError: whether it took effect is then unknown, and it is safe to repeat,
because all of them recognise what they have done before by task id, lease token or state.

The rules themselves are in ``domain``: an implementation MUST behave as if it called those functions on the record,
with the store's own clock. Where several tasks tie, the smaller id goes first.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from tailrace.server.domain.deadline import DeadlineFailures
from tailrace.server.domain.lease import AttemptEnd
from tailrace.server.domain.task import Submission, TaskSnapshot
from tailrace.server.domain.transition import Observer
from tailrace.server.store.changes import Change
from tailrace.server.store.operators import OperatorStore
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

MAX_ITEMS = 256
MAX_CALL_BYTES = 1 << 20
REAP_GAP_MS = 5_000
REAP_GRACE_MS = 20_000


class Store(OperatorStore, Protocol):
    """See the module's text for what holds of every method."""

    @property
    def description(self) -> str:
        """Say for people what is used and how durable it is, without passwords."""
        ...

    @property
    def partitions(self) -> int:
        """How many partitions there are; fixed when the data was created. Known once open."""
        ...

    async def open(self) -> None:
        """Connect, check that the database can be used, create what is missing. Called once, before all else."""

    async def close(self) -> None:
        """Let go of everything and end ``changes``. A second call does nothing."""

    def observe(self, observer: Observer) -> None:
        """Have the transitions that calls of this process make told, each call's once, as soon as they are made.

        Called once, before ``open``. What a call did that was never answered is not told: nobody here knows it. The
        observer is called on the event loop, must not wait, and must not raise.
        """

    def changes(self) -> AsyncIterator[Change]:
        """Iterate over changes made by this process and, for registered tasks, by all others.

        LeaseNews come, whoever made them, of leases that this process handed out or took the latest beat of.
        One consumer. Ends when the store is closed. Changes may come twice, late, or for tasks that nobody asked about;
        what may have been missed is announced by an EpochBreak.
        """
        ...

    async def submit_tasks(
        self, partition: int, submissions: Sequence[Submission], *, max_queue_depth: int | None = None
    ) -> list[Submitted]:
        """Accept tasks. An id that exists is answered with that task when the fingerprints are equal.

        ``max_queue_depth`` is how many tasks may be ready or on the schedule of one queue in this partition, those of
        this call included; an id that exists is answered all the same.

        Raises:
            StoreFullError: The store takes no more data; nothing was done.
        """
        ...

    async def read_tasks(self, partition: int, task_ids: Sequence[str]) -> list[TaskSnapshot | None]:
        """Read outcomes; None for an id that nobody submitted or whose record expired.

        Once their payloads reach MAX_CALL_BYTES, those that follow come without and are not whole.
        """
        ...

    async def register_waits(
        self, partition: int, task_ids: Sequence[str], *, with_progress: bool = False
    ) -> list[TaskSnapshot | None]:
        """Read outcomes as ``read_tasks`` and, in the same step, have this process told of every later change.

        With progress, of every beat that brings some too. Tasks that are done are only read.
        """
        ...

    async def lease_tasks(self, partition: int, request: LeaseRequest) -> Leased:
        """Deliver up to ``len(request.nonces)`` ready tasks: highest priority first, then first in, first out.

        Nothing comes from a paused queue. Stops early once the payloads reach MAX_CALL_BYTES, so that one task at least
        is delivered. Tasks whose deadline has passed are ended instead, as by ``end_overdue`` (with jitter 0).
        """
        ...

    async def beat_leases(self, partition: int, beats: Sequence[Beat]) -> list[LeaseHeld | None]:
        """Extend leases and start attempts; None for a lease that is lost."""
        ...

    async def store_results(self, partition: int, ends: Sequence[AttemptEnd]) -> list[ResultStored | None]:
        """End attempts; None where the token is not the current one.

        A task that is tried again without a delay goes to the tail of its queue.
        """
        ...

    async def release_leases(self, partition: int, releases: Sequence[Release], failure: bytes) -> list[bool]:
        """Take leases back without using up an attempt; False where the token is not the current one.

        Tasks without delay go to the head of their queue in the order of the call, the first of them foremost.
        ``failure`` is the serialized Failure for a task whose releases count as a lost lease.
        """
        ...

    async def revoke_tasks(self, partition: int, revocations: Sequence[Revocation]) -> list[TaskSnapshot | None]:
        """Keep tasks from running, or ask them to stop; answers with each as it is then, None for an unknown one.

        The answers come without results and failures. A task that is done stays as it is.
        """
        ...

    async def reap_leases(self, partition: int, limit: int, failure: bytes) -> Tick:
        """Take up to ``limit`` tasks from holders whose lease ran out, the earliest expiry foremost in its queue.

        ``failure`` is the serialized Failure of a lost lease. After the store's clock was seen to jump (more than
        REAP_GAP_MS since the last call: the store or all servers were away; or backwards) nothing is reaped for
        REAP_GRACE_MS, so that workers can come back and keep what they hold.
        """
        ...

    async def end_overdue(self, partition: int, failures: DeadlineFailures, jitters: Sequence[int]) -> Tick:
        """Act on up to ``len(jitters)`` tasks whose deadline has passed, the earliest first, ties by id.

        ``domain.deadline`` says what becomes of each; the jitters, in order, are for those that are tried again, which
        go to the tail of their queue when there is no backoff. The holder of a lease that ends so is told. In the grace
        that follows a jump of the clock (see ``reap_leases``) attempts that ran too long are left to their workers.
        """
        ...

    async def promote_due(self, partition: int, limit: int) -> Tick:
        """Move up to ``limit`` tasks whose time has come from the schedule to the tail of their queue."""
        ...

    async def expire_done(self, partition: int, limit: int) -> Tick:
        """Remove up to ``limit`` records whose time is over."""
        ...
