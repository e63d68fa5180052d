"""Workers that are told to stop or are killed in mid-work, whatever executor their tasks run in."""

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TypeAlias

import pytest

from tailrace.client import AsyncResult, Client, TaskState
from tests.faults.processes import Processes, ServerProcess
from tests.integration.executor_scene import EXECUTORS, Scene, await_end_of, children_of
from tests.integration.executor_tasks import PATIENCE_S
from tests.wait import eventually

GRACE_S = 20.0
SHORT_GRACE_S = 0.5
TO_UNWIND_S = 15.0
LEASE = timedelta(seconds=2)
WORK_S = 1.0

Start: TypeAlias = Callable[[float], list[Scene]]


@pytest.fixture
def server(processes: Processes, store_url: str) -> ServerProcess:
    return processes.server(store_url)


@pytest.fixture
def client(server: ServerProcess) -> Iterator[Client]:
    with Client(server.address) as client:
        yield client


@pytest.fixture
def start_scenes(processes: Processes, server: ServerProcess, client: Client) -> Start:
    """Starts one worker of each kind, side by side, with so many seconds of grace."""

    def start(executor: str, grace_s: float) -> Scene:
        arguments = ("--grace", str(grace_s), "--processes", "2")
        return Scene(executor=executor, processes=processes, client=client, address=server.address, arguments=arguments)

    def start_all(grace_s: float) -> list[Scene]:
        with ThreadPoolExecutor() as starters:
            return list(starters.map(lambda executor: start(executor, grace_s), EXECUTORS))

    return start_all


def begin(scenes: list[Scene], task_type: str, *args: object) -> list[AsyncResult]:
    results = [scene.submit(task_type, *args, str(scene.directory), lease_duration=LEASE) for scene in scenes]
    for scene, result in zip(scenes, results, strict=True):
        scene.await_mark(result, "began")
    return results


def all_children(scenes: list[Scene]) -> list[int]:
    return [child for scene in scenes for child in children_of(scene.worker.pid)]


def test_worker_told_to_stop_finishes_what_runs_and_leaves_nothing_behind(start_scenes: Start) -> None:
    scenes = start_scenes(GRACE_S)
    children = all_children(scenes)
    results = begin(scenes, "take", WORK_S)

    for scene in scenes:
        scene.worker.ask_to_stop()
    for child in children:
        os.kill(child, signal.SIGTERM)  # as systemd does: everybody in the unit is told

    assert [scene.worker.wait(GRACE_S) for scene in scenes] == [0, 0, 0]
    assert [result.get(timeout=PATIENCE_S) for result in results] == ["taken"] * 3
    assert [scene.marks(result, "ended") for scene, result in zip(scenes, results, strict=True)] == [1, 1, 1]
    assert len(children) == 2
    assert len(scenes[2].worker.lines_with("child_left")) == 2
    for child in children:
        await_end_of(child)


def test_worker_killed_before_its_grace_is_over_loses_nothing(start_scenes: Start) -> None:
    scenes = start_scenes(GRACE_S)
    children = all_children(scenes)
    results = begin(scenes, "finish_at_second")

    for scene in scenes:
        scene.worker.ask_to_stop()
        scene.worker.wait_for_line("worker_draining")
        scene.worker.kill()
    for child in children:
        await_end_of(child)
    start_scenes(GRACE_S)

    assert [result.get(timeout=PATIENCE_S) for result in results] == [2, 2, 2]


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_what_outlives_the_grace_is_given_back_and_begun_elsewhere(start_scenes: Start) -> None:
    scenes = start_scenes(SHORT_GRACE_S)
    children = all_children(scenes)
    results = begin(scenes, "stay")

    for scene in scenes:
        scene.worker.ask_to_stop()

    assert [scene.worker.wait(SHORT_GRACE_S + TO_UNWIND_S) for scene in scenes] == [0, 0, 0]
    for child in children:
        await_end_of(child)
    for scene in scenes:
        scene.worker.wait_for_line("tasks_released: 1 tasks did not finish within the grace period")
    for scene, result in zip(start_scenes(SHORT_GRACE_S), results, strict=True):
        scene.await_marks(result, "began", 2)


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_second_signal_stops_at_once_children_included(start_scenes: Start) -> None:
    scenes = start_scenes(GRACE_S)
    children = all_children(scenes)
    begin(scenes, "stay")

    for scene in scenes:
        scene.worker.ask_to_stop()
        scene.worker.wait_for_line("worker_draining")
    for scene in scenes:
        scene.worker.ask_to_stop()

    assert [scene.worker.wait(TO_UNWIND_S) for scene in scenes] == [128 + signal.SIGTERM] * 3
    for child in children:
        await_end_of(child)


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_children_do_not_outlive_a_worker_that_is_killed_whatever_they_do(start_scenes: Start) -> None:
    scene = start_scenes(GRACE_S)[2]
    children = children_of(scene.worker.pid)
    holding = scene.submit("hold_the_interpreter", PATIENCE_S)
    eventually(lambda: holding.state is TaskState.STARTED, "the task has begun")

    scene.worker.kill()

    assert len(children) == 2
    for child in children:
        await_end_of(child)
