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
from dataclasses import dataclass
from typing import Protocol

from tailrace.server.domain.lease import AttemptEnd
from tailrace.server.domain.task import Submission, TaskSnapshot, TaskState

MAX_ITEMS = 256
MAX_CALL_BYTES = 1 << 20
REAP_GAP_MS = 5_000
REAP_GRACE_MS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """What became of one Submission."""

    snapshot: TaskSnapshot
    """The task as it is now; of a task that existed, without result and failures."""
    is_created: bool
    is_conflict: bool = False
    """The id is taken by a different request, and ``return_existing`` was not asked for: nothing was done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRequest:
    """What one worker, or several of one kind, can take right now."""

    queues: tuple[str, ...]
    """Most wanted first; the next one is drawn from when the one before is empty."""
    nonces: tuple[bytes, ...]
    """Eight random bytes for each task wanted, at most MAX_ITEMS of them."""
    start_immediately: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One task handed out. Times are milliseconds of the store's clock."""

    task_id: str
    lease_token: bytes
    request: bytes
    """The serialized request as submitted."""
    attempt: int
    """The number that this attempt has, or will have once started; from 1."""
    lease_ms: int
    lease_expire_ms: int
    create_ms: int
    last_failure: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Leased:
    """What a LeaseRequest brought."""

    deliveries: tuple[Delivery, ...]
    is_drained: bool
    """True when all the queues are now empty in this partition; False when there may be more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """One sign of life."""

    task_id: str
    lease_token: bytes
    is_waiting: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseHeld:
    """What a Beat is answered while its lease is held."""

    expire_ms: int
    revocation: bytes | None = None
    """The serialized Failure of a revocation that was asked for: the worker is to stop; None: nobody asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One lease given back."""

    task_id: str
    lease_token: bytes
    delay_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """A request that one task should not run, or should stop."""

    task_id: str
    failure: bytes
    """The serialized Failure, of kind REVOKED, that the task ends with."""
    is_forced: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultStored:
    """What became of one AttemptEnd that was accepted."""

    state: TaskState
    """SUCCESS, FAILURE, REVOKED or RETRY."""
    is_duplicate: bool
    """The same token had ended this attempt before; nothing was changed by this call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """What one call of a maintenance duty did."""

    count: int
    """Tasks that were moved or removed."""
    next_due_ms: int | None
    """How long until the next one is due, 0 when there is more to do now; None when there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskChanged:
    """A task has, or may have, a new revision."""

    task_id: str
    snapshot: TaskSnapshot | None = None
    """The new outcome, where it came without a read; None: read it."""
    is_done: bool | None = None
    """Whether the task ended; None when even that is unknown."""


@dataclass(frozen=True, slots=True)
class QueueReady:
    """A queue has, or may have, tasks for workers again."""

    queue: str


@dataclass(frozen=True, slots=True)
class EpochBreak:
    """Any number of changes may have gone unnoticed: register and read everything anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseNews:
    """What the holder of a lease should hear without asking; its next beat would be answered the same."""

    task_id: str
    lease_token: bytes
    revocation: bytes | None
    """As in LeaseHeld: the task is to stop; None: the lease is lost."""


Change = TaskChanged | QueueReady | LeaseNews | EpochBreak


class Store(Protocol):
    """See the module's text for what holds of every method."""

    @property
    def description(self) -> str:
        """Say for people what is used and how durable it is, without passwords."""

    @property
    def partitions(self) -> int:
        """How many partitions there are; fixed when the data was created. Known once open."""

    async def open(self) -> None:
        """Connect, check that the database can be used, create what is missing. Called once, before all else."""

    async def close(self) -> None:
        """Let go of everything and end ``changes``. A second call does nothing."""

    def changes(self) -> AsyncIterator[Change]:
        """Iterate over changes made by this process and, for registered tasks, by all others.

        LeaseNews come, whoever made them, of leases that this process handed out or took the latest beat of.
        One consumer. Ends when the store is closed. Changes may come twice, late, or for tasks that nobody asked about;
        what may have been missed is announced by an EpochBreak.
        """

    async def submit_tasks(self, partition: int, submissions: Sequence[Submission]) -> list[Submitted]:
        """Accept tasks. An id that exists is answered with that task when the fingerprints are equal."""

    async def read_tasks(self, partition: int, task_ids: Sequence[str]) -> list[TaskSnapshot | None]:
        """Read outcomes; None for an id that nobody submitted or whose record expired.

        Once their payloads reach MAX_CALL_BYTES, those that follow come without and are not whole.
        """

    async def register_waits(self, partition: int, task_ids: Sequence[str]) -> list[TaskSnapshot | None]:
        """Read outcomes as ``read_tasks`` and, in the same step, have this process told of every later change.

        Tasks that are done are only read.
        """

    async def lease_tasks(self, partition: int, request: LeaseRequest) -> Leased:
        """Deliver up to ``len(request.nonces)`` ready tasks: highest priority first, then first in, first out.

        Stops early once the payloads reach MAX_CALL_BYTES, so that one task at least is delivered.
        """

    async def beat_leases(self, partition: int, beats: Sequence[Beat]) -> list[LeaseHeld | None]:
        """Extend leases and start attempts; None for a lease that is lost."""

    async def store_results(self, partition: int, ends: Sequence[AttemptEnd]) -> list[ResultStored | None]:
        """End attempts; None where the token is not the current one.

        A task that is tried again without a delay goes to the tail of its queue.
        """

    async def release_leases(self, partition: int, releases: Sequence[Release], failure: bytes) -> list[bool]:
        """Take leases back without using up an attempt; False where the token is not the current one.

        Tasks without delay go to the head of their queue in the order of the call, the first of them foremost.
        ``failure`` is the serialized Failure for a task whose releases count as a lost lease.
        """

    async def revoke_tasks(self, partition: int, revocations: Sequence[Revocation]) -> list[TaskSnapshot | None]:
        """Keep tasks from running, or ask them to stop; answers with each as it is then, None for an unknown one.

        The answers come without results and failures. A task that is done stays as it is.
        """

    async def reap_leases(self, partition: int, limit: int, failure: bytes) -> Tick:
        """Take up to ``limit`` tasks from holders whose lease ran out, the earliest expiry foremost in its queue.

        ``failure`` is the serialized Failure of a lost lease. After the store's clock was seen to jump (more than
        REAP_GAP_MS since the last call: the store or all servers were away; or backwards) nothing is reaped for
        REAP_GRACE_MS, so that workers can come back and keep what they hold.
        """

    async def promote_due(self, partition: int, limit: int) -> Tick:
        """Move up to ``limit`` tasks whose time has come from the schedule to the tail of their queue."""

    async def expire_done(self, partition: int, limit: int) -> Tick:
        """Remove up to ``limit`` records whose time is over."""
