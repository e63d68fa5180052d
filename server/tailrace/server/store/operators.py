"""What operators, and whoever looks tasks up, need of a store beside the life of its tasks.

What ``store.base`` says of every method holds here too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tailrace.server.domain.detail import TaskDetail

PRESENCE_MS = 60_000
"""What a process said of its workers is forgotten after this long, unless it says it again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One step of a walk through all tasks of a partition."""

    details: tuple[TaskDetail, ...]
    cursor: str
    """Where to go on; empty at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStats:
    """One queue in one partition. The counts are exact."""

    queue: str
    is_paused: bool
    ready_count: int
    schedule_count: int
    lease_count: int
    oldest_age_ms: int | None
    """How long ago the oldest of the foremost ready tasks of each priority was accepted; None when none is ready."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Purged:
    """What one step of a purge did."""

    count: int
    remaining: int
    """Tasks of the queue that are still ready or on the schedule in this partition."""
    cursor: str
    """Where to go on; empty once everything was looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPresence:
    """One worker, as the process that it is connected to sees it. Times are ms of that process's clock."""

    worker_id: str
    session_id: str
    queues: tuple[str, ...]
    sdk: str
    outstanding_count: int
    max_outstanding_tasks: int
    is_draining: bool
    connect_ms: int
    last_seen_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """What one step of an audit found and mended."""

    repairs: Mapping[str, int]
    """How often what was wrong, by name; empty when all was well."""
    cursor: str
    """Where to go on; empty at the end."""


class OperatorStore(Protocol):
    """See the module's text."""

    async def read_details(self, partition: int, task_ids: Sequence[str]) -> list[TaskDetail | None]:
        """Read whole records; None for an id that nobody submitted or whose record expired.

        Once their payloads reach MAX_CALL_BYTES, those that follow come without input and outcome, and are not whole if
        they have any.
        """
        ...

    async def list_tasks(self, partition: int, cursor: str, limit: int, *, with_payloads: bool) -> Listed:
        """Look through the tasks of a partition: up to ``limit`` a call, fewer once payloads reach MAX_CALL_BYTES.

        In order: leased (earliest expiry first), ready (by name of queue, then as they would be delivered), on the
        schedule (earliest first), done (latest expiry first); ties as everywhere, for done ones the larger id first.
        Without payloads the request comes without its input, the outcome without result, failures and progress, and the
        task is not whole if it has any of these.
        A task that moves meanwhile may come twice or not at all. ``cursor`` is what the call before gave, at first
        empty; a malformed one raises ValueError.
        """
        ...

    async def delete_tasks(self, partition: int, task_ids: Sequence[str]) -> list[bool | None]:
        """Remove records of tasks that are done; False for one that is not, None for an unknown one."""
        ...

    async def list_queues(self, partition: int, after: str, limit: int) -> list[QueueStats]:
        """Tell of up to ``limit`` queues by name, those that come after the one given; at first ``""``.

        A queue is known once it had a task in this partition or was paused.
        """
        ...

    async def pause_queue(self, partition: int, queue: str, *, is_paused: bool) -> QueueStats:
        """Stop deliveries from a queue, or let them go on (a QueueReady is told where tasks are ready)."""
        ...

    async def purge_queue(self, partition: int, queue: str, cursor: str, limit: int, failure: bytes) -> Purged:
        """Revoke tasks of a queue that are ready or on the schedule, looking at up to ``limit`` in one step.

        ``failure`` is the serialized Failure that they end with. Not those that a worker has. The ready ones go first.
        A malformed cursor raises ValueError.
        """
        ...

    async def audit_tasks(self, partition: int, cursor: str, limit: int) -> Audited:
        """Compare about ``limit`` records with the indexes that should hold them, and put right what differs."""
        ...

    async def announce_workers(self, workers: Sequence[WorkerPresence]) -> None:
        """Say which workers are connected to this process, instead of what it said before."""

    async def list_workers(self) -> list[WorkerPresence]:
        """Tell which workers are connected to any process, by worker_id, then session_id."""
        ...

    async def drain_worker(self, worker_id: str) -> None:
        """Have every process, this one too, told of a DrainRequested."""
