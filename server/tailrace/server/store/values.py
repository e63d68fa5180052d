"""What goes into the calls of a store, and what comes out of them."""

from dataclasses import dataclass

from tailrace.server.domain.deadline import DeadlineFailures
from tailrace.server.domain.task import TaskSnapshot, TaskState


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """What became of one Submission."""

    snapshot: TaskSnapshot
    """The task as it is now; of a task that existed, without result and failures."""
    is_created: bool
    is_conflict: bool = False
    """The id is taken by a different request, and ``return_existing`` was not asked for: nothing was done."""
    is_queue_full: bool = False
    """The id is free, but too many tasks wait in the queue: nothing was done. The task is as it would have been."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRequest:
    """What one worker, or several of one kind, can take right now."""

    queues: tuple[str, ...]
    """Most wanted first; the next one is drawn from when the one before is empty."""
    nonces: tuple[bytes, ...]
    """Eight random bytes for each task wanted, at most MAX_ITEMS of them."""
    failures: DeadlineFailures
    """What ready tasks end with whose deadline has passed: they are not handed out any more."""
    start_immediately: bool = False
    max_bytes: int | None = None
    """No more inputs than this in all; None: no limit. A task whose input does not fit holds back those behind it."""
    is_first_free: bool = False
    """Whether the first task may be larger than ``max_bytes``."""
    worker_id: str = ""
    """Who takes them, where that is known before the first beat."""


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
    input_bytes: int = 0
    """How large the input is, as it counts against a worker's limit in bytes."""
    progress: bytes | None = None
    """The serialized Progress that an earlier attempt said last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leased:
    """What a LeaseRequest brought."""

    deliveries: tuple[Delivery, ...]
    is_drained: bool
    """True when all the queues are now empty, or paused, in this partition; False when there may be more."""
    is_blocked: bool = False
    """The next task does not fit into ``max_bytes``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """One sign of life."""

    task_id: str
    lease_token: bytes
    is_waiting: bool = False
    worker_id: str = ""
    """Who says so; empty: unchanged."""
    progress: bytes | None = None
    """The serialized Progress to keep; None: nothing new. Without effect while the attempt has not started."""


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
