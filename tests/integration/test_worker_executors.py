"""What a task and its submitter may count on, whatever executor runs it."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from tailrace.client import AsyncResult, Client, TaskFailedError, TaskRevokedError, TaskState
from tailrace.testing import run_server
from tailrace.worker import Worker
from tests.faults.processes import Processes
from tests.integration import executor_tasks
from tests.integration.executor_scene import EXECUTORS, Scene, await_end_of, children_of
from tests.integration.executor_tasks import PATIENCE_S
from tests.wait import eventually

LIMIT = timedelta(seconds=1)
HARD_LIMIT_S = 5.0
SHORT_LEASE = timedelta(seconds=2)
LONG_S = 3 * SHORT_LEASE.total_seconds()


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Scene]]:
    directory = tmp_path_factory.mktemp("executors")
    processes = Processes(directory)
    with run_server() as server, Client(server.address) as client:
        try:
            with ThreadPoolExecutor() as starters:
                made = starters.map(
                    lambda executor: Scene(
                        executor=executor, processes=processes, client=client, address=server.address
                    ),
                    EXECUTORS,
                )
                yield {scene.executor: scene for scene in made}
        finally:
            processes.close()


@pytest.fixture(scope="module")
def deaf(scenes: dict[str, Scene]) -> dict[str, AsyncResult]:
    """A task of each executor that does not heed its limit: their five seconds pass while other tests run."""
    return {
        executor: scene.submit("stay", str(scene.directory), execution_timeout=LIMIT)
        for executor, scene in scenes.items()
    }


@pytest.fixture(scope="module")
def stubborn(scenes: dict[str, Scene]) -> list[tuple[Scene, AsyncResult, str]]:
    """Tasks that give nobody else a turn, each for three of its leases, all of them while other tests run."""
    cases = [
        ("asyncio", "sleep", "slept in attempt 1"),
        ("thread", "spin", "spun in attempt 1"),
        ("process", "hold_the_interpreter", "held in attempt 1"),
    ]
    return [
        (scenes[executor], scenes[executor].submit(task_type, LONG_S, lease_duration=SHORT_LEASE), value)
        for executor, task_type, value in cases
    ]


@pytest.fixture(params=EXECUTORS)
def scene(request: pytest.FixtureRequest, scenes: dict[str, Scene], deaf: object) -> Scene:
    return scenes[request.param]


def failure_of(result: AsyncResult) -> TaskFailedError:
    with pytest.raises(TaskFailedError) as failed:
        result.get(timeout=PATIENCE_S)
    return failed.value


def test_value_comes_back(scene: Scene) -> None:
    value = {"text": "größe", "list": [1, 2.5, None, True]}

    assert scene.submit("echo", value).get(timeout=PATIENCE_S) == value


def test_task_runs_where_its_executor_says(scene: Scene) -> None:
    pid, thread = scene.submit("where").get(timeout=PATIENCE_S)

    if scene.executor == "process":
        assert (pid in children_of(scene.worker.pid), thread) == (True, "MainThread")
    else:
        assert (pid, thread.startswith("tailrace-worker-")) == (scene.worker.pid, True)


def test_exception_comes_back_with_the_tasks_own_frames(scene: Scene) -> None:
    with pytest.raises(ValueError, match="too deep") as raised:
        scene.submit("fail", 3).get(timeout=PATIENCE_S)

    cause = raised.value.__cause__
    assert isinstance(cause, TaskFailedError)
    assert cause.traceback is not None
    assert cause.traceback.count("in fail\n") == 4
    assert "executor_tasks.py" in cause.traceback
    assert "tailrace/worker/_" not in cause.traceback


def test_task_knows_all_about_itself(scene: Scene) -> None:
    result = scene.submit("describe", labels={"customer": "acme"}, execution_timeout=timedelta(minutes=1))

    told = result.get(timeout=PATIENCE_S)

    time_left = told.pop("time_left")
    assert 0 < time_left <= 60
    assert told == {
        "id": result.id,
        "type": "describe",
        "queue": scene.executor,
        "attempt": 1,
        "headers": {},
        "labels": {"customer": "acme"},
        "revoked": False,
    }


def test_log_record_of_a_task_has_its_id_wherever_it_was_made(scene: Scene) -> None:
    result = scene.submit("describe")
    result.get(timeout=PATIENCE_S)

    scene.worker.wait_for_line(f"tests.integration.executor_tasks [{result.id}]: described")


def test_attempt_that_heeds_its_limit_has_failed_of_it_at_once(scene: Scene) -> None:
    began = time.monotonic()
    result = scene.submit("rest", str(scene.directory), execution_timeout=LIMIT)

    failure = failure_of(result)

    assert (failure.kind, failure.remote_type) == ("TIMEOUT", "ExecutionTimeout")
    assert time.monotonic() - began < LIMIT.total_seconds() + HARD_LIMIT_S
    assert scene.marks(result, "stopped") == 1


def test_revoked_task_is_asked_to_stop_and_ends_as_revoked(scene: Scene) -> None:
    result = scene.submit("rest", str(scene.directory))
    scene.await_mark(result, "began")

    result.revoke()

    with pytest.raises(TaskRevokedError):
        result.get(timeout=PATIENCE_S)
    assert scene.await_mark(result, "stopped")


def test_task_revoked_by_force_ends_at_once_and_its_code_is_stopped(scene: Scene) -> None:
    result = scene.submit("rest", str(scene.directory))
    scene.await_mark(result, "began")

    assert result.revoke(force=True) is TaskState.REVOKED

    assert scene.await_mark(result, "stopped")


def test_progress_is_told_while_the_task_runs(scene: Scene) -> None:
    result = scene.submit("tell_and_wait", str(scene.directory))
    eventually(lambda: result.progress, "progress")
    progress = result.progress

    result.revoke(force=True)

    assert progress is not None
    assert (progress.current, progress.total, progress.message) == (3, 9, "waiting")


def test_checkpoint_of_a_failed_attempt_is_handed_to_the_next(scene: Scene) -> None:
    assert scene.submit("go_on_from_checkpoint").get(timeout=PATIENCE_S) == {"row": 7}


def test_a_thousand_tasks_fifty_at_a_time_all_end_once(scene: Scene) -> None:
    client = scene.client.options(queue=scene.executor)
    results = client.map("echo", [(number,) for number in range(1000)])

    assert scene.client.gather(results, timeout=PATIENCE_S) == list(range(1000))


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("exit", "the process that ran the task ended with exit code 7"),
        ("segfault", "the process that ran the task was ended by SIGSEGV"),
        ("kill", "the process that ran the task was ended by SIGKILL; the system kills so when memory runs out"),
    ],
)
def test_crash_of_a_child_is_the_failure_of_the_task_that_it_ran_and_of_no_other(
    scenes: dict[str, Scene], how: str, told: str
) -> None:
    scene = scenes["process"]
    bystander = scene.submit("rest", str(scene.directory))
    scene.await_mark(bystander, "began")
    crashing = scene.submit("crash", how)

    failure = failure_of(crashing)

    assert (failure.kind, failure.remote_type, failure.message) == ("SYSTEM", "WorkerProcessDied", told)
    assert bystander.state is TaskState.STARTED
    bystander.revoke(force=True)
    eventually(lambda: len(children_of(scene.worker.pid)) == 4, "four children again", within_s=PATIENCE_S)


def test_task_whose_child_crashed_is_tried_three_times_where_nobody_says_otherwise(scenes: dict[str, Scene]) -> None:
    scene = scenes["process"]

    result = scene.submit("crash_at_first", "kill", str(scene.directory))

    assert result.get(timeout=PATIENCE_S) == 2


def test_child_that_runs_out_of_memory_fails_and_lives(scenes: dict[str, Scene]) -> None:
    scene = scenes["process"]

    with pytest.raises(MemoryError):
        scene.submit("use_up_memory").get(timeout=PATIENCE_S)


@pytest.mark.parametrize("executor", ["asyncio", "thread"])
def test_crash_in_the_workers_own_process_is_a_lost_lease_and_another_worker_goes_on(
    scenes: dict[str, Scene], executor: str
) -> None:
    scene = scenes[executor]
    before = scene.worker

    result = scene.submit("crash_at_first", "exit", str(scene.directory), lease_duration=SHORT_LEASE)

    assert before.wait(PATIENCE_S) == 7
    scene.worker = scene.start_worker()
    assert result.get(timeout=PATIENCE_S) == 2


def test_tasks_for_threads_overtake_those_that_wait_for_a_full_pool_of_processes(scenes: dict[str, Scene]) -> None:
    scene = scenes["thread"]
    worker = Worker("mixed", concurrency=4, processes=1)
    worker.task(executor="process")(executor_tasks.rest)
    worker.task(executor_tasks.echo)
    mixed = scene.client.options(queue="mixed")

    with worker.running(scene.address):
        busy = [mixed.submit("rest", str(scene.directory)) for _ in range(2)]
        scene.await_mark(busy[0], "began")
        values = scene.client.gather(mixed.map("echo", [(number,) for number in range(20)]), timeout=PATIENCE_S)
        for result in busy:
            result.revoke(force=True)

    assert values == list(range(20))


def test_busy_task_does_not_cost_any_task_its_lease(stubborn: list[tuple[Scene, AsyncResult, str]]) -> None:
    for scene, result, value in stubborn:
        assert result.get(timeout=PATIENCE_S) == value
        assert scene.worker.lines_with("lease_lost", result.id) == []


def test_thread_that_holds_the_interpreter_stalls_its_worker_which_says_so(scenes: dict[str, Scene]) -> None:
    scene = scenes["thread"]
    held_s = 5.0
    lease = timedelta(seconds=6)  # a beat is due after two

    scene.submit("rest", str(scene.directory), lease_duration=lease, execution_timeout=lease)
    result = scene.submit("hold_the_interpreter", held_s, lease_duration=lease)

    assert result.get(timeout=PATIENCE_S) == "held in attempt 1"
    scene.worker.wait_for_line("worker_stalled", 'executor="process"')


def test_attempt_that_does_not_heed_its_limit_is_over_five_seconds_later(
    scene: Scene, deaf: dict[str, AsyncResult]
) -> None:
    result = deaf[scene.executor]

    failure = failure_of(result)

    assert (failure.kind, failure.remote_type) == ("TIMEOUT", "ExecutionTimeout")
    if scene.executor == "process":
        scene.worker.wait_for_line("task_killed", result.id)
        await_end_of(scene.pid_of(result))
    else:
        scene.first_worker.wait_for_line("task_abandoned", result.id, "its slot stays taken")
