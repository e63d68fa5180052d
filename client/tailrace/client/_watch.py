"""The client's Watch stream: what to say next, what an answer means, what to repeat after a break.

Everything that the clients submit and wait for one by one goes over one stream, for as long as the client lives, over
as many streams as that takes. The first item goes at once; what comes while a message is being written goes into the
next one. A stream that no server or proxy lets through is given up for a while: what was on it is done by calls of its
own, which fail with what is wrong, if anything is.

Pure but for the clock and the dice, which the tests bring along. Not safe for threads: whoever holds it holds a lock.
"""

import logging
import random
import time
from collections.abc import Callable, Collection
from functools import partial
from typing import Final

import grpc

from tailrace.client import _retry
from tailrace.client._errors import ClientClosedError, error_from
from tailrace.client._outgoing import Answer, MakeError, Outgoing, Submit, unreached
from tailrace.client._status import CallStatus
from tailrace.client._targets import Listener, Targets
from tailrace.client._waiting import may_resume
from tailrace.v1.task_service_pb2 import SubmitResponse, WatchRequest, WatchResponse

STREAM_S: Final = 900.0
"""The deadline of a stream. Servers send one elsewhere after about ten minutes; this one outlived that."""

OFF_S: Final = 60.0
"""How long no stream is tried after one that was refused."""

MAX_MUTE: Final = 2
"""Streams in a row that connected and left submits unanswered; then they are given up."""

logger = logging.getLogger("tailrace.client")


class Watch:
    """One client's submits and waits, and the streams that carry them one after the other."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, dice: Callable[[], float] = random.random) -> None:
        """Begin without a stream.

        Args:
            clock: Seconds, monotonic.
            dice: From 0 to 1.
        """
        self._clock = clock
        self._dice = dice
        self.outgoing = Outgoing(clock)
        self.targets = Targets()
        self.last_status: CallStatus | None = None
        """How the latest stream ended; None once one has spoken since."""
        self._failures = 0
        self._mute = 0
        self._is_first = True
        self._has_spoken = False
        """Whether the stream said anything before it sent us away."""
        self._is_heard = False
        """Whether it goes on, as far as is known."""
        self._off_until_s = 0.0

    @property
    def is_off(self) -> bool:
        """Whether calls of their own have to do for now."""
        return self._off_until_s > self._clock()

    @property
    def is_needed(self) -> bool:
        """Whether there is a reason to open a stream."""
        return bool(self.outgoing) or self.targets.is_waited_for

    @property
    def trouble(self) -> CallStatus | None:
        """What keeps news away; None while a stream brings them."""
        return self.last_status or (None if self._is_heard else unreached(None))

    @property
    def waits_for_ready(self) -> bool:
        """Whether the next stream should wait for a connection rather than fail for lack of one."""
        return self._failures > 0

    @property
    def has_something_to_say(self) -> bool:
        """Whether ``next_message`` would return one."""
        return self._is_first or self.outgoing.has_queued or self.targets.has_news

    def submit(self, submit: Submit) -> None:
        """Have a task accepted."""
        self.outgoing.put(submit)

    def follow(self, task_ids: Collection[str], listener: Listener) -> bool:
        """Have a listener told of tasks; False, and nothing done, where there are too many for one stream."""
        return self.targets.follow(task_ids, listener)

    def begin(self) -> None:
        """Begin a stream."""
        self._is_first = True
        self._has_spoken = self._is_heard = False

    def next_message(self) -> WatchRequest | None:
        """Return what has gathered, up to what one message takes; None when that is nothing."""
        if not self.has_something_to_say:
            return None
        message = WatchRequest(done_only=True) if self._is_first else WatchRequest()
        self._is_first = False
        self.targets.fill(message)
        self.targets.expect(submit.request.task_id for submit in self.outgoing.fill(message))
        is_empty = not (message.done_only or message.add or message.drop_task_ids or message.submit)
        return None if is_empty else message

    def take(self, response: WatchResponse) -> None:
        """Learn from one message of the stream, and tell everybody whom it concerns."""
        self._is_heard = not response.end_reason
        if not response.end_reason:
            # One that is sent away before it said anything else is not to be opened again without a pause.
            self._has_spoken = True
            self._failures = self._mute = 0
            self.last_status = None
        if response.submitted:
            for submit, answer in self.outgoing.take(response.submitted):
                task_id = submit.request.task_id
                if isinstance(answer, CallStatus):
                    self.targets.refused(task_id)
                elif isinstance(answer, SubmitResponse):
                    self.targets.accepted(task_id, answer.task)
                _settle(submit, answer)
        if response.tasks or response.not_found_task_ids:
            self.targets.take(response)

    def end(self, status: CallStatus | None) -> float:
        """Judge the end of a stream.

        Args:
            status: How it ended; None: with OK, since the server wants it elsewhere.

        Returns:
            The seconds to pause before the next one, if there is a reason to open it.
        """
        self._is_heard = False
        if status is None:
            status = CallStatus(code=grpc.StatusCode.UNAVAILABLE, message="the server ended the stream")
            if self._has_spoken:
                self._repeat(status)
                return 0.0
        elif status.reason == "STORE_EMPTIED":
            self.targets.end_all(partial(error_from, status))
        elif not may_resume(status, has_spoken=self._has_spoken):
            return self._give_up(status)
        self._failures += 1
        self.last_status = status
        level = logging.WARNING if self._failures == 1 else logging.DEBUG
        logger.log(level, "watch_interrupted code=%s details=%r", status.code.name, status.message)
        self._repeat(status)
        pause_s = _retry.STREAM_BACKOFF.pause_s(self._failures, self._dice())
        return max(pause_s, (status.pushback_ms or 0) / 1000)

    def end_mute(self) -> float:
        """Judge a stream that was given up because submits on it stayed without an answer; see ``end``."""
        status = CallStatus(code=grpc.StatusCode.DEADLINE_EXCEEDED, message="a submit was not answered in time")
        self._mute += 1
        if self._mute >= MAX_MUTE:
            self._mute = 0
            return self._give_up(status)
        return self.end(status)

    def close(self) -> None:
        """Tell everybody that the client is closed."""
        self._end_all(closed)

    def break_down(self) -> None:
        """Let calls of their own take over: something went wrong that should not."""
        self._off_until_s = self._clock() + OFF_S
        self._end_all(None)

    def _repeat(self, status: CallStatus) -> None:
        self.targets.begin_anew()
        for submit, answer in self.outgoing.requeue(status):
            _settle(submit, answer)

    def _give_up(self, status: CallStatus) -> float:
        logger.warning("watch_refused code=%s reason=%s details=%r", status.code.name, status.reason, status.message)
        self.last_status = None
        self._failures = 0
        self._off_until_s = self._clock() + OFF_S
        self._end_all(None)
        return 0.0

    def _end_all(self, notice: MakeError | None) -> None:
        for submit in self.outgoing.remove_all():
            _settle(submit, notice)
        self.targets.end_all(notice)


def closed() -> ClientClosedError:
    """Make the error of a client that is closed."""
    return ClientClosedError("the client is closed")


def _settle(submit: Submit, answer: Answer) -> None:
    if not submit.is_settled:
        submit.is_settled = True
        submit.tell(answer)
