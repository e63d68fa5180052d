"""Running one attempt of one task: arguments in, outcome out."""

import asyncio
import inspect
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from tailrace.client import PayloadError, RetryPolicy
from tailrace.v1 import task_pb2
from tailrace.v1 import worker_service_pb2 as wire
from tailrace.worker._context import CurrentTask, enter_task
from tailrace.worker._conversion import read_arguments, write_result
from tailrace.worker._failure import failure_from, failure_of
from tailrace.worker._leases import LeaseKey
from tailrace.worker._progress import OnProgress, ProgressReporter
from tailrace.worker._retry_later import RetryLater
from tailrace.worker._task import Task
from tailrace.worker._task_interrupt import TaskInterrupt
from tailrace.worker._tracing import attempting

OnDone = Callable[["Execution", wire.AttemptResult | None], None]
"""Called once when an execution has ended; None: it was interrupted, or never began."""

# As often as a lease may be lost: what killed a process is known to nobody, as when a whole worker dies.
_RETRY_OF_DEATHS = RetryPolicy(max_attempts=3)


class Execution:
    """One attempt. An executor calls run or run_async, once, in a context of its own."""

    def __init__(
        self,
        key: LeaseKey,
        assignment: wire.Assignment,
        task: Task[..., object],
        on_done: OnDone,
        on_progress: OnProgress = lambda _: None,
        *,
        deadline: float | None = None,
    ) -> None:
        """Take it in.

        Args:
            key: The lease.
            assignment: What was delivered under it.
            task: The function.
            on_done: Takes the outcome.
            on_progress: Takes what the code says of its progress.
            deadline: When its time is up, as a reading of ``time.monotonic()``; None: the limit counts from now.
        """
        self.key = key
        self.assignment = assignment
        self.task = task
        self.cancelled = False
        """Nobody wants the outcome any more. Set before the code is interrupted, where it can be."""
        self.revoked = threading.Event()
        """The code is asked to stop. Its outcome is wanted, unless it is cancelled too."""
        self.timed_out = False
        """It has run for its ``execution_timeout``: the code is asked to stop, and unless it succeeds all the same it
        has failed of that. Set before the code is interrupted."""
        self.false_starts = 0
        """How many processes have died that were to run it, before any of its code ran."""
        self._on_done = on_done
        self._on_progress = on_progress
        self.deadline = time.monotonic() + self.limit_s if deadline is None and self.limit_s is not None else deadline
        """When its time is up, as a reading of ``time.monotonic()``; None: it may run as long as it likes."""

    @property
    def time_left_s(self) -> float | None:
        """How long it may still run; None: as long as it likes."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    @property
    def need_not_begin(self) -> bool:
        """Whether the code would only be told to stop."""
        return self.cancelled or self.revoked.is_set()

    def run(self) -> wire.AttemptResult:
        """Run a plain function. Never raises: whatever the function raises is the outcome."""
        with attempting(self.assignment) as ended:
            return ended(self._run())

    def _run(self) -> wire.AttemptResult:
        try:
            args, kwargs = self._enter()
            return self._succeed(self.task.function(*args, **kwargs))
        except _InputRefusedError as refusal:
            return self._failed(refusal.failure)
        except TaskInterrupt as error:
            return self.interrupted(error)
        except BaseException as error:  # noqa: BLE001 (sys.exit() in a task ends the task, not the worker)
            return self._fail(error)

    async def run_async(self) -> wire.AttemptResult:
        """Run a coroutine function, or a function that returns something to await. Never raises."""
        with attempting(self.assignment) as ended:
            return ended(await self._run_async())

    async def _run_async(self) -> wire.AttemptResult:
        try:
            args, kwargs = self._enter()
            value = self.task.function(*args, **kwargs)
            return self._succeed(await value if inspect.isawaitable(value) else value)
        except _InputRefusedError as refusal:
            return self._failed(refusal.failure)
        except asyncio.CancelledError as error:
            return self.interrupted(error)
        except BaseException as error:  # noqa: BLE001 (SystemExit would end the event loop)
            return self._fail(error)

    def done(self, result: wire.AttemptResult | None) -> None:
        """Hand the outcome over. An interrupted task's is kept only if it succeeded all the same."""
        if self.cancelled and result is not None and not result.HasField("success"):
            result = None
        self._on_done(self, result)

    def tell_progress(self, progress: task_pb2.Progress) -> None:
        """Pass on what the code says of its progress."""
        self._on_progress(progress)

    def interrupted(self, error: BaseException) -> wire.AttemptResult:
        """Build the outcome of an attempt that an exception of the worker's own making has ended."""
        if self.revoked.is_set() and not self.timed_out:
            return wire.AttemptResult(lease=self.key.to_wire(), revoked=wire.RevokedOutcome())
        return self._fail(error)

    def died(self, exit_code: int) -> wire.AttemptResult:
        """Build the outcome of an attempt whose process is gone."""
        if self.timed_out:
            return self.overran()
        failure = failure_of(
            task_pb2.FAILURE_KIND_SYSTEM, "WorkerProcessDied", _how_it_died(exit_code), non_retryable=False
        )
        return self._failed(failure, self.task.retry or _RETRY_OF_DEATHS)

    @property
    def limit_s(self) -> float | None:
        """How long the attempt may run; None: as long as it likes."""
        spec = self.assignment.spec
        if not spec.HasField("execution_timeout"):
            return None
        return spec.execution_timeout.seconds + spec.execution_timeout.nanos / 1e9

    def overran(self, cause: BaseException | None = None) -> wire.AttemptResult:
        """Build the outcome of an attempt that has run for too long."""
        message = f"the attempt ran longer than its execution_timeout of {self.limit_s:g} s"
        failure = failure_of(task_pb2.FAILURE_KIND_TIMEOUT, "ExecutionTimeout", message, non_retryable=False)
        if cause is not None:
            described = failure_from(cause)
            failure.traceback = described.traceback
            if not isinstance(cause, asyncio.CancelledError | TaskInterrupt):
                described.ClearField("traceback")
                failure.cause.CopyFrom(described)
        return self._failed(failure)

    def _enter(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        enter_task(self._current_task())
        try:
            return read_arguments(self.task, self.assignment.spec.input)
        except (PayloadError, TypeError) as error:
            message = f"{self.task.task_type} cannot be called: {error}"
            raise _InputRefusedError(_incurable(type(error).__name__, message)) from error

    def _current_task(self) -> CurrentTask:
        last = self.assignment.last_progress
        reporter = ProgressReporter(
            self._on_progress, last.details if last.HasField("details") else None, self.task.codecs
        )
        return CurrentTask.of(
            self.assignment, self.revoked, deadline=self.deadline, reporter=reporter, codecs=self.task.codecs
        )

    def _succeed(self, value: object) -> wire.AttemptResult:
        try:
            payload = write_result(self.task, value, self.assignment.spec.input)
            return wire.AttemptResult(lease=self.key.to_wire(), success=payload)
        except PayloadError as error:
            return self._failed(_incurable("PayloadError", f"the task's result cannot be stored: {error}"))

    def _fail(self, error: BaseException) -> wire.AttemptResult:
        if self.timed_out:
            return self.overran(error)
        failure = failure_from(error, non_retryable=not self.task.curable.includes(error))
        if isinstance(error, RetryLater):
            failure.next_retry_delay.FromTimedelta(error.delay)
        return self._failed(failure)

    def _failed(self, failure: task_pb2.Failure, policy: RetryPolicy | None = None) -> wire.AttemptResult:
        policy = policy or self.task.retry
        return wire.AttemptResult(
            lease=self.key.to_wire(), failure=failure, default_retry_policy=policy.to_wire() if policy else None
        )


class _InputRefusedError(Exception):
    def __init__(self, failure: task_pb2.Failure) -> None:
        self.failure = failure


def unknown_task_type(key: LeaseKey, task_type: str) -> wire.AttemptResult:
    """Build the outcome of a task that this worker does not know. The server has it tried again, elsewhere or later."""
    message = f"this worker has no task {task_type!r}"
    failure = failure_of(task_pb2.FAILURE_KIND_SYSTEM, "UnknownTaskType", message, non_retryable=False)
    return wire.AttemptResult(lease=key.to_wire(), failure=failure)


def _how_it_died(exit_code: int) -> str:
    if exit_code >= 0:
        return f"the process that ran the task ended with exit code {exit_code}"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        name = f"signal {-exit_code}"
    hint = "; the system kills so when memory runs out" if name == "SIGKILL" else ""
    return f"the process that ran the task was ended by {name}{hint}"


def _incurable(type_: str, message: str) -> task_pb2.Failure:
    return failure_of(task_pb2.FAILURE_KIND_APPLICATION, type_, message, non_retryable=True)
