"""What the code of a task can learn about the task it runs for."""

import threading
import time
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from tailrace.client import Progress
from tailrace.client._codec import PLAIN, Codecs
from tailrace.v1 import worker_service_pb2 as wire
from tailrace.worker._progress import ProgressReporter

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
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """What the submitter marked it with, to be found by. Read-only."""
    deadline: float | None = None
    """When its ``execution_timeout`` is up, as a reading of ``time.monotonic()``; None: it has none. A coroutine is
    cancelled then, a function asked to stop."""
    last_progress: Progress | None = None
    """What an earlier attempt last said of its progress; None when none said anything."""
    revoked: threading.Event = field(default_factory=threading.Event, compare=False, repr=False)
    """Set once the task is to stop: somebody revoked it, its time is up, or its lease is lost. A coroutine is
    cancelled as well; a function that takes long looks at ``revoked.is_set()`` now and then, or rests in
    ``revoked.wait(seconds)``, and raises whatever it likes. One that returns all the same has succeeded, if it was
    asked and not forced."""
    _reporter: ProgressReporter = field(default_factory=ProgressReporter, compare=False, repr=False)

    @property
    def time_left(self) -> timedelta | None:
        """How long the attempt may still run, zero when its time is up; None: it has no ``execution_timeout``."""
        if self.deadline is None:
            return None
        return timedelta(seconds=max(0.0, self.deadline - time.monotonic()))

    @property
    def checkpoint(self) -> Any:
        """What an earlier attempt left with ``progress(checkpoint=...)``; None when none did. A fresh copy every time.

        It is the last one that reached the server: repeating what was done since must do no harm.

        Raises:
            PayloadError: It is not JSON: a program in another language left it.
        """
        return None if self.last_progress is None else self.last_progress.details

    def progress(self, current: int, total: int | None = None, message: str = "", checkpoint: object = None) -> None:
        """Say how far the task has come, for whoever follows it.

        Does not wait for anything. Goes to the server with the next sign of life, within half a second; of what is
        said more often only the last is heard. The last word before a failure is always sent, ahead of it. From any
        thread; once the attempt has ended: no effect.

        Args:
            current: Units done.
            total: Units in all; None: unknown.
            message: Short text for people, at most 1 KiB.
            checkpoint: Where the next attempt may go on, should this one fail; it finds this value in
                ``current_task().checkpoint``. At most 16 KiB as it is sent. None keeps the one said last, an earlier
                attempt's included.

        Raises:
            ValueError: A value is over its limit, which the message names.
            TypeError: A number is not an int.
            PayloadError: The checkpoint cannot be carried as JSON.
        """
        self._reporter.report(current, total, message, checkpoint)

    @classmethod
    def of(
        cls,
        assignment: wire.Assignment,
        revoked: threading.Event,
        *,
        deadline: float | None = None,
        reporter: ProgressReporter | None = None,
        codecs: Codecs = PLAIN,
    ) -> "CurrentTask":
        """Read the task out of its delivery.

        Args:
            assignment: The delivery.
            revoked: Set once the task is to stop.
            deadline: See the attribute.
            reporter: Takes what the task says of its progress; None: nobody does.
            codecs: What the progress of earlier attempts is read with.
        """
        last = Progress.from_wire(assignment.last_progress, codecs) if assignment.HasField("last_progress") else None
        return cls(
            id=assignment.lease.task_id,
            task_type=assignment.spec.task_type,
            queue=assignment.spec.queue or _DEFAULT_QUEUE,
            attempt=assignment.attempt,
            headers=MappingProxyType(dict(assignment.spec.headers)),
            parent_task_id=assignment.parent_task_id or None,
            labels=MappingProxyType(dict(assignment.spec.labels)),
            deadline=deadline,
            last_progress=last,
            revoked=revoked,
            _reporter=reporter or ProgressReporter(),
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
