"""The record of a task and the steps it takes: accepted, moved to a place, ended."""

from dataclasses import dataclass, replace
from enum import StrEnum

from tailrace.server.domain.retry import DEFAULT_MAX_LOST_LEASES, RetryPolicy

DEFAULT_QUEUE = "default"
DEFAULT_LEASE_MS = 30_000
DEFAULT_RESULT_TTL_MS = 24 * 3_600_000
UNKEPT_RESULT_TTL_MS = 60_000
"""How long a record stays whose submitter asked to keep no result (``result_ttl`` 0)."""


class TaskState(StrEnum):
    """Where a task is in its life; the values are spelled the same everywhere."""

    PENDING = "PENDING"
    STARTED = "STARTED"
    RETRY = "RETRY"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    REVOKED = "REVOKED"

    @property
    def is_done(self) -> bool:
        """Whether the state is terminal: such a task never changes again."""
        return self in _TERMINAL


_TERMINAL = frozenset({TaskState.SUCCESS, TaskState.FAILURE, TaskState.REVOKED})


class Place(StrEnum):
    """The one index that a task stands in."""

    READY = "ready"
    SCHEDULE = "schedule"
    LEASE = "lease"
    DONE = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A task as it is handed in: valid, with every default filled in."""

    task_id: str
    task_type: str
    queue: str
    priority: int
    fingerprint: bytes
    """16 bytes that are equal exactly for the same request (task_type, queue and input)."""
    request: bytes
    """The serialized request; the input is its tail, from ``head_bytes`` on."""
    head_bytes: int
    start_delay_ms: int = 0
    lease_ms: int = DEFAULT_LEASE_MS
    result_ttl_ms: int = DEFAULT_RESULT_TTL_MS
    retry_policy: RetryPolicy | None = None
    """None leaves the decision to the policy that a worker sends with the failure."""
    max_lost_leases: int = DEFAULT_MAX_LOST_LEASES
    return_existing: bool = False
    schedule_ms: int | None = None
    """Earliest start, as a point in time of the store's clock; not together with ``start_delay_ms``."""
    start_deadline_ms: int | None = None
    """Latest start, as a point in time of the store's clock; not together with ``start_within_ms``."""
    start_within_ms: int | None = None
    """Latest start, as a span from acceptance or, if later, from the scheduled start."""
    execution_timeout_ms: int | None = None
    total_timeout_ms: int | None = None
    is_watched: bool = False
    """Whether this process is to be told of every later change, as if the task had been registered for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRecord:
    """Everything that is known of a task. Times are milliseconds of the store's clock since the epoch."""

    task_id: str
    queue: str
    priority: int
    fingerprint: bytes
    request: bytes
    head_bytes: int
    lease_ms: int
    result_ttl_ms: int
    retry_policy: RetryPolicy | None
    max_lost_leases: int
    create_ms: int
    start_deadline_ms: int | None = None
    """A task that is PENDING by then and not being delivered is REVOKED."""
    total_deadline_ms: int | None = None
    """A task that is not done by then is FAILURE."""
    execution_timeout_ms: int | None = None

    state: TaskState
    place: Place
    revision: int
    update_ms: int
    """When the revision last changed."""
    due_ms: int | None = None
    """When it leaves the schedule, or left it; None once started, and for what was never on it."""

    attempt: int = 0
    """Attempts started; a release takes its start back."""
    failed_attempts: int = 0
    lost_leases: int = 0
    """Lost in a row: an attempt that a worker ended sets it back."""
    releases: int = 0
    """Given back in a row: a lost lease or an ended attempt sets it back."""
    delivery_count: int = 0
    start_ms: int | None = None
    """When the latest attempt started."""
    worker_id: str = ""
    """Who runs the latest attempt, or ran it, as far as they said."""

    lease_token: bytes | None = None
    lease_expire_ms: int | None = None
    ended_token: bytes | None = None
    """The token that ended the latest attempt, to know it again, and the state it led to."""
    ended_state: TaskState | None = None

    result: bytes | None = None
    """The serialized Payload of a SUCCESS; None when there is none, or none is kept."""
    failure: bytes | None = None
    """The serialized Failure of a FAILURE or REVOKED."""
    last_failure: bytes | None = None
    """The serialized Failure of the latest attempt that failed or was lost, while the task goes on."""
    progress: bytes | None = None
    """The serialized Progress said last, by whichever attempt; none once terminal."""
    revocation: bytes | None = None
    """The serialized Failure with which the task ends unless its attempt succeeds; None: nobody asked it to stop."""
    expire_ms: int | None = None
    """When the record is gone; set once terminal."""

    def is_expired(self, now_ms: int) -> bool:
        """Tell whether readers must treat the record as gone already."""
        return self.expire_ms is not None and self.expire_ms <= now_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSnapshot:
    """What a waiting client is told of a task: the outcome as of one revision, payloads still serialized."""

    task_id: str
    state: TaskState
    place: Place
    revision: int
    attempt: int
    update_ms: int
    expire_ms: int | None = None
    result: bytes | None = None
    failure: bytes | None = None
    last_failure: bytes | None = None
    progress: bytes | None = None
    is_queue_paused: bool = False
    """Whether what keeps a ready task from running is that its queue is paused."""
    is_whole: bool = True
    """False where a store left result, failures and progress out, though there are some, to keep its answer small."""

    @property
    def is_done(self) -> bool:
        """Whether nothing will change any more."""
        return self.state.is_done


def snapshot_of(record: TaskRecord, *, is_queue_paused: bool = False) -> TaskSnapshot:
    """Cut a record down to what a waiting client is told."""
    return TaskSnapshot(
        task_id=record.task_id,
        state=record.state,
        place=record.place,
        revision=record.revision,
        attempt=record.attempt,
        update_ms=record.update_ms,
        expire_ms=record.expire_ms,
        result=record.result,
        failure=record.failure,
        last_failure=record.last_failure,
        progress=record.progress,
        is_queue_paused=is_queue_paused and record.place is Place.READY,
    )


def accept(submission: Submission, *, now_ms: int) -> TaskRecord:
    """Make the record of a new task: PENDING, ready or on the schedule."""
    start_ms = max(now_ms + submission.start_delay_ms, submission.schedule_ms or 0)
    delayed = start_ms > now_ms
    start_deadline_ms = submission.start_deadline_ms
    if submission.start_within_ms is not None:
        start_deadline_ms = start_ms + submission.start_within_ms
    total_ms = submission.total_timeout_ms
    return TaskRecord(
        task_id=submission.task_id,
        queue=submission.queue,
        priority=submission.priority,
        fingerprint=submission.fingerprint,
        request=submission.request,
        head_bytes=submission.head_bytes,
        lease_ms=submission.lease_ms,
        result_ttl_ms=submission.result_ttl_ms,
        retry_policy=submission.retry_policy,
        max_lost_leases=submission.max_lost_leases,
        create_ms=now_ms,
        start_deadline_ms=start_deadline_ms,
        total_deadline_ms=None if total_ms is None else now_ms + total_ms,
        execution_timeout_ms=submission.execution_timeout_ms,
        state=TaskState.PENDING,
        place=Place.SCHEDULE if delayed else Place.READY,
        revision=1,
        update_ms=now_ms,
        due_ms=start_ms if delayed else None,
    )


def wait_until_due(record: TaskRecord, delay_ms: int, *, now_ms: int) -> TaskRecord:
    """Send a task that nobody holds to the schedule, or straight to its queue when there is no delay."""
    delayed = delay_ms > 0
    return replace(
        record,
        place=Place.SCHEDULE if delayed else Place.READY,
        due_ms=now_ms + delay_ms if delayed else record.due_ms,
        lease_token=None,
        lease_expire_ms=None,
    )


def finish(
    record: TaskRecord,
    state: TaskState,
    *,
    now_ms: int,
    result: bytes | None = None,
    failure: bytes | None = None,
) -> TaskRecord:
    """End a task for good. SUCCESS drops the input; the others keep it, so that the task can be run again."""
    keeps_result = record.result_ttl_ms > 0
    succeeded = state is TaskState.SUCCESS
    return replace(
        record,
        state=state,
        place=Place.DONE,
        revision=record.revision + 1,
        update_ms=now_ms,
        due_ms=None,
        lease_token=None,
        lease_expire_ms=None,
        request=record.request[: record.head_bytes] if succeeded else record.request,
        result=result if keeps_result else None,
        failure=failure,
        last_failure=None,
        progress=None,
        revocation=None,
        expire_ms=now_ms + (record.result_ttl_ms if keeps_result else UNKEPT_RESULT_TTL_MS),
    )


def revoke(record: TaskRecord, failure: bytes, *, is_forced: bool, now_ms: int) -> TaskRecord:
    """Take a request that a task should not run, or should stop; ``failure`` says why.

    What has not started ends at once, a delivered task too. A started one ends at once by force; else it is only asked
    to stop, and whatever ends its attempt other than success will end the task. Being asked is no change of state, so
    the revision stays; asked again, the first reason stays. A task that is done stays as it is.
    """
    if record.state.is_done:
        return record
    if record.state is TaskState.STARTED and not is_forced:
        return record if record.revocation is not None else replace(record, revocation=failure)
    return finish(record, TaskState.REVOKED, now_ms=now_ms, failure=failure)


def end_revoked(record: TaskRecord, *, now_ms: int) -> TaskRecord:
    """End a task that was asked to stop, now that its attempt is over without success."""
    return finish(record, TaskState.REVOKED, now_ms=now_ms, failure=record.revocation)
