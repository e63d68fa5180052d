"""AsyncioResult: a task that was submitted, as the asyncio client sees it."""

from collections.abc import Callable, Generator
from contextlib import aclosing
from datetime import timedelta
from inspect import isawaitable
from typing import Any, Generic, overload

from tailrace.client import _spans
from tailrace.client._async_calls import AsyncCalls
from tailrace.client._conversion import Conversion
from tailrace.client._errors import ServerUnavailableError
from tailrace.client._outcome import Outcome, TaskState
from tailrace.client._progress import Progress
from tailrace.client._resubmission import RESUBMIT_REPEAT_FOR_S, forget_request, resubmit_request
from tailrace.client._revocation import outcome_in, revoke_request, status_in
from tailrace.client._targets import Interest
from tailrace.client._tracing import calling
from tailrace.client._type_variables import R_co, T
from tailrace.client._waiting import Advanced, Finished
from tailrace.v1.task_service_pb2 import GetResultRequest


class AsyncioResult(Generic[R_co]):
    """A handle to one task. Made by AsyncClient's ``submit``, ``map`` and ``result``, at no cost.

    Only what is awaited asks the server; everything else tells what that, or the submit, learned last. Of an id that
    nobody submitted, or whose record expired, all that is awaited but ``forget`` raises TaskNotFoundError.
    """

    def __init__(
        self, task_id: str, calls: AsyncCalls, conversion: Conversion, interest: Interest | None = None
    ) -> None:
        self._id = task_id
        self._interest = interest
        self._calls = calls
        self._conversion = conversion
        self._last: Outcome | None = None
        self._final: Outcome | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._id} {self.state or 'not asked yet'}>"

    @property
    def id(self) -> str:
        """The task's id, under which any program finds it again with ``client.result(id)``."""
        return self._id

    @property
    def state(self) -> TaskState | None:
        """The last known state; None when nothing was ever heard of the task."""
        return None if self._last is None else self._last.state

    @property
    def result(self) -> Any:
        """What the task returned; the exception, not raised, if it failed or was revoked; None when neither is known.

        A task that returned None looks like one that goes on: ``ready`` tells them apart.
        """
        if self._final is None:
            return None
        error = self._final.error(self._conversion)
        return self._final.value(self._conversion) if error is None else error

    @property
    def traceback(self) -> str | None:
        """The worker's traceback: of the failure, or of the latest attempt that failed while the task goes on."""
        return None if self._last is None else self._last.traceback

    @property
    def progress(self) -> Progress | None:
        """How far the task had come when last heard of; None while it has said nothing, and once it is done."""
        progress = None if self._last is None else self._last.progress
        return None if progress is None else progress._read_with(self._conversion.codecs)  # noqa: SLF001

    def ready(self) -> bool:
        """Tell whether the task is known to be done, however it ended."""
        return self._last is not None and self._last.done

    def successful(self) -> bool:
        """Tell whether the task is known to have succeeded."""
        return self.state is TaskState.SUCCESS

    def failed(self) -> bool:
        """Tell whether the task is known to have ended in FAILURE; a revoked one did not fail."""
        return self.state is TaskState.FAILURE

    async def refresh(self) -> TaskState:
        """Ask the server how the task is, and return its state. What is final is not asked again.

        Raises:
            TaskNotFoundError: There is no such task.
        """
        if self._claim() is None:
            request = GetResultRequest(task_id=self._id)
            response = await self._calls.call(self._calls.stub.GetResult, request, task_id=self._id)
            return self._remember(Outcome(response.task)).state
        assert self._final is not None
        return self._final.state

    def __await__(self) -> Generator[Any, Any, R_co]:
        """Do as ``get()`` does: ``value = await result``."""
        return self.get().__await__()

    async def get(
        self, timeout: float | timedelta | None = None, *, on_progress: Callable[[Progress], object] | None = None
    ) -> R_co:
        """Wait until the task is done; return what it returned, raise what it raised.

        The wait goes on over restarts and broken connections until the timeout, and takes nothing away: it can be
        repeated, cancelled, and had in several tasks.

        Args:
            timeout: Seconds or a timedelta; None waits for ever, 0 looks once.
            on_progress: Called in the event loop, and awaited if it is a coroutine function, with what the task says of
                how far it has come: at once if it has said something already, then at most about twice a second, never
                twice with the same. What it raises ends the wait and is raised here.

        Raises:
            WaitTimeoutError: The task was not done in time. It goes on.
            TaskRevokedError: The task was revoked.
            TaskFailedError: The task failed, with an exception that cannot be raised as itself. Any other exception
                is one that the task raised, and has a TaskFailedError as its cause.
            TaskNotFoundError: There is no such task.
            PayloadError: What the task returned cannot be read, or is not of the type that it is to come back as.
        """
        outcome = await self._wait(timeout, on_progress)
        value: R_co = outcome.unwrap(self._conversion)
        return value

    async def wait(
        self, timeout: float | timedelta | None = None, *, on_progress: Callable[[Progress], object] | None = None
    ) -> TaskState:
        """Wait as ``get`` does, but for the end alone: a failure is returned as a state, not raised.

        Raises:
            WaitTimeoutError: The task was not done in time.
            TaskNotFoundError: There is no such task.
        """
        outcome = await self._wait(timeout, on_progress)
        return outcome.state

    async def revoke(self, *, force: bool = False, reason: str = "") -> TaskState:
        """Ask for the task not to run, or to stop; return its state after that.

        What has not started ends at once, in REVOKED. What runs is asked to stop, and its state is STARTED still: an
        asyncio task is cancelled, a thread finds ``current_task().revoked`` set. It may yet succeed; however else it
        ends, it ends in REVOKED, and ``get`` raises TaskRevokedError. What is done stays as it is.

        Args:
            force: End a running task at once too. Whatever it still comes to is refused.
            reason: Why, for the worker and for whoever asks for the result. At most 1 KiB.

        Raises:
            TaskNotFoundError: There is no such task.
        """
        request = revoke_request(self._id, force=force, reason=reason)
        response = await self._calls.call(self._calls.stub.Revoke, request, task_id=self._id, status_in=status_in)
        if self._final is None:
            self._last = outcome_in(response)
        return outcome_in(response).state

    @overload
    def returning(self, type_: type[T], /) -> "AsyncioResult[T]": ...

    @overload
    def returning(self, type_: Any, /) -> "AsyncioResult[Any]": ...

    def returning(self, type_: Any, /) -> "AsyncioResult[Any]":
        """Return a handle to the same task whose value comes back as a type; ``get`` raises PayloadError if it is none.

        Results of tasks that were submitted by their function come back as its annotation says, all others as plain
        JSON values.

        Args:
            type_: A class, or any other annotation: ``list[Order]``, ``Order | None``. Any: as it came.
        """
        conversion = self._conversion.returning(type_)
        again: AsyncioResult[Any] = AsyncioResult(self._id, self._calls, conversion, self._interest)
        again._last, again._final = self._last, self._final
        return again

    async def forget(self) -> None:
        """Delete the task's record, with its result, before it expires. Forgetting twice, or too late, is harmless.

        From then on nobody finds the task, by this handle or any other, and its id is free.

        Raises:
            TaskNotTerminalError: The task is not done. Revoke it first, or wait for it.
        """
        await self._calls.call(self._calls.stub.DeleteTask, forget_request(self._id), task_id=self._id)
        self._calls.claim(self._id)
        self._last = self._final = None

    async def resubmit(self, *, new_task_id: str | None = None) -> "AsyncioResult[R_co]":
        """Run a failed or revoked task again, as a new task with the same arguments and options.

        The new task has this one as its parent. Spans such as ``delay`` and ``total_timeout`` count anew; points in
        time are left out. This task stays as it is. Cancelled, it leaves open whether the new one was accepted: bring a
        new_task_id if that matters.

        Args:
            new_task_id: The new task's id, by default made by the client. Under the same id again, the task that was
                made first is returned.

        Raises:
            TaskNotResubmittableError: The task is neither in FAILURE nor in REVOKED.
            TaskNotFoundError: There is no such task, or its record expired.
            TaskIdConflictError: The new_task_id is taken by a different task.
            ServerUnavailableError: No answer came in time. The error's ``task_id`` is the new task's, which may have
                been accepted.
        """
        request = resubmit_request(self._id, new_task_id)
        try:
            with calling("resubmit", self._id):
                response = await self._calls.call(
                    self._calls.stub.ResubmitTask, request, repeat_for_s=RESUBMIT_REPEAT_FOR_S, task_id=self._id
                )
        except ServerUnavailableError as error:
            error.task_id = request.new_task_id
            raise
        again: AsyncioResult[R_co] = AsyncioResult(request.new_task_id, self._calls, self._conversion)
        again._note_submitted(Outcome(response.task))
        return again

    async def _wait(
        self, timeout: float | timedelta | None, on_progress: Callable[[Progress], object] | None
    ) -> Outcome:
        timeout_s = None if timeout is None else _spans.to_seconds(timeout)
        outcome = self._claim()
        if outcome is None:
            follow = self._calls.follow([self._id], timeout_s, with_progress=on_progress is not None)
            with calling("wait", self._id):
                async with aclosing(follow) as stream:
                    async for news in stream:
                        outcome = self._remember(news.known() if isinstance(news, Finished) else news.outcome)
                        if isinstance(news, Advanced) and on_progress is not None:
                            await _tell(on_progress, news.progress._read_with(self._conversion.codecs))  # noqa: SLF001
        assert outcome is not None
        return outcome

    def _claim(self) -> Outcome | None:
        """Return the end, if it is known, or came by itself since the task was submitted here."""
        if self._final is None and self._interest is not None:
            outcome = self._calls.claim(self._id)
            return None if outcome is None else self._remember(outcome)
        return self._final

    def _remember(self, outcome: Outcome) -> Outcome:
        """Learn of an outcome as the server tells it, with its result if there is one."""
        if outcome.done:
            self._final = outcome
        # What was asked before the end may be answered after it.
        if outcome.done or not self.ready():
            self._last = outcome
        return outcome

    def _note_submitted(self, outcome: Outcome) -> None:
        """Learn of the outcome in the answer to a submit, which leaves out the result of a task that existed."""
        self._last = outcome


async def _tell(on_progress: Callable[[Progress], object], progress: Progress) -> None:
    answer = on_progress(progress)
    if isawaitable(answer):
        await answer
