"""Sums and bounds of what is counted; that each transition is counted right is shown through gRPC."""

from tailrace.server.domain.task import TaskState
from tailrace.server.domain.transition import Began, Ended, Transitions
from tailrace.server.metrics.histogram import Histograms
from tailrace.server.metrics.names import OTHER, Names
from tailrace.server.metrics.tally import Tally
from tailrace.v1 import task_pb2, task_service_pb2


def naming(task_type: str) -> bytes:
    return task_service_pb2.SubmitRequest(spec=task_pb2.TaskSpec(task_type=task_type)).SerializeToString()


def test_names_beyond_the_limit_are_counted_together() -> None:
    tally = Tally(Names(max_names=1))

    for number in range(3):
        tally.observe(
            Transitions(
                operation="store_results",
                accepted=[(f"q{number}", f"t{number}")],
                delivered={f"q{number}": 2},
                began=[Began(f"q{number}", 1_000)],
                ended=[Ended(f"q{number}", naming(f"t{number}"), TaskState.SUCCESS, 2_000, None)],
            )
        )

    assert tally.submitted == {("q0", "t0"): 1, (OTHER, OTHER): 2}
    assert tally.delivered == {"q0": 2, OTHER: 4}
    assert tally.done == {("q0", "t0", TaskState.SUCCESS, None): 1, (OTHER, OTHER, TaskState.SUCCESS, None): 2}
    assert [(queue, wait.total) for queue, wait in tally.wait_s.distributions()] == [("q0", 1), (OTHER, 2)]
    assert [(task_type, run.total) for task_type, run in tally.run_s.distributions()] == [("t0", 2), (OTHER, 4)]


def test_a_bound_belongs_to_its_own_bucket_and_all_larger_ones() -> None:
    histograms = Histograms[str]((0.5, 1.0, 10))

    for value in (0.5, 0.6, 1.0, 99, -3):
        histograms.add("a", value)

    ((label, distribution),) = histograms.distributions()
    assert label == "a"
    assert distribution.buckets == [("0.5", 2), ("1.0", 4), ("10.0", 4), ("+Inf", 5)]
    assert distribution.total == 0.5 + 0.6 + 1.0 + 99
