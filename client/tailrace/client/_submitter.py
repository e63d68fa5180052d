"""Submitter: a client together with the options of what it submits."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tailrace.client import _batches
from tailrace.client._errors import batch_error
from tailrace.client._options import SubmitOptions
from tailrace.client._remote_errors import RemoteErrors
from tailrace.client._result import AsyncResult
from tailrace.client._submission import TaskFunction, submit_request
from tailrace.client._sync_calls import SyncCalls
from tailrace.client._tracing import sending
from tailrace.v1.task_service_pb2 import SubmitRequest


class Submitter:
    """What ``client.options(...)`` returns: it submits with those options, as often as wanted."""

    def __init__(self, calls: SyncCalls, remote_errors: RemoteErrors, options: SubmitOptions) -> None:
        self._calls = calls
        self._remote_errors = remote_errors
        self._options = options

    def submit(self, task: str | TaskFunction, /, *args: Any, **kwargs: Any) -> AsyncResult:
        """Submit a task; see ``Client.submit``."""
        request = submit_request(task, args, kwargs, self._options)
        with sending([request]):
            self._calls.submit(request, self._options.repeat_for_s)
        return self._result(request.task_id)

    def map(self, task: str | TaskFunction, argument_tuples: Iterable[Sequence[Any]], /) -> list[AsyncResult]:
        """Submit a task for each tuple of arguments; see ``Client.map``."""
        requests = _batches.submit_requests(task, argument_tuples, self._options)
        with sending(requests):
            errors = self._calls.submit_many(requests, self._options.repeat_for_s)
        accepted = [self._result(request.task_id) for request in requests if request.task_id not in errors]
        if errors:
            raise batch_error(accepted, _batches.by_index(requests, errors))
        return accepted

    def imap(
        self, task: str | TaskFunction, argument_tuples: Iterable[Sequence[Any]], /, *, look_ahead: int = 1000
    ) -> Iterator[AsyncResult]:
        """Submit tasks as their results are asked for; see ``Client.imap``."""
        requests = _traced(_batches.draw_requests(task, argument_tuples, self._options))
        _batches.check_look_ahead(look_ahead)
        ids = self._calls.submit_ahead(requests, self._options.repeat_for_s, look_ahead)
        return map(self._result, ids)

    def _result(self, task_id: str) -> AsyncResult:
        interest = self._calls.interest_in(task_id)
        return AsyncResult(task_id, self._calls, self._remote_errors, interest)


def _traced(requests: Iterable[SubmitRequest]) -> Iterator[SubmitRequest]:
    for request in requests:
        # Not for as long as it takes: whoever draws from this goes on with other things meanwhile.
        with sending([request]):
            pass
        yield request
