"""What a store tells without being asked."""

from dataclasses import dataclass

from tailrace.server.domain.task import TaskSnapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskChanged:
    """A task has, or may have, a new revision."""

    task_id: str
    snapshot: TaskSnapshot | None = None
    """The new outcome, where it came without a read; None: read it."""
    is_done: bool | None = None
    """Whether the task ended; None when even that is unknown."""
    is_progress: bool = False
    """Nothing but its progress is new."""


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


@dataclass(frozen=True, slots=True)
class StoreEmptied:
    """The store came back without its data: every task that it held is gone."""


@dataclass(frozen=True, slots=True)
class DrainRequested:
    """An operator wants a worker, wherever it is connected, to get nothing more."""

    worker_id: str


Change = TaskChanged | QueueReady | LeaseNews | DrainRequested | EpochBreak | StoreEmptied
