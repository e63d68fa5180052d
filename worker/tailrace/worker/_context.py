"""What the code of a task can learn about the task it runs for."""

import threading
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import MappingProxyType

from tailrace.v1 import worker_service_pb2 as wire

_DEFAULT_QUEUE = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentTask:
    """The task that the calling code runs for."""

    id: str
    """The task's id."""
    task_type: str
    """What it was submitted as."""
    queue: str
    """The queue it came through."""
    attempt: int
    """The number of this attempt, from 1. A lost worker's attempt counts, one that was given back does not."""
    headers: Mapping[str, str]
    """What the submitter sent along, unchanged. Read-only."""
    parent_task_id: str | None
    """The task on whose behalf this one was submitted; None when there is none."""
    revoked: threading.Event = field(default_factory=threading.Event, compare=False, repr=False)
    """Set once the task is to stop: somebody revoked it, or its lease is lost. A coroutine is cancelled as well; a
    function that takes long looks at ``revoked.is_set()`` now and then, or rests in ``revoked.wait(seconds)``, and
    raises whatever it likes. One that returns all the same has succeeded, if it was asked and not forced."""

    @classmethod
    def of(cls, assignment: wire.Assignment, revoked: threading.Event) -> "CurrentTask":
        """Read the task out of its delivery."""
        return cls(
            id=assignment.lease.task_id,
            task_type=assignment.spec.task_type,
            queue=assignment.spec.queue or _DEFAULT_QUEUE,
            attempt=assignment.attempt,
            headers=MappingProxyType(dict(assignment.spec.headers)),
            parent_task_id=assignment.parent_task_id or None,
            revoked=revoked,
        )


_current: ContextVar[CurrentTask] = ContextVar("tailrace_current_task")


def current_task() -> CurrentTask:
    """Return the task that the calling code runs for.

    Works in the task's own function and in whatever inherits its context: coroutines and asyncio tasks it starts,
    ``asyncio.to_thread``. A bare ``threading.Thread`` does not.

    Raises:
        RuntimeError: The calling code does not run for a task.
    """
    try:
        return _current.get()
    except LookupError:
        raise RuntimeError("current_task() was called outside a task") from None


def enter_task(task: CurrentTask) -> None:
    """Make the task current in this context, which must be one that nobody else uses."""
    _current.set(task)
