"""Times by which something must have happened to a task: started, ended an attempt, ended for good."""

from dataclasses import dataclass

from tailrace.server.domain.lease import overrun
from tailrace.server.domain.task import Place, TaskRecord, TaskState, end_revoked, finish

EXECUTION_GRACE_MS = 10_000
"""How much longer than its ``execution_timeout`` an attempt is left to its worker, which is to end it itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlineFailures:
    """The serialized Failures, all of kind TIMEOUT, that missed deadlines leave behind."""

    start: bytes
    execution: bytes
    total: bytes


def deadline_of(record: TaskRecord) -> int | None:
    """Tell when the store must act on a task by itself; None: there is nothing that it could miss as it is now.

    ``start_deadline`` holds for what is PENDING and not being delivered, ``execution_timeout`` for what is STARTED,
    ``total_timeout`` for whatever is not done.
    """
    if record.state.is_done:
        return None
    deadlines = (record.total_deadline_ms, _start_deadline(record), _execution_deadline(record))
    return min((deadline for deadline in deadlines if deadline is not None), default=None)


def is_overdue(record: TaskRecord, *, now_ms: int) -> bool:
    """Tell whether a deadline has passed on which nobody acted yet."""
    deadline = deadline_of(record)
    return deadline is not None and deadline <= now_ms


def has_but_overrun(record: TaskRecord, *, now_ms: int) -> bool:
    """Tell whether all that an overdue task has missed is the end of its attempt."""
    is_over = record.total_deadline_ms is not None and record.total_deadline_ms <= now_ms
    return record.state is TaskState.STARTED and not is_over


def miss_deadline(record: TaskRecord, failures: DeadlineFailures, *, jitter: int, now_ms: int) -> TaskRecord:
    """Act on an overdue task: FAILURE after ``total_timeout``, REVOKED after a start deadline.

    After ``execution_timeout`` the attempt has failed and the retry policy decides. Where several have passed the
    first named goes before the others. A task that was asked to stop ends REVOKED as it was asked to.
    """
    if record.total_deadline_ms is not None and record.total_deadline_ms <= now_ms:
        if record.revocation is not None:
            return end_revoked(record, now_ms=now_ms)
        return finish(record, TaskState.FAILURE, now_ms=now_ms, failure=failures.total)
    if record.state is TaskState.STARTED:
        return overrun(record, failure=failures.execution, jitter=jitter, now_ms=now_ms)
    return finish(record, TaskState.REVOKED, now_ms=now_ms, failure=failures.start)


def _start_deadline(record: TaskRecord) -> int | None:
    waits = record.state is TaskState.PENDING and record.place is not Place.LEASE
    return record.start_deadline_ms if waits else None


def _execution_deadline(record: TaskRecord) -> int | None:
    if record.state is not TaskState.STARTED or record.start_ms is None or record.execution_timeout_ms is None:
        return None
    return record.start_ms + record.execution_timeout_ms + EXECUTION_GRACE_MS
