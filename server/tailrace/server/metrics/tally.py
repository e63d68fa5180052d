"""Counts what becomes of tasks: once for each transition, by the process whose store call made it."""

from typing import Final, TypeVar

from tailrace.server.domain.task import TaskState
from tailrace.server.domain.transition import Ended, Transitions, task_type_of
from tailrace.server.metrics.histogram import TASK_BOUNDS, Histograms
from tailrace.server.metrics.names import Names, Pair
from tailrace.v1 import task_pb2

_LEASE_EXPIRED: Final = int(task_pb2.FAILURE_KIND_LEASE_EXPIRED)
_DONE: Final = frozenset(state for state in TaskState if state.is_done)

Key = TypeVar("Key")


class Tally:
    """Plain numbers, to be added to on the event loop only. Its attributes are for whoever shows them."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self.submitted: dict[Pair, int] = {}
        self.delivered: dict[str, int] = {}
        self.unconfirmed: dict[str, int] = {}
        self.released: dict[str, int] = {}
        self.done: dict[tuple[str, str, TaskState, int | None], int] = {}
        """By queue, task_type, state and kind of failure."""
        self.retries: dict[tuple[str, str, int], int] = {}
        self.lost: dict[Pair, int] = {}
        self.wait_s: Histograms[str] = Histograms(TASK_BOUNDS)
        """By queue."""
        self.run_s: Histograms[str] = Histograms(TASK_BOUNDS)
        """By task_type."""

    def observe(self, transitions: Transitions) -> None:
        """Add what one store call did."""
        submitted = self.submitted
        for pair in transitions.accepted:
            if pair in submitted:
                submitted[pair] += 1
            else:
                _add(submitted, self._names.pair(*pair))
        for queue, number in transitions.delivered.items():
            _add(self.delivered, self._names.queue(queue), number)
        for queue, wait_ms in transitions.began:
            self.wait_s.add(queue if queue in self.wait_s else self._names.queue(queue), wait_ms / 1_000)
        operation = transitions.operation
        for ended in transitions.ended:
            self._end(operation, ended)

    def _end(self, operation: str, ended: Ended) -> None:
        queue, naming, state, run_ms, kind = ended
        pair = self._names.pair(queue, task_type_of(naming))
        if state in _DONE:
            key = (pair[0], pair[1], state, kind)
            self.done[key] = self.done.get(key, 0) + 1
        elif state is TaskState.RETRY and kind is not None:
            _add(self.retries, (*pair, kind))
        if operation == "store_results":
            # Without a beat it began with its result.
            self.run_s.add(pair[1], (run_ms or 0) / 1_000)
        elif operation == "reap_leases":
            self._reap(pair, was_started=run_ms is not None)
        elif operation == "release_leases":
            _add(self.released, pair[0])
            if kind == _LEASE_EXPIRED:
                _add(self.lost, pair)

    def _reap(self, pair: Pair, *, was_started: bool) -> None:
        if was_started:
            _add(self.lost, pair)
        else:
            _add(self.unconfirmed, pair[0])


def _add(counts: dict[Key, int], key: Key, number: int = 1) -> None:
    counts[key] = counts.get(key, 0) + number
