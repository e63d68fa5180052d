"""The worker's side of the Work stream, against a server that can misbehave."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import grpc
import pytest

from tailrace.client import TailraceError
from tailrace.v1 import task_pb2
from tailrace.v1 import worker_service_pb2 as wire
from tailrace.worker import Worker
from tailrace.worker._runtime import Runtime
from tailrace.worker._settings import WorkerSettings
from tailrace.worker._stream import StreamTimes
from tailrace.worker._task import TaskRegistry
from tests.integration.scripted_server import PATIENCE_S, ScriptedServer, ServedStream
from tests.unit.worker.messages import (
    a_duration,
    a_key,
    a_status,
    an_assignment,
    assignments,
    release_acks,
    result_acks,
    statuses,
    unavailable,
)

NO_GRACE = timedelta(0)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@pytest.fixture
def stern_server(server: ScriptedServer) -> ScriptedServer:
    """A server that lets nobody go by itself."""
    server.says_goodbye = False
    return server


class Gate:
    """Tasks that run until the test lets them go."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self._entered = threading.Semaphore(0)
        self._open = threading.Event()
        self._open_on_loop: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    def in_thread(self) -> str:
        self._entered.release()
        assert self._open.wait(PATIENCE_S)
        return "through"

    async def on_loop(self) -> str:
        opened = asyncio.Event()
        self._open_on_loop.append((asyncio.get_running_loop(), opened))
        self._entered.release()
        try:
            await opened.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return "through"

    def await_entry(self) -> None:
        assert self._entered.acquire(timeout=PATIENCE_S)

    def open(self) -> None:
        """Let all go that have entered."""
        self._open.set()
        for loop, opened in self._open_on_loop:
            if not loop.is_closed():
                loop.call_soon_threadsafe(opened.set)


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open()


def a_worker(gate: Gate | None = None, *, concurrency: int = 4, grace: timedelta = timedelta(seconds=10)) -> Worker:
    worker = Worker(["default", "slow"], concurrency=concurrency, name="test", grace_period=grace)
    worker.task(name="add")(lambda x, y: x + y)
    if gate:
        worker.task(name="thread_gate")(gate.in_thread)
        worker.task(name="loop_gate")(gate.on_loop)
    return worker


@contextlib.contextmanager
def hurried(worker: Worker, address: str, times: StreamTimes) -> Iterator[Runtime]:
    """Run a worker whose patience with streams is short."""
    registry = TaskRegistry()
    for task in worker._registry:
        registry.add(task)
    settings = WorkerSettings(address=address, grace_period=NO_GRACE)
    runtime = Runtime(settings, registry, times=times)
    runtime.start()
    try:
        yield runtime
    finally:
        runtime.stop()
        runtime.join()


@contextlib.contextmanager
def answering(server: ScriptedServer, answer: Callable[[ServedStream], None]) -> Iterator[None]:
    """Answer the next stream while the block runs."""
    thread = threading.Thread(target=lambda: answer(server.next_stream()))
    thread.start()
    try:
        yield
    finally:
        thread.join(PATIENCE_S)


@contextlib.contextmanager
def stopping(worker: Worker) -> Iterator[None]:
    """Have the worker drain in the background, to be at its end by the end of the block."""
    thread = threading.Thread(target=worker.stop)
    thread.start()
    yield
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_worker_introduces_itself(server: ScriptedServer) -> None:
    with a_worker(concurrency=3).running(server.address):
        hello = server.next_stream().greet()

    assert hello.protocol_version == 1
    assert hello.worker.worker_id.startswith("test-")
    assert list(hello.worker.queues) == ["default", "slow"]
    assert hello.worker.sdk.startswith("python/")
    assert hello.flow_control.max_outstanding_tasks == 3


def test_two_runs_of_one_worker_go_by_different_ids(server: ScriptedServer) -> None:
    worker = a_worker()
    with worker.running(server.address):
        first = server.next_stream().greet()
    with worker.running(server.address):
        second = server.next_stream().greet()

    assert first.worker.worker_id != second.worker.worker_id


def test_task_is_begun_run_and_answered(server: ScriptedServer) -> None:
    with a_worker().running(server.address):
        stream = server.greeted_stream()

        assert stream.assign(an_assignment(1, args=(10, 20))) == ["task-1"]
        result = stream.result()

    assert result.lease == a_key(1).to_wire()
    assert result.success.data == b"30"


def test_task_of_unknown_type_is_answered_with_a_failure(server: ScriptedServer) -> None:
    with a_worker().running(server.address):
        stream = server.greeted_stream()
        stream.assign(an_assignment(1, task_type="subtract"))

        assert stream.result().failure.type == "UnknownTaskType"


def test_task_that_exits_does_not_end_the_worker(server: ScriptedServer) -> None:
    worker = a_worker()
    worker.task(name="leave")(lambda: exec("raise SystemExit(3)"))
    with worker.running(server.address):
        stream = server.greeted_stream()
        stream.assign(an_assignment(1, task_type="leave"))
        assert stream.result().failure.type == "SystemExit"

        stream.assign(an_assignment(2, args=(1, 2)))
        assert stream.result().success.data == b"3"


def test_task_that_stops_the_event_loop_goes_on_and_so_do_those_after_it(server: ScriptedServer) -> None:
    worker = a_worker()

    @worker.task
    async def stop_loop() -> str:
        asyncio.get_running_loop().stop()
        await asyncio.sleep(0)
        return "went on"

    with worker.running(server.address):
        stream = server.greeted_stream()
        for number in (1, 2):
            stream.assign(an_assignment(number, task_type="stop_loop"))
            assert stream.result().success.data == b'"went on"'

        stream.assign(an_assignment(3, args=(1, 2)))
        assert stream.result().success.data == b"3"


def test_task_may_be_declared_while_the_worker_runs(server: ScriptedServer) -> None:
    worker = a_worker()
    with worker.running(server.address):
        stream = server.greeted_stream()

        @worker.task
        async def later() -> str:
            return "known by now"

        stream.assign(an_assignment(1, task_type="later"))
        assert stream.result().success.data == b'"known by now"'


@pytest.mark.parametrize("task_type", ["thread_gate", "loop_gate"])
def test_tasks_run_side_by_side(server: ScriptedServer, gate: Gate, task_type: str) -> None:
    with a_worker(gate).running(server.address):
        stream = server.greeted_stream()
        stream.assign(*(an_assignment(number, task_type=task_type) for number in range(3)))
        for _ in range(3):
            gate.await_entry()
        gate.open()

        done: set[str] = set()
        while len(done) < 3:
            done |= {result.lease.task_id for result in stream.results()}
        assert done == {"task-0", "task-1", "task-2"}


def test_more_tasks_than_slots_wait_with_beats_that_say_so(server: ScriptedServer, gate: Gate) -> None:
    with a_worker(gate, concurrency=1).running(server.address):
        stream = server.greeted_stream()
        first = an_assignment(1, task_type="thread_gate")
        second = an_assignment(2, args=(1, 2), start_timeout_s=1.5)
        assert stream.assign(first, second) == ["task-1"]

        (beat,) = stream.expect("beats").beats.beats
        assert (beat.lease.task_id, beat.waiting) == ("task-2", True)

        gate.open()
        assert [stream.result().lease.task_id for _ in range(2)] == ["task-1", "task-2"]


def test_running_task_beats_at_a_third_of_its_lease(server: ScriptedServer, gate: Gate) -> None:
    with a_worker(gate).running(server.address):
        stream = server.greeted_stream()
        stream.assign(an_assignment(1, task_type="thread_gate", lease_s=2))
        began = time.monotonic()

        (beat,) = stream.expect("beats").beats.beats

        assert (beat.lease.task_id, beat.waiting) == ("task-1", False)
        assert 0.5 < time.monotonic() - began < 1.5
        gate.open()
        stream.result()


def test_idle_worker_says_that_it_lives(server: ScriptedServer) -> None:
    with a_worker().running(server.address):
        stream = server.greeted_stream(heartbeat_interval=a_duration(0.2))

        assert [len(stream.expect("beats").beats.beats) for _ in range(2)] == [0, 0]


@pytest.mark.parametrize(
    "end",
    [
        lambda stream: stream.end(),
        lambda stream: stream.abort(grpc.StatusCode.UNAVAILABLE, "Cancelling all calls"),
        lambda stream: stream.abort(grpc.StatusCode.CANCELLED, "nobody asked"),
        lambda stream: stream.abort(grpc.StatusCode.INTERNAL, "a bug"),
        lambda stream: stream.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too much"),
    ],
)
def test_worker_comes_back_with_what_it_holds(
    server: ScriptedServer, gate: Gate, end: Callable[[ServedStream], None]
) -> None:
    with a_worker(gate).running(server.address):
        first = server.greeted_stream()
        first.assign(an_assignment(1, task_type="thread_gate"))
        gate.await_entry()
        end(first)

        second = server.next_stream()
        hello = second.greet(leases=[a_status(1, held=True)])
        assert hello.session_id == "session-1"
        assert [ref.task_id for ref in hello.held_leases] == ["task-1"]
        assert [beat.lease.task_id for beat in second.expect("beats").beats.beats] == ["task-1"]

        gate.open()
        assert second.result().success.data == b'"through"'


def test_result_is_sent_until_it_is_acknowledged(server: ScriptedServer) -> None:
    with a_worker().running(server.address):
        first = server.greeted_stream()
        first.assign(an_assignment(1, args=(1, 2)))
        first.expect("results")
        first.abort(grpc.StatusCode.UNAVAILABLE, "gone before the answer")

        second = server.greeted_stream()
        assert second.result().success.data == b"3"
        second.end()

        third = server.next_stream()
        assert list(third.greet().held_leases) == []


def test_result_that_found_the_store_away_is_sent_again(server: ScriptedServer) -> None:
    with a_worker().running(server.address):
        stream = server.greeted_stream()
        stream.assign(an_assignment(1, args=(1, 2)))
        stream.expect("results")
        stream.send(result_acks(1, error=unavailable()))

        assert stream.result().success.data == b"3"


def test_coroutine_whose_lease_was_lost_is_cancelled_and_sends_nothing(server: ScriptedServer, gate: Gate) -> None:
    with a_worker(gate).running(server.address):
        stream = server.greeted_stream()
        stream.assign(an_assignment(1, task_type="loop_gate"))
        gate.await_entry()

        stream.send(statuses(a_status(1, held=False)))

        assert gate.cancelled.wait(PATIENCE_S)
        stream.assign(an_assignment(2, args=(1, 2)))
        assert stream.result().lease.task_id == "task-2"


def test_thread_whose_lease_was_lost_keeps_its_slot_until_it_ends(server: ScriptedServer, gate: Gate) -> None:
    with a_worker(gate, concurrency=2).running(server.address):
        stream = server.greeted_stream()
        stream.assign(an_assignment(1, task_type="thread_gate"))
        gate.await_entry()

        stream.send(statuses(a_status(1, held=False)))
        assert stream.expect("flow_control").flow_control.max_outstanding_tasks == 1

        gate.open()
        assert stream.expect("flow_control").flow_control.max_outstanding_tasks == 2
        assert stream.says_nothing()


def test_lease_lost_while_the_stream_was_down_stops_the_task(server: ScriptedServer, gate: Gate) -> None:
    with a_worker(gate).running(server.address):
        first = server.greeted_stream()
        first.assign(an_assignment(1, task_type="loop_gate"))
        gate.await_entry()
        first.end()

        server.greeted_stream(leases=[a_status(1, held=False)])

        assert gate.cancelled.wait(PATIENCE_S)


def test_task_goes_on_while_the_server_cannot_be_reached(gate: Gate) -> None:
    with ScriptedServer() as server:
        port = int(server.address.rpartition(":")[2])
        worker = a_worker(gate)
        worker.start(server.address)
        server.greeted_stream().assign(an_assignment(1, task_type="thread_gate"))
        gate.await_entry()
    gate.open()

    with ScriptedServer(port) as server:
        stream = server.greeted_stream()
        assert stream.result().success.data == b'"through"'
        worker.stop()


def test_worker_waits_for_a_server_that_is_not_there_yet() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    with a_worker().running(f"127.0.0.1:{port}"), ScriptedServer(port) as server:
        stream = server.greeted_stream()
        stream.assign(an_assignment(1, args=(1, 2)))

        assert stream.result().success.data == b"3"


def test_drained_server_is_heard_on_until_the_new_stream_is_there(server: ScriptedServer, gate: Gate) -> None:
    with a_worker(gate).running(server.address):
        first = server.greeted_stream(heartbeat_interval=a_duration(0.2))
        first.send(wire.WorkResponse(server_drain=wire.ServerDrain(grace_period=a_duration(10))))

        second = server.next_stream()
        assert second.expect("hello").hello.session_id == "session-1"
        assert first.await_frame("beats") is not None
        assert not first.half_closed.is_set()

        second.send(wire.WorkResponse(welcome=wire.Welcome(protocol_version=1, session_id="session-1")))
        assert first.half_closed.wait(PATIENCE_S)
        first.send(assignments(an_assignment(1, args=(1, 2))))  # was on its way when the new stream came
        assert [beat.lease.task_id for beat in second.await_frame("beats").beats.beats] == ["task-1"]
        assert second.result().success.data == b"3"


def test_stream_that_was_replaced_is_ended_when_the_server_does_not(server: ScriptedServer) -> None:
    with hurried(a_worker(), server.address, StreamTimes(superseded_s=0.2)):
        first = server.greeted_stream()
        first.send(wire.WorkResponse(server_drain=wire.ServerDrain()))
        server.greeted_stream()

        assert first.gone.wait(PATIENCE_S)


def test_silent_server_is_left_for_a_new_stream(server: ScriptedServer) -> None:
    with hurried(a_worker(), server.address, StreamTimes(silence_s=0.3)):
        first = server.greeted_stream()

        second = server.next_stream()

        assert second.greet().session_id == "session-1"
        assert first.gone.wait(PATIENCE_S)


def test_keepalives_of_the_server_keep_the_stream(server: ScriptedServer) -> None:
    with hurried(a_worker(), server.address, StreamTimes(silence_s=0.6)):
        stream = server.greeted_stream()
        for _ in range(5):
            assert not stream.gone.wait(0.2)
            stream.send(wire.WorkResponse())
        assert not stream.gone.is_set()


def test_worker_that_the_server_has_taken_leave_of_waits_for_no_more_answers(
    server: ScriptedServer, gate: Gate
) -> None:
    server.says_goodbye = False
    worker = a_worker(gate, concurrency=1, grace=timedelta(seconds=10 * PATIENCE_S))
    worker.start(server.address)
    stream = server.greeted_stream()
    stream.assign(an_assignment(1, task_type="thread_gate"))
    gate.await_entry()
    stream.send(assignments(an_assignment(2)))
    stream.send(statuses(a_status(1, held=False)))
    with ThreadPoolExecutor() as stopping:
        stopped = stopping.submit(worker.stop)
        stream.await_frame("releases")
        stream.say_goodbye()  # the server knows that both leases were lost
        stopped.result(PATIENCE_S)


def test_server_that_does_not_say_welcome_is_left_for_a_new_stream(server: ScriptedServer) -> None:
    with hurried(a_worker(), server.address, StreamTimes(welcome_s=0.3)):
        first = server.next_stream()
        first.expect("hello")

        server.greeted_stream()

        assert first.gone.is_set()


def test_server_whose_first_word_is_not_welcome_is_left_for_a_new_stream(server: ScriptedServer) -> None:
    with a_worker().running(server.address):
        first = server.next_stream()
        first.send(wire.WorkResponse())

        server.greeted_stream()

        assert first.gone.wait(PATIENCE_S)


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
    ],
)
def test_refusal_ends_the_run_with_the_servers_words(server: ScriptedServer, code: grpc.StatusCode) -> None:
    with pytest.raises(TailraceError, match="not you"), answering(server, lambda it: it.abort(code, "not you")):
        a_worker().run(server.address)


def test_server_of_another_protocol_version_ends_the_run(server: ScriptedServer) -> None:
    welcome = wire.WorkResponse(welcome=wire.Welcome(protocol_version=2))

    with pytest.raises(TailraceError, match="protocol version 2"), answering(server, lambda it: it.send(welcome)):
        a_worker().run(server.address)


def test_draining_worker_lets_tasks_finish_and_waits_for_the_acknowledgement(
    stern_server: ScriptedServer, gate: Gate
) -> None:
    worker = a_worker(gate)
    worker.start(stern_server.address)
    stream = stern_server.greeted_stream()
    stream.assign(an_assignment(1, task_type="thread_gate"))
    gate.await_entry()
    with stopping(worker):
        stream.expect("drain")
        assert stream.expect("flow_control").flow_control.max_outstanding_tasks == 0
        stream.send(assignments(an_assignment(2)))  # was on its way
        assert [ref.task_id for ref in stream.expect("releases").releases.leases] == ["task-2"]
        stream.send(release_acks(2))
        gate.open()
        assert stream.result().success.data == b'"through"'
        stream.say_goodbye()


@pytest.mark.parametrize("task_type", ["thread_gate", "loop_gate"])
def test_task_that_outlives_the_grace_period_is_given_back(
    stern_server: ScriptedServer, gate: Gate, task_type: str
) -> None:
    worker = a_worker(gate, grace=NO_GRACE)
    worker.start(stern_server.address)
    stream = stern_server.greeted_stream()
    stream.assign(an_assignment(1, task_type=task_type))
    gate.await_entry()
    with stopping(worker):
        assert [ref.task_id for ref in stream.await_frame("releases").releases.leases] == ["task-1"]
        stream.send(release_acks(1))
        stream.say_goodbye()

    assert gate.cancelled.is_set() == (task_type == "loop_gate")


def test_draining_worker_takes_up_a_lost_stream_again(stern_server: ScriptedServer, gate: Gate) -> None:
    worker = a_worker(gate)
    worker.start(stern_server.address)
    first = stern_server.greeted_stream()
    first.assign(an_assignment(1, task_type="thread_gate"))
    gate.await_entry()
    with stopping(worker):
        first.expect("drain")
        first.abort(grpc.StatusCode.UNAVAILABLE, "Cancelling all calls")
        second = stern_server.next_stream()
        assert second.greet().flow_control.max_outstanding_tasks == 0
        second.expect("drain")
        gate.open()
        second.result()
        second.say_goodbye()


def test_idle_worker_stops_at_once_when_there_is_no_server() -> None:
    worker = a_worker()
    with worker.running("127.0.0.1:1"):
        began = time.monotonic()

    assert time.monotonic() - began < 3


def test_large_results_are_sent_and_larger_ones_become_failures(server: ScriptedServer) -> None:
    worker = a_worker()
    worker.task(name="text")(lambda size: "x" * size)
    with worker.running(server.address):
        stream = server.greeted_stream(max_frame_bytes=2_000_000)
        stream.assign(an_assignment(1, task_type="text", args=(1_900_000,)))
        assert len(stream.result().success.data) == 1_900_002

        stream.assign(an_assignment(2, task_type="text", args=(2_000_000,)))
        failure = stream.result().failure
        assert (failure.kind, failure.type) == (task_pb2.FAILURE_KIND_SYSTEM, "ResultTooLarge")

        stream.assign(an_assignment(3, args=(1, 2)))
        assert stream.result().success.data == b"3"


def test_start_and_stop_may_be_repeated(server: ScriptedServer) -> None:
    worker = a_worker()
    worker.stop()
    for _ in range(2):
        worker.start(server.address)
        worker.start(server.address)
        stream = server.greeted_stream()
        stream.assign(an_assignment(1, args=(1, 2)))
        stream.result()

        worker.stop()
        worker.stop()

        assert stream.await_frame("drain") is not None
        assert stream.half_closed.wait(PATIENCE_S)


def test_running_worker_cannot_be_run_again(server: ScriptedServer) -> None:
    worker = a_worker()
    with worker.running(server.address):
        with pytest.raises(RuntimeError, match="running already"):
            worker.run(server.address)
        server.greeted_stream()
