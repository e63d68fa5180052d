"""Every metric that there is: its name, its labels, what it means, and where its numbers come from.

``docs/metrics.md`` says the same to people; a test compares the two.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tailrace.server.coordinator.queue_stats import QueueTotals
from tailrace.server.metrics.calls import Calls, StoreCalls
from tailrace.server.metrics.histogram import Distribution
from tailrace.server.metrics.loop_lag import LoopLag
from tailrace.server.metrics.names import Names
from tailrace.server.metrics.tally import Tally
from tailrace.server.store.operators import WorkerPresence
from tailrace.v1 import task_pb2

Sample = tuple[tuple[str, ...], float | Distribution]
"""Values of the labels, and the number."""


class Kind(StrEnum):
    """What kind of number it is, as Prometheus calls it."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """All the numbers, as of one scrape."""

    names: Names
    tally: Tally
    calls: Calls
    store_calls: StoreCalls
    loop_lag: LoopLag
    repairs: dict[str, int]
    workers: Sequence[WorkerPresence]
    queues: Sequence[QueueTotals] | None
    """None while the store does not answer."""
    version: str


@dataclass(frozen=True, slots=True)
class Family:
    """One metric."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    text: str
    samples: Callable[[Sources], Iterable[Sample]]


def failure_kind(kind: int | None) -> str:
    """Name the kind of a failure as everywhere; empty where there was none."""
    if kind is None:
        return ""
    if kind not in task_pb2.FailureKind.values():
        return str(kind)
    return task_pb2.FailureKind.Name(kind).removeprefix("FAILURE_KIND_")  # type: ignore[arg-type]  # looked up above


def _by_queue(counts: Callable[[Sources], dict[str, int]]) -> Callable[[Sources], Iterable[Sample]]:
    return lambda sources: (((queue,), number) for queue, number in counts(sources).items())


def _by_labels(counts: Callable[[Sources], dict[tuple[str, str], int]]) -> Callable[[Sources], Iterable[Sample]]:
    return lambda sources: list(counts(sources).items())


def _done(sources: Sources) -> Iterable[Sample]:
    for (queue, task_type, state, kind), number in sources.tally.done.items():
        yield (queue, task_type, state.value, failure_kind(kind)), number


def _retries(sources: Sources) -> Iterable[Sample]:
    for (queue, task_type, kind), number in sources.tally.retries.items():
        yield (queue, task_type, failure_kind(kind)), number


def _queue_tasks(sources: Sources) -> Iterable[Sample]:
    counts: dict[tuple[str, ...], int] = {}
    for queue in sources.queues or ():
        label = sources.names.queue(queue.queue)
        of_places = {"ready": queue.ready_count, "schedule": queue.schedule_count, "lease": queue.lease_count}
        for place, number in of_places.items():
            counts[label, place] = counts.get((label, place), 0) + number
    return counts.items()


def _oldest_ages(sources: Sources) -> Iterable[Sample]:
    ages_s: dict[tuple[str, ...], float] = {}
    for queue in sources.queues or ():
        label = (sources.names.queue(queue.queue),)
        ages_s[label] = max(ages_s.get(label, 0.0), (queue.oldest_age_ms or 0) / 1_000)
    return ages_s.items()


def _paused(sources: Sources) -> Iterable[Sample]:
    paused: dict[tuple[str, ...], int] = {}
    for queue in sources.queues or ():
        label = (sources.names.queue(queue.queue),)
        paused[label] = paused.get(label, 0) + queue.is_paused
    return paused.items()


def _credits(sources: Sources) -> Iterable[Sample]:
    room = (max(0, each.max_outstanding_tasks - each.outstanding_count) for each in sources.workers)
    return [((), sum(room))]


COUNTER, GAUGE, HISTOGRAM = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM
_NAMED = ("queue", "task_type")

FAMILIES: Final = (
    Family(
        "tailrace_tasks_submitted_total", COUNTER, _NAMED, "Tasks accepted.",
        _by_labels(lambda sources: sources.tally.submitted),
    ),
    Family(
        "tailrace_tasks_done_total", COUNTER, (*_NAMED, "state", "failure_kind"), "Tasks that ended for good.", _done
    ),
    Family(
        "tailrace_retries_total", COUNTER, (*_NAMED, "failure_kind"),
        "Attempts that ended without success and are followed by another.", _retries,
    ),
    Family(
        "tailrace_leases_lost_total", COUNTER, _NAMED, "Leases that ran out with their attempt unfinished.",
        _by_labels(lambda sources: sources.tally.lost),
    ),
    Family(
        "tailrace_deliveries_total", COUNTER, ("queue",), "Tasks handed out to workers.",
        _by_queue(lambda sources: sources.tally.delivered),
    ),
    Family(
        "tailrace_deliveries_unconfirmed_total", COUNTER, ("queue",),
        "Deliveries that went back to their queue because no worker said that it has them.",
        _by_queue(lambda sources: sources.tally.unconfirmed),
    ),
    Family(
        "tailrace_releases_total", COUNTER, ("queue",), "Leases given back unfinished.",
        _by_queue(lambda sources: sources.tally.released),
    ),
    Family(
        "tailrace_queue_wait_seconds", HISTOGRAM, ("queue",),
        "How long tasks were ready, or being delivered, before an attempt began.",
        lambda sources: (((queue,), wait) for queue, wait in sources.tally.wait_s.distributions()),
    ),
    Family(
        "tailrace_attempt_duration_seconds", HISTOGRAM, ("task_type",),
        "How long attempts ran that ended with a stored result.",
        lambda sources: (((task_type,), run) for task_type, run in sources.tally.run_s.distributions()),
    ),
    Family(
        "tailrace_queue_tasks", GAUGE, ("queue", "place"), "Tasks that stand in a queue, of the whole store.",
        _queue_tasks,
    ),
    Family(
        "tailrace_queue_oldest_age_seconds", GAUGE, ("queue",),
        "How long ago the oldest of the foremost ready tasks was accepted, of the whole store; 0 when none is ready.",
        _oldest_ages,
    ),
    Family(
        "tailrace_queue_paused", GAUGE, ("queue",), "1 while nothing is delivered from a queue, of the whole store.",
        _paused,
    ),
    Family(
        "tailrace_store_up", GAUGE, (), "1 when the store answered within a second when it was asked for its queues.",
        lambda sources: [((), sources.queues is not None)],
    ),
    Family(
        "tailrace_connected_workers", GAUGE, (), "Workers with an open Work stream.",
        lambda sources: [((), len(sources.workers))],
    ),
    Family(
        "tailrace_worker_credits", GAUGE, (), "Room that connected workers grant for more tasks.", _credits
    ),
    Family(
        "tailrace_worker_tasks", GAUGE, (), "Tasks that connected workers have or are being sent.",
        lambda sources: [((), sum(each.outstanding_count for each in sources.workers))],
    ),
    Family(
        "tailrace_open_calls", GAUGE, ("method",), "Calls and streams being served.",
        _by_queue(lambda sources: sources.calls.open),
    ),
    Family(
        "tailrace_calls_total", COUNTER, ("method", "code"), "Calls and streams that ended.",
        _by_labels(lambda sources: sources.calls.ended),
    ),
    Family(
        "tailrace_call_duration_seconds", HISTOGRAM, ("method",), "How long unary calls took to answer.",
        lambda sources: (((method,), span) for method, span in sources.calls.duration_s.distributions()),
    ),
    Family(
        "tailrace_store_call_duration_seconds", HISTOGRAM, ("operation",), "How long the store took to answer.",
        lambda sources: (((name,), span) for name, span in sources.store_calls.duration_s.distributions()),
    ),
    Family(
        "tailrace_store_call_items", HISTOGRAM, ("operation",), "Items that one call of the store carried.",
        lambda sources: (((name,), items) for name, items in sources.store_calls.items.distributions()),
    ),
    Family(
        "tailrace_store_errors_total", COUNTER, ("operation", "error"), "Calls of the store that failed.",
        _by_labels(lambda sources: sources.store_calls.errors),
    ),
    Family(
        "tailrace_audit_repairs_total", COUNTER, ("repair",), "What the auditor had to put right.",
        _by_queue(lambda sources: sources.repairs),
    ),
    Family(
        "tailrace_event_loop_lag_seconds", HISTOGRAM, (), "How late the server's event loop is.",
        lambda sources: (((), lag) for _, lag in sources.loop_lag.lag_s.distributions()),
    ),
    Family(
        "tailrace_server_info", GAUGE, ("version",), "Always 1.", lambda sources: [((sources.version,), 1)]
    ),
)  # fmt: skip
