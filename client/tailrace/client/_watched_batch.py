"""WatchedBatch: many submits on a Watch stream, and what became of each."""

from collections.abc import Callable, Sequence
from functools import partial

from tailrace.client import _retry
from tailrace.client._errors import TailraceError, error_from
from tailrace.client._outgoing import Answer, MakeError, Submit
from tailrace.client._status import CallStatus
from tailrace.v1.task_service_pb2 import SubmitRequest


class WatchedBatch:
    """Collects the answers. They come one at a time, under the lock of the stream or on its event loop."""

    def __init__(self, requests: Sequence[SubmitRequest], on_done: Callable[[], object]) -> None:
        """Expect an answer to each; ``on_done`` is called when the last has come, or none will."""
        self._open = {request.task_id: request for request in requests}
        self._on_done = on_done
        self._failure: MakeError | None = None
        self.errors: dict[str, TailraceError] = {}
        """By task_id: those that were not accepted, or perhaps not."""
        self.left: list[SubmitRequest] = []
        """Those for which calls of their own may do better."""
        self.submits: list[Submit] = []
        """Those that were put on the stream."""

    @property
    def open_count(self) -> int:
        """How many have no answer."""
        return len(self._open)

    def submit(self, request: SubmitRequest, *, last_start_s: float) -> Submit | None:
        """Describe one submit; None, and left, where no stream takes it."""
        submit = Submit(request, last_start_s=last_start_s, tell=partial(self._take, request))
        if submit.is_too_large:
            self._take(request, None)
            return None
        self.submits.append(submit)
        return submit

    def raise_failure(self) -> None:
        """Raise why the rest will not be answered, if that is so."""
        if self._failure is not None:
            raise self._failure()

    def give_up(self, status: CallStatus) -> None:
        """Count as failed what has no answer, for this reason; to be called once nobody takes answers any more."""
        for task_id in self._open:
            self.errors[task_id] = error_from(status, task_id=task_id)
        self._open.clear()

    def _take(self, request: SubmitRequest, answer: Answer) -> None:
        self._open.pop(request.task_id, None)
        if answer is None or (isinstance(answer, CallStatus) and _retry.is_retryable(answer)):
            self.left.append(request)
        elif isinstance(answer, CallStatus):
            self.errors[request.task_id] = error_from(answer, task_id=request.task_id)
        elif callable(answer):
            self._failure = answer
        if not self._open or self._failure is not None:
            self._on_done()
