"""Submits on their way: which go into the next message, what their answers mean, what a broken stream leaves open.

Pure but for the clock, which the tests bring along. Not safe for threads: whoever holds it holds a lock.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

import grpc

from tailrace.client._batches import MAX_BYTES, MAX_ITEMS
from tailrace.client._errors import TailraceError
from tailrace.client._status import CallStatus, status_of_item
from tailrace.v1.task_service_pb2 import SubmitItem, SubmitRequest, SubmitResponse, WatchRequest

MAX_WAITING: Final = 4 * MAX_ITEMS
"""Submits without an answer, sent or not, beyond which callers wait for room."""

MAX_WAITING_BYTES: Final = 4 * MAX_BYTES

ANSWER_WITHIN_S: Final = 10.0
"""A stream that leaves a submit unanswered for so long must not use up the time for all of its tries."""

_ITEM_OVERHEAD_BYTES: Final = 8

MakeError = Callable[[], TailraceError]

Answer = SubmitResponse | CallStatus | MakeError | None
"""Accepted; refused, or without an answer that counts; what to raise; None: to be done by a call of its own."""


class Submit:
    """One submit, and whom to tell what became of it."""

    __slots__ = ("is_sent", "is_settled", "last_start_s", "request", "size_bytes", "tell")

    def __init__(self, request: SubmitRequest, *, last_start_s: float, tell: Callable[[Answer], object]) -> None:
        """Describe it.

        Args:
            request: Has its task_id; sent unchanged each time.
            last_start_s: When it may be sent again for the last time, by the clock; what was never sent always may.
            tell: Called once.
        """
        self.request = request
        self.size_bytes = request.ByteSize() + _ITEM_OVERHEAD_BYTES
        self.last_start_s = last_start_s
        self.tell = tell
        self.is_sent = False
        """Whether a server may have it."""
        self.is_settled = False
        """Nobody is to be told any more."""

    @property
    def is_too_large(self) -> bool:
        """Whether no message of a stream takes it."""
        return self.size_bytes > MAX_BYTES


class Outgoing:
    """First in, first out, also when they have to be sent again."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._queued: deque[Submit] = deque()
        self._unanswered: deque[Submit] = deque()
        self._count = 0
        self._size_bytes = 0
        self._silent_since_s = 0.0

    def __bool__(self) -> bool:
        """Tell whether there is anything to send, or an answer to come."""
        return bool(self._queued or self._unanswered)

    @property
    def has_queued(self) -> bool:
        """Whether there is anything to send."""
        return bool(self._queued)

    @property
    def is_full(self) -> bool:
        """Whether callers should wait before they put more."""
        return self._count >= MAX_WAITING or self._size_bytes >= MAX_WAITING_BYTES

    @property
    def overdue_at_s(self) -> float | None:
        """When the answers have been missing for too long, by the clock; None while none is missing."""
        return self._silent_since_s + ANSWER_WITHIN_S if self._unanswered else None

    def put(self, submit: Submit) -> None:
        """Add one at the end."""
        self._queued.append(submit)
        self._count += 1
        self._size_bytes += submit.size_bytes

    def withdraw(self, submits: Iterable[Submit]) -> None:
        """Tell nobody what becomes of these. What is not on its way makes room for others, and will not be sent."""
        withdrawn = [submit for submit in submits if not submit.is_settled]
        for submit in withdrawn:
            submit.is_settled = True
        if len(withdrawn) == 1:
            # Mostly the one that has waited longest.
            with suppress(ValueError):
                self._queued.remove(withdrawn[0])
                self._leave(withdrawn[0])
        elif withdrawn:
            queued, self._queued = self._queued, deque()
            for submit in queued:
                if submit.is_settled:
                    self._leave(submit)
                else:
                    self._queued.append(submit)

    def fill(self, message: WatchRequest) -> list[Submit]:
        """Move what has gathered into a message, up to what one takes, and return it."""
        sent: list[Submit] = []
        size_bytes = 0
        while self._queued and len(sent) < MAX_ITEMS:
            submit = self._queued[0]
            if sent and size_bytes + submit.size_bytes > MAX_BYTES:
                break
            self._queued.popleft()
            submit.is_sent = True
            size_bytes += submit.size_bytes
            sent.append(submit)
        if sent:
            if not self._unanswered:
                self._silent_since_s = self._clock()
            message.submit.extend([submit.request for submit in sent])
            self._unanswered.extend(sent)
        return sent

    def take(self, items: Iterable[SubmitItem]) -> list[tuple[Submit, Answer]]:
        """Match answers to submits, in the order in which they were sent."""
        answers: list[tuple[Submit, Answer]] = []
        for item in items:
            if not self._unanswered:
                break
            submit = self._unanswered.popleft()
            self._leave(submit)
            refused = item.WhichOneof("outcome") == "error"
            answers.append((submit, status_of_item(item.error) if refused else item.submitted))
        self._silent_since_s = self._clock()
        return answers

    def requeue(self, status: CallStatus) -> list[tuple[Submit, Answer]]:
        """Put what was sent and not answered back to the front; return what must not be sent again, with the reason."""
        now = self._clock()
        too_late: list[tuple[Submit, Answer]] = []
        again: list[Submit] = []
        for submit in self._unanswered:
            if submit.is_settled or now >= submit.last_start_s:
                self._leave(submit)
                too_late.append((submit, status))
            else:
                again.append(submit)
        self._unanswered.clear()
        self._queued.extendleft(reversed(again))
        return too_late

    def remove_all(self) -> list[Submit]:
        """Return all that is without an answer, in order, and forget it."""
        submits = [*self._unanswered, *self._queued]
        self._unanswered.clear()
        self._queued.clear()
        self._count = self._size_bytes = 0
        return submits

    def _leave(self, submit: Submit) -> None:
        self._count -= 1
        self._size_bytes -= submit.size_bytes


def unreached(status: CallStatus | None) -> CallStatus:
    """Say why a submit has no answer after all its time, by how the latest stream ended, if one did."""
    return status or CallStatus(code=grpc.StatusCode.DEADLINE_EXCEEDED, message="no answer in time")
