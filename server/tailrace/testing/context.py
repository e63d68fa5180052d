"""``current_task()`` for code that no worker runs."""

import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

from tailrace.client import Progress
from tailrace.client._payload import decode_value, encode_value
from tailrace.client._task_id import new_task_id
from tailrace.v1 import task_pb2
from tailrace.v1 import worker_service_pb2 as wire
from tailrace.worker._context import CurrentTask, _current
from tailrace.worker._progress import ProgressReporter


class TaskContext:
    """What code finds in ``current_task()``, and what it says there."""

    progress: list[Progress]
    """What was said of progress so far."""
    revoked: threading.Event
    """Set it to ask the task to stop, as a revoke does."""

    def __init__(self, assignment: wire.Assignment) -> None:
        self.progress = []
        self.revoked = threading.Event()
        self._assignment = assignment

    @property
    def task_id(self) -> str:
        """The task's id."""
        return self._assignment.lease.task_id

    @property
    def checkpoint(self) -> Any:
        """What the next attempt would find: what was said last, here or before; None where no checkpoint was left."""
        if self.progress:
            return self.progress[-1].details
        return decode_value(self._assignment.last_progress.details)

    def assignment_of(self, task_type: str, default_queue: str | None) -> wire.Assignment:
        """Return a delivery of a task.

        Args:
            task_type: Instead of what the block was told.
            default_queue: Unless the block was told of a queue.
        """
        assignment = wire.Assignment()
        assignment.CopyFrom(self._assignment)
        assignment.spec.task_type = task_type
        assignment.spec.queue = assignment.spec.queue or default_queue or ""
        return assignment

    def hear(self, said: task_pb2.Progress) -> None:
        """Keep what was said of progress."""
        heard = task_pb2.Progress()
        heard.CopyFrom(said)
        heard.update_time.GetCurrentTime()
        self.progress.append(Progress.from_wire(heard))


_context: ContextVar[TaskContext] = ContextVar("tailrace_task_context")


@contextmanager
def task_context(
    *,
    attempt: int = 1,
    checkpoint: object = None,
    task_id: str | None = None,
    task_type: str = "test",
    queue: str | None = None,
    parent_task_id: str | None = None,
    labels: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    execution_timeout: timedelta | None = None,
) -> Generator[TaskContext, None, None]:
    """Let ``current_task()`` work inside the block, in this thread or asyncio task and what they start.

    Tasks called directly, and ``run_attempt``, find there what is said here. Nothing is sent anywhere.

    Args:
        attempt: Its number, from 1.
        checkpoint: What an earlier attempt left.
        task_id: None: a new one.
        task_type: ``run_attempt`` says the task's own instead.
        queue: None: ``run_attempt`` says the task's own, or else it is ``default``.
        parent_task_id: None: there is none.
        labels: None: there are none.
        headers: None: there are none.
        execution_timeout: What ``deadline`` and ``time_left`` count from now on. It ends nothing.

    Raises:
        PayloadError: The checkpoint cannot be carried.
    """
    assignment = wire.Assignment(attempt=attempt, parent_task_id=parent_task_id or "")
    assignment.lease.task_id = task_id or new_task_id()
    assignment.spec.MergeFrom(
        task_pb2.TaskSpec(task_type=task_type, queue=queue or "", labels=labels or {}, headers=headers or {})
    )
    if execution_timeout is not None:
        assignment.spec.execution_timeout.FromTimedelta(execution_timeout)
    if checkpoint is not None:
        assignment.last_progress.details.CopyFrom(encode_value(checkpoint))
    context = TaskContext(assignment)
    deadline = None if execution_timeout is None else time.monotonic() + execution_timeout.total_seconds()
    last = assignment.last_progress.details if assignment.HasField("last_progress") else None
    current = CurrentTask.of(
        assignment, context.revoked, deadline=deadline, reporter=ProgressReporter(context.hear, last)
    )
    tokens = _context.set(context), _current.set(current)
    try:
        yield context
    finally:
        _current.reset(tokens[1])
        _context.reset(tokens[0])


def context_or_new() -> TaskContext:
    """Return the context of the block around; outside of one, a new one."""
    if (context := _context.get(None)) is not None:
        return context
    with task_context() as new:
        return new
