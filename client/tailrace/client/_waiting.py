"""One wait: what it still has to hear, and what each of its WaitFor calls asks, learns and means.

A wait outlives any of its streams. It remembers the revision it has seen of every task, so the next stream, to
whichever server, tells only what is news. Pure but for the clock and the dice, which the tests bring along.
"""

import logging
import math
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import grpc

from tailrace.client import _retry
from tailrace.client._errors import TaskNotFoundError, WaitTimeoutError, error_from
from tailrace.client._outcome import Outcome
from tailrace.client._progress import Progress
from tailrace.client._status import CallStatus
from tailrace.v1.task_service_pb2 import (
    WAIT_CONDITION_ALL_DONE,
    WAIT_END_REASON_TIMEOUT,
    WaitForRequest,
    WaitForResponse,
    WaitTarget,
)

logger = logging.getLogger("tailrace.client")

MAX_TARGETS = 1000
"""Of one WaitFor call, by the contract."""

SILENCE_LIMIT_S = 50.0
"""A server says something every 20 s; a stream that missed two turns and a half is dead."""

# Every call has a deadline. Servers send a stream elsewhere after about ten minutes; this one outlived that.
_MAX_STREAM_S = 900.0

# A wait of no time at all still looks once, and that takes a connection and a round trip.
_FIRST_LOOK_S = 1.0

SHORT_S = 0.1
"""A wait below this looks once in any case, with a call of its own: news on a stream may take as long."""

# The server ends a wait in time, with everything it had to say; the call's own deadline is for one that went mute.
_GRACE_S = 0.25

# What proxies make of a stream they drop. The server's own errors carry a reason.
_DROPPED = frozenset({grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN})


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A task that need not be waited for any more."""

    task_id: str
    outcome: Outcome | None
    """None: the server knows no such task."""

    def known(self) -> Outcome:
        """Return the outcome.

        Raises:
            TaskNotFoundError: There is none.
        """
        if self.outcome is None:
            raise TaskNotFoundError(f"no task {self.task_id}", task_id=self.task_id)
        return self.outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Advanced:
    """A task that goes on, and said how far it has come."""

    task_id: str
    outcome: Outcome
    progress: Progress


News = Finished | Advanced


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamPlan:
    """The next WaitFor call."""

    request: WaitForRequest
    timeout_s: float
    """The call's deadline."""
    waits_for_ready: bool
    """Whether the call waits for a connection rather than fail for lack of one."""


def split_targets(task_ids: Sequence[str]) -> list[Sequence[str]]:
    """Share tasks out among as many waits as they need; at least one."""
    return [task_ids[start : start + MAX_TARGETS] for start in range(0, len(task_ids) or 1, MAX_TARGETS)]


class Wait:
    """Follows up to 1000 tasks until each is done, or the caller's time is up."""

    def __init__(
        self,
        task_ids: Iterable[str],
        *,
        timeout_s: float | None,
        with_progress: bool = False,
        clock: Callable[[], float] = time.monotonic,
        dice: Callable[[], float] = random.random,
    ) -> None:
        """Start the clock.

        Args:
            task_ids: What to wait for.
            timeout_s: None waits for ever; 0 or less looks once.
            with_progress: Whether to hear of progress on the way to the end.
            clock: Seconds, monotonic.
            dice: From 0 to 1.
        """
        self._revisions = dict.fromkeys(task_ids, 0)
        self._timeout_s = math.inf if timeout_s is None else timeout_s
        self._with_progress = with_progress
        self._progress: dict[str, Progress] = {}
        self._clock = clock
        self._dice = dice
        self._deadline_s = clock() + self._timeout_s
        self._failures = 0
        self._has_looked = False
        self._has_run_out = False
        self._stream_spoke = False
        self._last_status: CallStatus | None = None

    def is_over(self) -> bool:
        """Whether there is nothing left to hear of."""
        return not self._revisions

    def next_stream(self) -> StreamPlan:
        """Plan the next WaitFor call.

        Raises:
            WaitTimeoutError: The time is up.
        """
        remaining_s = self._remaining_s()
        if self._has_run_out or (self._has_looked and remaining_s <= 0):
            raise self._timeout_error()
        least_s = 0.0 if self._has_looked else _FIRST_LOOK_S
        self._has_looked = True
        self._stream_spoke = False
        timeout_s = min(max(remaining_s, least_s) + _GRACE_S, _MAX_STREAM_S)
        return StreamPlan(request=self._request(remaining_s), timeout_s=timeout_s, waits_for_ready=self._failures > 0)

    def take(self, response: WaitForResponse) -> list[News]:
        """Learn from one message of the stream; return the tasks it finished, and how far others have come."""
        self._stream_spoke = True
        # Whether the time is up is for the server to say as well: its clock may be a little ahead of ours.
        self._has_run_out = response.end_reason == WAIT_END_REASON_TIMEOUT
        if response.snapshot_complete:
            self._failures = 0
            self._last_status = None
        finished = [Finished(task_id=task.task_id, outcome=Outcome(task)) for task in response.tasks if task.done]
        finished += [Finished(task_id=task_id, outcome=None) for task_id in response.not_found_task_ids]
        for task in response.tasks:
            if task.task_id in self._revisions:
                self._revisions[task.task_id] = task.revision
        ends = [each for each in finished if self._revisions.pop(each.task_id, None) is not None]
        return [*self._advances(response), *ends]

    def pause_after(self, status: CallStatus | None) -> float:
        """Judge the end of a stream that left something to wait for.

        Args:
            status: How it ended; None: with OK, since the time is up or the server wants the stream elsewhere.

        Returns:
            The seconds to pause before the next stream.

        Raises:
            TailraceError: It makes no sense to open another one.
        """
        if status is not None and not may_resume(status, has_spoken=self._stream_spoke):
            raise error_from(status)
        self._failures += 1
        pause_s = _retry.STREAM_BACKOFF.pause_s(self._failures, self._dice())
        if status is not None and not self._is_own_deadline(status):
            self._last_status = self._cause_of(status)
            level = logging.WARNING if self._failures == 1 else logging.DEBUG
            logger.log(level, "wait_interrupted code=%s details=%r", status.code.name, status.message)
            pause_s = max(pause_s, (status.pushback_ms or 0) / 1000)
        return max(0.0, min(pause_s, self._remaining_s()))

    def _advances(self, response: WaitForResponse) -> list[Advanced]:
        """Return the tasks that go on and said something new; a stream opened again repeats what was said last."""
        if not self._with_progress:
            return []
        advances: list[Advanced] = []
        for outcome in map(Outcome, response.tasks):
            task_id, progress = outcome.task_id, outcome.progress
            if task_id in self._revisions and progress is not None and progress != self._progress.get(task_id):
                self._progress[task_id] = progress
                advances.append(Advanced(task_id=task_id, outcome=outcome, progress=progress))
        return advances

    def _cause_of(self, status: CallStatus) -> CallStatus:
        """Say why a stream ended: one that waited for a connection in vain did for what the one before it did."""
        waited_in_vain = status.code is grpc.StatusCode.DEADLINE_EXCEEDED
        return self._last_status if waited_in_vain and self._last_status is not None else status

    def _is_own_deadline(self, status: CallStatus) -> bool:
        return self._stream_spoke and status.code is grpc.StatusCode.DEADLINE_EXCEEDED

    def _request(self, remaining_s: float) -> WaitForRequest:
        request = WaitForRequest(
            targets=[WaitTarget(task_id=each, after_revision=seen) for each, seen in self._revisions.items()],
            condition=WAIT_CONDITION_ALL_DONE,
            done_only=True,
            include_progress=self._with_progress,
        )
        if remaining_s < _MAX_STREAM_S:
            request.wait_timeout.FromMilliseconds(max(1, round(remaining_s * 1000)))
        return request

    def _remaining_s(self) -> float:
        return self._deadline_s - self._clock()

    def _timeout_error(self) -> WaitTimeoutError:
        return timeout_error(list(self._revisions), self._timeout_s, self._last_status)


def may_resume(status: CallStatus, *, has_spoken: bool) -> bool:
    """Tell whether another stream may do better than one that ended so; ``has_spoken``: after it said something."""
    return _retry.is_retryable(status) or (has_spoken and not status.reason and status.code in _DROPPED)


def is_short(timeout_s: float | None) -> bool:
    """Tell whether a wait is over so soon that it is to look once in any case, however late news would come."""
    return timeout_s is not None and timeout_s < SHORT_S


def timeout_error(task_ids: Sequence[str], timeout_s: float, status: CallStatus | None) -> WaitTimeoutError:
    """Return the exception for a wait whose time is up, and what kept it from its news, if anything did."""
    what = f"task {task_ids[0]} was" if len(task_ids) == 1 else f"{len(task_ids)} tasks were"
    message = f"{what} not done after {max(0.0, timeout_s):g} s"
    if not task_ids:
        message = f"there was no task to wait for yet after {max(0.0, timeout_s):g} s"
    error = WaitTimeoutError(message, task_id=task_ids[0] if len(task_ids) == 1 else None)
    if status is not None:
        error.__cause__ = error_from(status)
    return error
