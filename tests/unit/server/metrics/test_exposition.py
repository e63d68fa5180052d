"""The text that Prometheus reads, and what it costs to write."""

from dataclasses import replace

from prometheus_client.parser import text_string_to_metric_families

from tailrace.server.coordinator.queue_stats import QueueTotals
from tailrace.server.domain.task import TaskState
from tailrace.server.metrics.calls import Calls, StoreCalls
from tailrace.server.metrics.catalogue import Sources
from tailrace.server.metrics.exposition import collect, render
from tailrace.server.metrics.loop_lag import LoopLag
from tailrace.server.metrics.names import Names
from tailrace.server.metrics.tally import Tally
from tailrace.server.store.operators import WorkerPresence
from tailrace.v1 import task_pb2


def sources(names: Names | None = None) -> Sources:
    names = names or Names()
    return Sources(
        names=names,
        tally=Tally(names),
        calls=Calls(),
        store_calls=StoreCalls(),
        loop_lag=LoopLag(),
        repairs={},
        workers=(),
        queues=(),
        version="1.2.3",
    )


def values(given: Sources, name: str) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families(render(collect(given))[0].decode())
    samples = [sample for family in families for sample in family.samples if sample.name == name]
    return {tuple(sorted(sample.labels.values())): sample.value for sample in samples}


def a_queue(name: str, **fields: int | bool | None) -> QueueTotals:
    totals = QueueTotals(
        queue=name, is_paused=False, ready_count=1, schedule_count=2, lease_count=3, oldest_age_ms=4_000
    )
    return replace(totals, **fields)  # type: ignore[arg-type]  # one of its own fields


def a_worker(outstanding: int, wanted: int) -> WorkerPresence:
    return WorkerPresence(
        worker_id="worker", session_id="session", queues=(), sdk="", outstanding_count=outstanding,
        max_outstanding_tasks=wanted, is_draining=False, connect_ms=0, last_seen_ms=0,
    )  # fmt: skip


def test_queues_beyond_the_limit_are_told_together() -> None:
    queues = [a_queue("first"), a_queue("second", oldest_age_ms=9_000, is_paused=True), a_queue("third")]
    given = replace(sources(Names(max_names=1)), queues=queues)

    assert values(given, "tailrace_queue_tasks")["_other", "ready"] == 2
    assert values(given, "tailrace_queue_oldest_age_seconds") == {("first",): 4, ("_other",): 9}
    assert values(given, "tailrace_queue_paused") == {("first",): 0, ("_other",): 1}


def test_a_worker_that_has_more_than_it_now_wants_takes_no_credit_from_others() -> None:
    given = replace(sources(), workers=[a_worker(5, 2), a_worker(1, 4)])

    assert values(given, "tailrace_worker_credits") == {(): 3}
    assert values(given, "tailrace_worker_tasks") == {(): 6}


def test_kinds_of_failure_are_named_as_in_the_contract_and_later_ones_by_number() -> None:
    given = sources()
    for kind in (None, 0, task_pb2.FAILURE_KIND_TIMEOUT, 5, 99):
        given.tally.done["default", "add", TaskState.FAILURE, kind] = 1

    kinds = {label for labels in values(given, "tailrace_tasks_done_total") for label in labels}
    assert kinds - {"default", "add", "FAILURE"} == {"", "UNSPECIFIED", "TIMEOUT", "5", "99"}


def test_the_version_and_the_process_are_told() -> None:
    assert values(sources(), "tailrace_server_info") == {("1.2.3",): 1}
    assert values(sources(), "process_resident_memory_bytes")[()] > 1_000_000


def test_open_metrics_are_written_for_who_asks_for_them() -> None:
    text, content_type = render(collect(sources()), "application/openmetrics-text; version=1.0.0")

    assert content_type.startswith("application/openmetrics-text")
    assert text.endswith(b"# EOF\n")
