"""One attempt of one task, run in the test itself."""

import asyncio
import copy
import inspect
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from contextvars import Context
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from tailrace.client import Progress, TaskRevokedError
from tailrace.client._codec import PLAIN
from tailrace.client._conversion import Conversion
from tailrace.client._remote_errors import RemoteErrors
from tailrace.testing.context import TaskContext, context_or_new
from tailrace.v1 import worker_service_pb2 as wire
from tailrace.worker import Task
from tailrace.worker._execution import Execution
from tailrace.worker._leases import LeaseKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What an attempt came to."""

    value: Any
    """What the task returned, as a client gets it; None where it failed."""
    error: BaseException | None
    """What the task raised, the very object. Where it was not the task's code that failed, as when its arguments do not
    fit, what a client would get. None where the attempt succeeded."""
    may_retry: bool
    """Whether another attempt would follow, if the retry policy has one left."""
    retry_delay: timedelta | None
    """When that would begin, where the task chose it with RetryLater; None: by the policy's backoff."""
    progress: tuple[Progress, ...]
    """What the task said of how far it had come, all of it. A server hears it twice a second at most."""
    checkpoint: Any
    """What the next attempt would find in ``current_task().checkpoint``: what was said last, by whichever attempt."""

    def get(self) -> Any:
        """Return what the task returned, or raise what it raised.

        Raises:
            BaseException: ``error``, where there is one.
        """
        if self.error is not None:
            raise self.error
        return self.value


def run_attempt(task: Task[..., Any], /, *args: Any, **kwargs: Any) -> Attempt:
    """Run one attempt here and now, as a worker would, without a server.

    Arguments and result go through their payloads, so that what cannot be carried is found. ``current_task()`` works,
    and finds what the ``task_context`` around says. No time limit ends the attempt, and hooks are not called.

    Args:
        task: What ``@worker.task`` made; whatever its executor, it runs in this thread.
        *args: The task's.
        **kwargs: The task's.

    Raises:
        PayloadError: An argument cannot be carried: this is what a submit would raise.
        RuntimeError: The task is for an event loop, and one runs here already: await ``run_attempt_async``.
    """
    if task.executor == "asyncio":
        _refuse_running_loop()
        return asyncio.run(run_attempt_async(task, *args, **kwargs))
    run = _Run(task, args, kwargs)
    return run.end(Context().run(run.execution.run))


async def run_attempt_async(task: Task[..., Any], /, *args: Any, **kwargs: Any) -> Attempt:
    """Run one attempt on the running event loop; otherwise as ``run_attempt`` does. Cancelled, it cancels the task.

    Args:
        task: What ``@worker.task`` made. A plain function blocks the loop.
        *args: The task's.
        **kwargs: The task's.

    Raises:
        PayloadError: An argument cannot be carried.
    """
    run = _Run(task, args, kwargs)
    running = asyncio.get_running_loop().create_task(run.execution.run_async(), context=Context())
    try:
        await asyncio.wait([running])
    except asyncio.CancelledError:
        running.cancel()
        await asyncio.wait([running])
        raise
    return run.end(running.result())


def _refuse_running_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError("an event loop runs here: await run_attempt_async(...) instead")


class _Run:
    def __init__(self, task: Task[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._context: TaskContext = context_or_new()
        self._said_before = len(self._context.progress)
        self._raised: BaseException | None = None
        assignment = self._context.assignment_of(task.task_type, task.default_queue)
        self._conversion = Conversion().returning(task.result_type)
        payload = self._conversion.write_arguments(args, kwargs, asked=None, declared=task.content_type)
        assignment.spec.input.CopyFrom(payload)
        watched = copy.copy(task)
        watched.call_shape = task.call_shape  # of the function as written
        watched.codecs = PLAIN  # nothing leaves this process
        watched.function = self._watch(task.function)
        self.execution = Execution(
            LeaseKey(assignment.lease.task_id, b"inline"), assignment, watched, _nobody, self._context.hear
        )
        self.execution.revoked = self._context.revoked

    def end(self, result: wire.AttemptResult) -> Attempt:
        """Read the outcome; a Ctrl-C is meant for the test, not for the task."""
        if isinstance(self._raised, KeyboardInterrupt):
            raise self._raised
        failure = result.failure
        failed = result.HasField("failure")
        return Attempt(
            value=self._conversion.read_result(result.success) if result.HasField("success") else None,
            error=self._error(result),
            may_retry=failed and not failure.non_retryable,
            retry_delay=failure.next_retry_delay.ToTimedelta() if failure.HasField("next_retry_delay") else None,
            progress=tuple(self._context.progress[self._said_before :]),
            checkpoint=self._context.checkpoint,
        )

    def _error(self, result: wire.AttemptResult) -> BaseException | None:
        if result.HasField("success"):
            return None
        if result.HasField("revoked"):
            return TaskRevokedError("the task was asked to stop, and did")
        return self._raised or RemoteErrors().failed(result.failure, result.lease.task_id)

    def _watch(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Keep what it raises: the worker makes a message of that."""

        def watched(*args: Any, **kwargs: Any) -> Any:
            with self._keeping():
                value = function(*args, **kwargs)
            return self._watch_awaitable(value) if inspect.isawaitable(value) else value

        return watched

    async def _watch_awaitable(self, awaitable: Awaitable[Any]) -> Any:
        with self._keeping():
            return await awaitable

    @contextmanager
    def _keeping(self) -> Generator[None, None, None]:
        try:
            yield
        except BaseException as error:
            self._raised = error
            raise


def _nobody(_execution: Execution, _result: wire.AttemptResult | None) -> None:
    raise AssertionError("an attempt without a lease is not handed over")
