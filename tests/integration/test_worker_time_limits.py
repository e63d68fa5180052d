"""What the worker does with an attempt that has run for its execution_timeout."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from tailrace.client._payload import encode_arguments
from tailrace.v1 import task_pb2
from tailrace.v1 import worker_service_pb2 as wire
from tailrace.worker import Worker, current_task
from tailrace.worker._runtime import Runtime
from tailrace.worker._settings import WorkerSettings
from tailrace.worker._task import TaskRegistry
from tests.integration.scripted_server import PATIENCE_S, ScriptedServer, ServedStream
from tests.unit.worker.messages import a_duration, a_key, an_assignment, statuses

SOON_S = 0.05


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@contextlib.contextmanager
def working(server: ScriptedServer, *functions: Callable[..., Any], hard_limit_s: float) -> Iterator[ServedStream]:
    registry = TaskRegistry()
    worker = Worker()
    for function in functions:
        registry.add(worker.task(name=function.__name__)(function))
    settings = WorkerSettings(address=server.address, grace_period=timedelta(0), concurrency=2)
    runtime = Runtime(settings, registry, hard_limit_s=hard_limit_s)
    runtime.start()
    try:
        yield server.greeted_stream()
    finally:
        runtime.stop()
        runtime.join()


def limited(task_type: str, limit_s: float = SOON_S, number: int = 1) -> wire.Assignment:
    spec = task_pb2.TaskSpec(task_type=task_type, input=encode_arguments((), {}), execution_timeout=a_duration(limit_s))
    return an_assignment(number, spec=spec)


def test_coroutine_whose_time_is_up_is_cancelled_and_has_failed_of_that(server: ScriptedServer) -> None:
    async def rest_for_ever() -> None:
        await asyncio.Event().wait()

    with working(server, rest_for_ever, hard_limit_s=PATIENCE_S) as stream:
        stream.assign(limited("rest_for_ever"))
        failure = stream.result().failure

    assert failure.kind == task_pb2.FAILURE_KIND_TIMEOUT
    assert failure.type == "ExecutionTimeout"
    assert failure.message == "the attempt ran longer than its execution_timeout of 0.05 s"
    assert "rest_for_ever" in failure.traceback
    assert not failure.non_retryable


def test_thread_whose_time_is_up_is_asked_and_fails_of_that_whatever_it_raises(server: ScriptedServer) -> None:
    def look_up() -> None:
        assert current_task().revoked.wait(PATIENCE_S)
        raise ValueError("unfinished")

    with working(server, look_up, hard_limit_s=PATIENCE_S) as stream:
        stream.assign(limited("look_up"))
        failure = stream.result().failure

    assert failure.kind == task_pb2.FAILURE_KIND_TIMEOUT
    assert (failure.cause.type, failure.cause.message) == ("ValueError", "unfinished")


def test_value_of_an_attempt_that_ends_soon_after_its_time_is_taken(server: ScriptedServer) -> None:
    def finish_late() -> str:
        assert current_task().revoked.wait(PATIENCE_S)
        return "late"

    with working(server, finish_late, hard_limit_s=PATIENCE_S) as stream:
        stream.assign(limited("finish_late"))
        assert stream.result().success.data == b'"late"'


def test_attempt_that_does_not_stop_is_answered_for_and_keeps_its_slot_until_it_ends(server: ScriptedServer) -> None:
    may_end = threading.Event()

    def look_away() -> None:
        assert may_end.wait(PATIENCE_S)

    with working(server, look_away, hard_limit_s=SOON_S) as stream:
        stream.assign(limited("look_away"))
        assert stream.expect("flow_control").flow_control.max_outstanding_tasks == 1
        assert stream.result().failure.kind == task_pb2.FAILURE_KIND_TIMEOUT
        may_end.set()
        assert stream.expect("flow_control").flow_control.max_outstanding_tasks == 2


def test_attempt_that_ends_in_time_is_left_alone(server: ScriptedServer) -> None:
    def be_quick() -> bool:
        return current_task().revoked.is_set()

    def be_slow() -> bool:
        return current_task().revoked.wait(4 * SOON_S)

    with working(server, be_quick, be_slow, hard_limit_s=0) as stream:
        stream.assign(limited("be_quick"))
        assert stream.result().success.data == b"false"
        stream.assign(an_assignment(2, task_type="be_slow"))
        assert stream.result().success.data == b"false"


def test_attempt_that_was_revoked_and_whose_time_is_up_is_told_as_too_long(server: ScriptedServer) -> None:
    begun, stopped = threading.Event(), threading.Event()

    async def cling() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            stopped.set()
            await asyncio.Event().wait()

    with working(server, cling, hard_limit_s=PATIENCE_S) as stream:
        stream.assign(limited("cling", limit_s=4 * SOON_S))
        assert begun.wait(PATIENCE_S)
        key = a_key(1)
        asked = wire.LeaseStatus(
            task_id=key.task_id, lease_token=key.lease_token, held=True, revoke_requested=True, revoke_reason="why"
        )
        stream.send(statuses(asked))
        assert stopped.wait(PATIENCE_S)
        assert stream.result().failure.kind == task_pb2.FAILURE_KIND_TIMEOUT
