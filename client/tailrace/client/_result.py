"""AsyncResult: a task that was submitted, as the synchronous client sees it."""

from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from typing import Any, Generic, overload

from tailrace.client import _spans
from tailrace.client._conversion import Conversion
from tailrace.client._errors import ServerUnavailableError
from tailrace.client._outcome import Outcome, TaskState
from tailrace.client._progress import Progress
from tailrace.client._resubmission import RESUBMIT_REPEAT_FOR_S, forget_request, resubmit_request
from tailrace.client._revocation import outcome_in, revoke_request, status_in
from tailrace.client._sync_calls import SyncCalls
from tailrace.client._targets import Interest
from tailrace.client._tracing import calling
from tailrace.client._type_variables import R_co, T
from tailrace.client._waiting import Finished
from tailrace.v1.task_service_pb2 import GetResultRequest


class AsyncResult(Generic[R_co]):
    """A handle to one task. Made by ``client.submit``, ``client.map`` and ``client.result``, at no cost.

    Whatever is not final is asked of the server each time; what is final is asked once and kept. Of an id that nobody
    submitted, or whose record expired, everything but ``id`` and ``forget`` raises TaskNotFoundError.

    Safe to use from any thread.
    """

    def __init__(
        self, task_id: str, calls: SyncCalls, conversion: Conversion, interest: Interest | None = None
    ) -> None:
        self._id = task_id
        self._interest = interest
        self._calls = calls
        self._conversion = conversion
        self._final: Outcome | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._id}>"

    @property
    def id(self) -> str:
        """The task's id, under which any program finds it again with ``client.result(id)``."""
        return self._id

    @property
    def state(self) -> TaskState:
        """Where the task is by now."""
        return self._look().state

    @property
    def result(self) -> Any:
        """What the task returned; the exception, not raised, if it failed or was revoked; None while it goes on.

        A task that returned None looks like one that goes on: ``ready`` tells them apart.
        """
        outcome = self._look()
        error = outcome.error(self._conversion)
        return outcome.value(self._conversion) if error is None else error

    @property
    def traceback(self) -> str | None:
        """The worker's traceback: of the failure, or of the latest attempt that failed while the task goes on."""
        return self._look().traceback

    @property
    def progress(self) -> Progress | None:
        """How far the task has come by now; None while it has said nothing, and once it is done."""
        progress = self._look().progress
        return None if progress is None else progress._read_with(self._conversion.codecs)  # noqa: SLF001

    def refresh(self) -> TaskState:
        """Ask the server how the task is, and return its state. What is final is not asked again."""
        return self._look().state

    def ready(self) -> bool:
        """Tell whether the task is done, however it ended."""
        return self._look().done

    def successful(self) -> bool:
        """Tell whether the task succeeded. False while it goes on."""
        return self._look().state is TaskState.SUCCESS

    def failed(self) -> bool:
        """Tell whether the task ended in FAILURE; a revoked one did not fail."""
        return self._look().state is TaskState.FAILURE

    def get(
        self, timeout: float | timedelta | None = None, *, on_progress: Callable[[Progress], object] | None = None
    ) -> R_co:
        """Wait until the task is done; return what it returned, raise what it raised.

        The wait goes on over restarts and broken connections until the timeout, and takes nothing away: it can be
        repeated, and had from several threads.

        Args:
            timeout: Seconds or a timedelta; None waits for ever, 0 looks once.
            on_progress: Called in the waiting thread with what the task says of how far it has come: at once if it
                has said something already, then at most about twice a second, never twice with the same. What it
                raises ends the wait and is raised here.

        Raises:
            WaitTimeoutError: The task was not done in time. It goes on.
            TaskRevokedError: The task was revoked.
            TaskFailedError: The task failed, with an exception that cannot be raised as itself. Any other exception
                is one that the task raised, and has a TaskFailedError as its cause.
            TaskNotFoundError: There is no such task.
            PayloadError: What the task returned cannot be read, or is not of the type that it is to come back as.
        """
        value: R_co = self._wait(timeout, on_progress).unwrap(self._conversion)
        return value

    def wait(
        self, timeout: float | timedelta | None = None, *, on_progress: Callable[[Progress], object] | None = None
    ) -> TaskState:
        """Wait as ``get`` does, but for the end alone: a failure is returned as a state, not raised.

        Raises:
            WaitTimeoutError: The task was not done in time.
            TaskNotFoundError: There is no such task.
        """
        return self._wait(timeout, on_progress).state

    def revoke(self, *, force: bool = False, reason: str = "") -> TaskState:
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
        response = self._calls.call(self._calls.stub.Revoke, request, task_id=self._id, status_in=status_in)
        return outcome_in(response).state

    @overload
    def returning(self, type_: type[T], /) -> "AsyncResult[T]": ...

    @overload
    def returning(self, type_: Any, /) -> "AsyncResult[Any]": ...

    def returning(self, type_: Any, /) -> "AsyncResult[Any]":
        """Return a handle to the same task whose value comes back as a type; ``get`` raises PayloadError if it is none.

        Results of tasks that were submitted by their function come back as its annotation says, all others as plain
        JSON values.

        Args:
            type_: A class, or any other annotation: ``list[Order]``, ``Order | None``. Any: as it came.
        """
        conversion = self._conversion.returning(type_)
        again: AsyncResult[Any] = AsyncResult(self._id, self._calls, conversion, self._interest)
        again._final = self._final
        return again

    def forget(self) -> None:
        """Delete the task's record, with its result, before it expires. Forgetting twice, or too late, is harmless.

        From then on nobody finds the task, by this handle or any other, and its id is free.

        Raises:
            TaskNotTerminalError: The task is not done. Revoke it first, or wait for it.
        """
        self._calls.call(self._calls.stub.DeleteTask, forget_request(self._id), task_id=self._id)
        self._calls.claim(self._id)
        self._final = None

    def resubmit(self, *, new_task_id: str | None = None) -> "AsyncResult[R_co]":
        """Run a failed or revoked task again, as a new task with the same arguments and options.

        The new task has this one as its parent. Spans such as ``delay`` and ``total_timeout`` count anew; points in
        time are left out. This task stays as it is.

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
                self._calls.call(
                    self._calls.stub.ResubmitTask, request, repeat_for_s=RESUBMIT_REPEAT_FOR_S, task_id=self._id
                )
        except ServerUnavailableError as error:
            error.task_id = request.new_task_id
            raise
        return AsyncResult(request.new_task_id, self._calls, self._conversion)

    def _wait(self, timeout: float | timedelta | None, on_progress: Callable[[Progress], object] | None) -> Outcome:
        timeout_s = None if timeout is None else _spans.to_seconds(timeout)
        # Not read twice: another thread may forget the task.
        outcome = self._final or self._claim()
        if outcome is None:
            follow = self._calls.follow([self._id], timeout_s, with_progress=on_progress is not None)
            with calling("wait", self._id), closing(follow) as stream:
                for news in stream:
                    if isinstance(news, Finished):
                        outcome = news.known()
                        self._remember(outcome)
                    elif on_progress is not None:
                        on_progress(news.progress._read_with(self._conversion.codecs))  # noqa: SLF001
        assert outcome is not None
        return outcome

    def _look(self) -> Outcome:
        final = self._final or self._claim()
        if final is not None:
            return final
        request = GetResultRequest(task_id=self._id)
        outcome = Outcome(self._calls.call(self._calls.stub.GetResult, request, task_id=self._id).task)
        self._remember(outcome)
        return outcome

    def _claim(self) -> Outcome | None:
        """Return the end that came by itself, since the task was submitted here."""
        if self._interest is not None and (outcome := self._calls.claim(self._id)) is not None:
            self._final = outcome
        return self._final

    def _remember(self, outcome: Outcome) -> None:
        """Keep the outcome if it is the last there will be. Outcomes without their result must not come here."""
        if outcome.done:
            self._final = outcome
