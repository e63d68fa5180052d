"""One wait, over as many streams as it takes."""

import logging
import math

import grpc
import pytest

from tailrace.client import InvalidRequestError, ServerUnavailableError, TaskNotFoundError, WaitTimeoutError
from tailrace.client._status import CallStatus
from tailrace.client._waiting import Advanced, Finished, News, StreamPlan, Wait, split_targets
from tailrace.v1 import task_pb2
from tailrace.v1.task_pb2 import TaskResult
from tailrace.v1.task_service_pb2 import (
    WAIT_CONDITION_ALL_DONE,
    WAIT_END_REASON_RECONNECT,
    WAIT_END_REASON_TIMEOUT,
    WaitForResponse,
)

UNAVAILABLE = CallStatus(code=grpc.StatusCode.UNAVAILABLE, message="gone")
SNAPSHOT = WaitForResponse(snapshot_complete=True)


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def a_wait(
    *task_ids: str, timeout_s: float | None = None, clock: Clock | None = None, with_progress: bool = False
) -> Wait:
    return Wait(
        task_ids or ["t1"],
        timeout_s=timeout_s,
        with_progress=with_progress,
        clock=clock or Clock(),
        dice=lambda: 1.0,
    )


def started(task_id: str = "t1", revision: int = 2, progress: task_pb2.Progress | None = None) -> TaskResult:
    return TaskResult(task_id=task_id, state=task_pb2.TASK_STATE_STARTED, revision=revision, progress=progress)


def succeeded(task_id: str = "t1", revision: int = 3) -> TaskResult:
    return TaskResult(task_id=task_id, state=task_pb2.TASK_STATE_SUCCESS, done=True, revision=revision)


def revisions(plan: StreamPlan) -> dict[str, int]:
    return {target.task_id: target.after_revision for target in plan.request.targets}


def test_a_stream_asks_for_the_end_of_every_task() -> None:
    request = a_wait("t1", "t2").next_stream().request

    assert (request.condition, request.done_only, request.omit_results) == (WAIT_CONDITION_ALL_DONE, True, False)
    assert [target.task_id for target in request.targets] == ["t1", "t2"]


def test_a_task_that_is_done_is_finished_once() -> None:
    wait = a_wait("t1", "t2")
    wait.next_stream()

    first = wait.take(WaitForResponse(tasks=[succeeded("t1"), started("t2")]))
    again = wait.take(WaitForResponse(tasks=[succeeded("t1")]))

    (finished,) = first
    assert isinstance(finished, Finished)
    assert (finished.task_id, finished.known().state) == ("t1", "SUCCESS")
    assert again == []
    assert not wait.is_over()


def test_an_unknown_task_is_finished_and_raises_when_asked_for() -> None:
    wait = a_wait("t1")
    wait.next_stream()

    (finished,) = wait.take(WaitForResponse(not_found_task_ids=["t1"]))

    assert wait.is_over()
    assert isinstance(finished, Finished)
    with pytest.raises(TaskNotFoundError, match="no task t1") as caught:
        finished.known()
    assert caught.value.task_id == "t1"


def test_the_next_stream_asks_for_news_alone() -> None:
    wait = a_wait("t1", "t2", "t3")
    wait.next_stream()
    wait.take(WaitForResponse(tasks=[started("t1", revision=7), succeeded("t2")]))
    wait.pause_after(UNAVAILABLE)

    assert revisions(wait.next_stream()) == {"t1": 7, "t3": 0}


def test_tasks_nobody_asked_about_are_passed_over() -> None:
    wait = a_wait("t1")
    wait.next_stream()

    assert wait.take(WaitForResponse(tasks=[succeeded("stranger"), started("stranger")])) == []
    assert revisions(wait.next_stream()) == {"t1": 0}


def currents(news: list[News]) -> list[tuple[str, int]]:
    return [(each.task_id, each.progress.current) for each in news if isinstance(each, Advanced)]


def test_progress_is_asked_for_and_told_only_where_it_is_wanted() -> None:
    plain, eager = a_wait(), a_wait(with_progress=True)
    said = WaitForResponse(tasks=[started(progress=task_pb2.Progress(current=3))])

    assert not plain.next_stream().request.include_progress
    assert eager.next_stream().request.include_progress
    assert plain.take(said) == []
    assert currents(eager.take(said)) == [("t1", 3)]


def test_progress_that_a_new_stream_repeats_is_told_once() -> None:
    wait = a_wait("t1", "t2", with_progress=True)
    three, four = (task_pb2.Progress(current=current) for current in (3, 4))
    wait.next_stream()
    first = wait.take(WaitForResponse(tasks=[started("t1", progress=three), started("t2")], snapshot_complete=True))
    wait.pause_after(UNAVAILABLE)
    wait.next_stream()
    again = wait.take(WaitForResponse(tasks=[started("t1", progress=three), started("t2", progress=three)]))
    later = wait.take(WaitForResponse(tasks=[started("t1", progress=four), succeeded("t2")]))

    assert currents(first) == [("t1", 3)]
    assert currents(again) == [("t2", 3)]
    assert currents(later) == [("t1", 4)]
    assert [each.task_id for each in later if isinstance(each, Finished)] == ["t2"]


def test_the_time_left_is_told_to_the_server_and_to_grpc() -> None:
    clock = Clock()
    wait = a_wait(timeout_s=10, clock=clock)
    wait.next_stream()
    clock.now_s += 4

    plan = wait.next_stream()

    assert plan.request.wait_timeout.ToMilliseconds() == 6000
    assert 6 < plan.timeout_s < 7


@pytest.mark.parametrize("timeout_s", [None, math.inf, 1e12])
def test_a_wait_without_an_end_is_made_of_streams_with_one(timeout_s: float | None) -> None:
    plan = a_wait(timeout_s=timeout_s).next_stream()

    assert not plan.request.HasField("wait_timeout")
    assert plan.timeout_s == 900


@pytest.mark.parametrize("timeout_s", [0, -1])
def test_a_wait_of_no_time_looks_once(timeout_s: float | None) -> None:
    wait = a_wait(timeout_s=timeout_s)

    plan = wait.next_stream()

    assert plan.request.wait_timeout.ToMilliseconds() == 1
    assert plan.timeout_s >= 0.5
    assert len(wait.take(WaitForResponse(tasks=[succeeded()]))) == 1


def test_a_wait_whose_time_is_up_says_what_was_not_done() -> None:
    clock = Clock()
    wait = a_wait(timeout_s=1.5, clock=clock)
    wait.next_stream()
    wait.take(SNAPSHOT)
    clock.now_s += 2

    with pytest.raises(WaitTimeoutError, match=r"^task t1 was not done after 1\.5 s$") as caught:
        wait.next_stream()

    assert caught.value.task_id == "t1"
    assert caught.value.__cause__ is None


def test_several_tasks_that_were_not_done_are_counted() -> None:
    clock = Clock()
    wait = a_wait("t1", "t2", "t3", timeout_s=1, clock=clock)
    wait.next_stream()
    wait.take(WaitForResponse(tasks=[succeeded("t2")], snapshot_complete=True))
    clock.now_s += 2

    with pytest.raises(WaitTimeoutError, match=r"^2 tasks were not done after 1 s$"):
        wait.next_stream()


def test_a_server_whose_clock_is_ahead_may_call_the_time() -> None:
    wait = a_wait(timeout_s=1)
    wait.next_stream()
    wait.take(WaitForResponse(end_reason=WAIT_END_REASON_TIMEOUT))

    with pytest.raises(WaitTimeoutError):
        wait.next_stream()


def test_a_timeout_without_a_server_names_the_reason() -> None:
    clock = Clock()
    wait = a_wait(timeout_s=1, clock=clock)
    wait.next_stream()
    wait.pause_after(UNAVAILABLE)
    clock.now_s += 2

    with pytest.raises(WaitTimeoutError) as caught:
        wait.next_stream()

    assert isinstance(caught.value.__cause__, ServerUnavailableError)


def test_a_call_that_reached_its_own_deadline_is_no_fault_of_the_servers(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    wait = a_wait(timeout_s=1, clock=clock)
    wait.next_stream()
    wait.take(SNAPSHOT)
    clock.now_s += 1.3

    with caplog.at_level(logging.DEBUG, logger="tailrace.client"):
        assert wait.pause_after(CallStatus(code=grpc.StatusCode.DEADLINE_EXCEEDED)) == 0
    with pytest.raises(WaitTimeoutError) as caught:
        wait.next_stream()
    assert caught.value.__cause__ is None
    assert caplog.records == []


@pytest.mark.parametrize(
    "code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED]
)
def test_a_stream_that_broke_is_opened_again(code: grpc.StatusCode) -> None:
    wait = a_wait()
    wait.next_stream()

    assert wait.pause_after(CallStatus(code=code)) == 0.1


@pytest.mark.parametrize("code", [grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN])
def test_a_stream_that_a_proxy_dropped_is_opened_again_if_it_ever_spoke(code: grpc.StatusCode) -> None:
    dropped = CallStatus(code=code, message="Received RST_STREAM with error code 2")
    silent, spoke = a_wait(), a_wait()
    silent.next_stream()
    spoke.next_stream()
    spoke.take(SNAPSHOT)

    assert spoke.pause_after(dropped) == 0.1
    with pytest.raises(Exception, match="RST_STREAM"):
        silent.pause_after(dropped)


def test_a_server_that_names_its_own_bug_is_believed() -> None:
    wait = a_wait()
    wait.next_stream()
    wait.take(SNAPSHOT)

    with pytest.raises(Exception, match="incident"):
        wait.pause_after(CallStatus(code=grpc.StatusCode.INTERNAL, reason="INTERNAL", message="incident 7"))


def test_a_refusal_ends_the_wait() -> None:
    wait = a_wait()
    wait.next_stream()

    with pytest.raises(InvalidRequestError, match="task_id"):
        wait.pause_after(CallStatus(code=grpc.StatusCode.INVALID_ARGUMENT, message="malformed task_id"))


def test_pauses_grow_until_a_server_answers() -> None:
    wait = a_wait()
    pauses = []
    for _ in range(8):
        wait.next_stream()
        pauses.append(wait.pause_after(UNAVAILABLE))
    wait.next_stream()
    wait.take(SNAPSHOT)

    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert wait.pause_after(UNAVAILABLE) == 0.1


def test_a_server_that_asks_for_another_stream_gets_it_almost_at_once() -> None:
    wait = a_wait()
    wait.next_stream()
    wait.take(SNAPSHOT)
    wait.take(WaitForResponse(end_reason=WAIT_END_REASON_RECONNECT))

    assert wait.pause_after(None) == 0.1


def test_the_server_may_ask_for_a_longer_pause() -> None:
    wait = a_wait()
    wait.next_stream()

    assert wait.pause_after(CallStatus(code=grpc.StatusCode.UNAVAILABLE, pushback_ms=2500)) == 2.5


def test_no_pause_outlasts_the_wait() -> None:
    wait = a_wait(timeout_s=1)
    wait.next_stream()

    assert wait.pause_after(CallStatus(code=grpc.StatusCode.UNAVAILABLE, pushback_ms=2500)) == 1


def test_an_outage_is_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    wait = a_wait()
    with caplog.at_level(logging.WARNING, logger="tailrace.client"):
        for _ in range(5):
            wait.next_stream()
            wait.pause_after(UNAVAILABLE)

    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize(("count", "parts"), [(1, [1]), (1000, [1000]), (1001, [1000, 1]), (2500, [1000, 1000, 500])])
def test_many_tasks_are_shared_out_among_waits(count: int, parts: list[int]) -> None:
    assert [len(part) for part in split_targets([str(number) for number in range(count)])] == parts
