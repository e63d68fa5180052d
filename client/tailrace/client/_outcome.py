"""Outcome: what became of a task, read from the wire."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tailrace.client._conversion import Conversion
from tailrace.client._errors import PayloadError
from tailrace.client._progress import Progress
from tailrace.client._remote_errors import revoked
from tailrace.v1 import task_pb2
from tailrace.v1.task_pb2 import TaskResult

_STATE_PREFIX = "TASK_STATE_"


class TaskState(StrEnum):
    """Where a task is in its life. The members are their own names: ``TaskState.PENDING == "PENDING"``."""

    PENDING = "PENDING"
    """Accepted; no attempt has started."""
    STARTED = "STARTED"
    """A worker runs it."""
    RETRY = "RETRY"
    """An attempt ended without success, and another one is due."""
    SUCCESS = "SUCCESS"
    """It returned. Final."""
    FAILURE = "FAILURE"
    """It failed for good. Final."""
    REVOKED = "REVOKED"
    """It was revoked. Final."""
    UNKNOWN = "UNKNOWN"
    """A state that is newer than this client. An unknown task is no state: it raises TaskNotFoundError."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the server said of a task at one moment; final once ``done``."""

    wire: TaskResult

    @property
    def task_id(self) -> str:
        return self.wire.task_id

    @property
    def state(self) -> TaskState:
        try:
            return TaskState(task_pb2.TaskState.Name(self.wire.state).removeprefix(_STATE_PREFIX))
        except ValueError:
            return TaskState.UNKNOWN

    @property
    def done(self) -> bool:
        return self.wire.done

    @property
    def traceback(self) -> str | None:
        """The traceback of what ended the task, or of the latest attempt that failed while the task goes on."""
        failure = self.wire.failure if self.done else self.wire.last_failure
        return failure.traceback or None

    @property
    def progress(self) -> Progress | None:
        """How far the task has come; None when it never said, or is done."""
        return Progress.from_wire(self.wire.progress) if self.wire.HasField("progress") else None

    def value(self, conversion: Conversion) -> Any:
        """Return what the task returned; None when that was nothing, or it did not succeed.

        Raises:
            PayloadError: The value cannot be read, or is not of the type that it is to be.
        """
        if self.state is not TaskState.SUCCESS or not self.wire.HasField("result"):
            return None
        try:
            return conversion.read_result(self.wire.result)
        except PayloadError as error:
            error.task_id = self.task_id
            raise

    def error(self, conversion: Conversion) -> Exception | None:
        """Return what the task raises, a fresh one each time; None when it succeeded or is not done."""
        if not self.done or self.state is TaskState.SUCCESS:
            return None
        if self.state is TaskState.REVOKED:
            return revoked(self.wire.failure, self.task_id)
        return conversion.remote_errors.failed(self.wire.failure, self.task_id)

    def unwrap(self, conversion: Conversion) -> Any:
        """Return what the task returned, or raise what it raised."""
        error = self.error(conversion)
        if error is not None:
            raise error
        return self.value(conversion)
