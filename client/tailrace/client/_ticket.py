"""Ticket: a submit under way, and where one thread waits for the answer."""

import threading
import time

from tailrace.client._outgoing import Answer, Submit
from tailrace.v1.task_service_pb2 import SubmitRequest


class Ticket:
    """A submit under way, and where one thread waits for the answer."""

    __slots__ = ("_told", "answer", "end_s", "submit")

    def __init__(self, request: SubmitRequest, *, end_s: float, last_start_s: float) -> None:
        self.end_s = end_s
        self.answer: Answer = None
        self.submit = Submit(request, last_start_s=last_start_s, tell=self._tell)
        self._told = threading.Lock()
        self._told.acquire()

    @property
    def is_answered(self) -> bool:
        """Whether there is nothing to wait for."""
        return not self._told.locked()

    def wait(self) -> bool:
        """Wait for the answer; False when there was none in time. To be called once."""
        return self._told.acquire(timeout=max(0.0, self.end_s - time.monotonic()))

    def settle(self, answer: Answer) -> None:
        """Answer it here."""
        self.submit.is_settled = True
        self._tell(answer)

    def _tell(self, answer: Answer) -> None:
        self.answer = answer
        self._told.release()
