import logging
import os
import queue
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tailrace.v1 import task_pb2
from tailrace.v1 import worker_service_pb2 as wire
from tailrace.worker import ProcessStartError, Worker
from tailrace.worker._child import ChildFunctions
from tailrace.worker._execution import Execution
from tailrace.worker._process_executor import ProcessExecutor
from tests.integration.executor_scene import await_end_of, is_alive
from tests.unit.worker import child_functions as functions
from tests.unit.worker.messages import a_duration, a_key, an_assignment
from tests.wait import eventually

PATIENCE_S = 20.0
LIMIT_S = 60.0
TASKS = (
    functions.pid,
    functions.die,
    functions.rest,
    functions.rest_again,
    functions.say_much,
    functions.log,
    functions.fork_and_exit,
    functions.fork_and_return,
    functions.fork_and_log,
    functions.terminate_another,
    functions.close_all_files,
    functions.leave_a_fork_behind,
)


class Desk:
    """Makes executions for child processes, and collects what becomes of them."""

    def __init__(self, *, max_tasks: int | None = None, processes: int = 1, **hooks: Any) -> None:
        worker = Worker()
        self._tasks = {function: worker.task(executor="process")(function) for function in TASKS}
        children = ChildFunctions(tasks=list(self._tasks.values()), **hooks)
        self.executor = ProcessExecutor(children, processes=processes, max_tasks=max_tasks)
        self._outcomes: queue.SimpleQueue[wire.AttemptResult | None] = queue.SimpleQueue()
        self.progress: queue.SimpleQueue[task_pb2.Progress] = queue.SimpleQueue()
        self._number = 0

    def start(self) -> str:
        self.executor.start()
        return self.executor.wait_until_ready()

    def submit(self, function: Callable[..., Any], *, task_type: str = "") -> Execution:
        self._number += 1
        spec = task_pb2.TaskSpec(task_type=task_type or function.__name__, execution_timeout=a_duration(LIMIT_S))
        execution = Execution(
            a_key(self._number),
            an_assignment(self._number, spec=spec),
            self._tasks[function],
            lambda _, result: self._outcomes.put(result),
            self.progress.put,
        )
        self.executor.submit(execution)
        return execution

    def begin(self, function: Callable[..., Any]) -> Execution:
        execution = self.submit(function)
        self.progress.get(timeout=PATIENCE_S)
        return execution

    def outcome(self) -> wire.AttemptResult | None:
        return self._outcomes.get(timeout=PATIENCE_S)

    def data(self) -> bytes:
        outcome = self.outcome()
        assert outcome is not None, "given back"
        assert outcome.HasField("success"), outcome
        return outcome.success.data

    def failure(self) -> task_pb2.Failure:
        outcome = self.outcome()
        assert outcome is not None, "given back"
        return outcome.failure

    def pid(self) -> int:
        self.submit(functions.pid)
        return int(self.data())


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    desk = Desk()
    assert desk.start() == ""
    yield desk
    desk.executor.close()


def test_child_runs_one_task_after_the_other(desk: Desk) -> None:
    first, second = desk.pid(), desk.pid()

    assert first == second != os.getpid()


def test_child_that_dies_while_it_does_nothing_is_replaced(desk: Desk) -> None:
    before = desk.pid()

    os.kill(before, signal.SIGKILL)

    assert desk.pid() != before


def test_death_of_a_child_is_told_and_does_not_stop_the_next_task(desk: Desk) -> None:
    desk.submit(functions.die)
    outcome = desk.outcome()
    assert outcome is not None

    assert outcome.failure.kind == task_pb2.FAILURE_KIND_SYSTEM
    assert outcome.failure.type == "WorkerProcessDied"
    assert not outcome.failure.non_retryable
    assert outcome.default_retry_policy.max_attempts == 3
    assert desk.pid()


def test_killed_execution_has_failed_of_its_limit_if_that_is_why(desk: Desk) -> None:
    execution = desk.begin(functions.rest)
    execution.timed_out = True

    assert desk.executor.kill(execution)

    assert desk.failure().kind == task_pb2.FAILURE_KIND_TIMEOUT


def test_outcome_of_what_was_killed_because_nobody_wants_it_is_none(desk: Desk) -> None:
    execution = desk.begin(functions.rest)
    execution.cancelled = True

    desk.executor.kill(execution)

    assert desk.outcome() is None


def test_interrupted_execution_says_that_it_was_revoked(desk: Desk) -> None:
    execution = desk.begin(functions.rest)
    execution.revoked.set()

    assert desk.executor.interrupt(execution)

    outcome = desk.outcome()
    assert outcome is not None
    assert outcome.WhichOneof("outcome") == "revoked"


def test_interrupted_execution_that_returns_a_value_all_the_same_keeps_it(desk: Desk) -> None:
    execution = desk.begin(functions.rest_again)
    execution.revoked.set()

    desk.executor.interrupt(execution)

    assert desk.data() == b'"finished"'


def test_what_a_child_says_arrives_whole_when_it_is_interrupted_in_the_midst_of_it(desk: Desk) -> None:
    child = desk.pid()
    for _ in range(20):
        execution = desk.begin(functions.say_much)
        execution.revoked.set()
        desk.executor.interrupt(execution)
        outcome = desk.outcome()
        assert outcome is not None
        assert outcome.WhichOneof("outcome") == "revoked"
        desk.progress = queue.SimpleQueue()

    assert desk.pid() == child


def test_what_waits_for_a_child_is_given_back_at_once_when_it_is_to_stop(desk: Desk) -> None:
    running = desk.begin(functions.rest)
    waiting = desk.submit(functions.pid)
    waiting.revoked.set()

    desk.executor.interrupt(waiting)
    assert desk.outcome() is None

    running.revoked.set()
    desk.executor.interrupt(running)
    desk.outcome()


def test_records_reach_the_handlers_of_the_worker_with_the_tasks_id(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.submit(functions.log)
    desk.outcome()

    thing, failed = (record for record in caplog.records if record.name == functions.__name__)
    assert (thing.getMessage(), thing.levelno) == ("1 thing", logging.WARNING)
    assert vars(thing)["task_id"].startswith("task-")
    assert (vars(thing)["customer"], "handle" in vars(thing)) == ("acme", False)
    assert thing.process != os.getpid()
    assert "ConnectionError: no database" in failed.getMessage()


def test_worn_child_leaves_and_another_takes_its_place(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk(max_tasks=2, on_start=[functions.begin], on_stop=[functions.leave_badly, functions.leave])
    assert desk.start() == ""

    pids = [desk.pid() for _ in range(5)]
    desk.executor.close()

    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4]
    told = [record.getMessage() for record in caplog.records if record.name == functions.__name__]
    assert told == ["began", "left"] * 3
    assert len([1 for record in caplog.records if "on_process_stop hook leave_badly" in record.getMessage()]) == 3
    for pid in pids:
        await_end_of(pid)


def test_executor_whose_hook_fails_says_so() -> None:
    desk = Desk(on_start=[functions.begin, functions.fail_to_start])

    problem = desk.start()
    desk.executor.close()

    assert problem == (
        "a child process cannot start: on_process_start hook fail_to_start failed: ConnectionError: no database"
    )


def test_end_kills_what_runs_and_gives_back_what_waits() -> None:
    desk = Desk()
    assert desk.start() == ""
    child = desk.pid()
    running = desk.begin(functions.rest)
    running.cancelled = True
    desk.submit(functions.pid)

    desk.executor.close()
    desk.executor.close()

    assert [desk.outcome(), desk.outcome()] == [None, None]
    assert not is_alive(child)
    with pytest.raises(RuntimeError, match="closed"):
        desk.submit(functions.pid)


def test_hurry_waits_for_no_child_that_does_nothing() -> None:
    desk = Desk(processes=2)
    assert desk.start() == ""
    child = desk.pid()

    desk.executor.hurry()
    desk.executor.hurry()

    eventually(lambda: not is_alive(child), "the end of the child")
    desk.executor.close()


def test_executor_that_was_never_started_can_be_closed() -> None:
    desk = Desk()

    desk.executor.hurry()
    desk.executor.close()

    with pytest.raises(RuntimeError, match="closed"):
        desk.submit(functions.pid)


def test_worker_whose_children_cannot_start_ends_its_run() -> None:
    worker = Worker(processes=1, address="127.0.0.1:1")
    worker.on_process_start(functions.fail_to_start)
    worker.task(executor="process")(functions.pid)

    with pytest.raises(ProcessStartError, match="no database"):
        worker.start()
    with pytest.raises(ProcessStartError, match="no database"):
        worker.run()


@pytest.mark.parametrize("declare", [Worker().on_process_start, Worker().on_process_stop])
def test_hook_that_a_child_could_not_import_or_call_is_refused(declare: Callable[[Any], Any]) -> None:
    async def later() -> None: ...

    with pytest.raises(ValueError, match="top level of a module"):
        declare(lambda: None)
    with pytest.raises(TypeError, match="plain function"):
        declare(later)


@pytest.mark.parametrize(("function", "exit_code"), [(functions.fork_and_exit, 3), (functions.fork_and_return, 0)])
def test_forked_process_that_leaves_the_task_ends_and_says_nothing_for_it(
    function: Callable[..., Any], exit_code: int
) -> None:
    desk = Desk()
    assert desk.start() == ""
    try:
        desk.submit(function)
        assert desk.data() == f'"it ended with {exit_code}"'.encode()
        assert desk.pid() == desk.executor.process_ids()[0]
    finally:
        desk.executor.close()


def test_what_a_forked_process_logs_is_written_and_not_said_in_the_name_of_the_child(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    desk = Desk()
    assert desk.start() == ""
    try:
        desk.submit(functions.fork_and_log)
        assert desk.data() == b'"logged"'
    finally:
        desk.executor.close()
    assert "in a forked process" not in caplog.text
    assert "WARNING tests.unit.worker.child_functions: in a forked process" in capfd.readouterr().err
    assert desk.progress.empty()


def test_execution_that_no_child_survives_hearing_of_is_given_up() -> None:
    desk = Desk()
    assert desk.start() == ""
    try:
        desk.submit(functions.pid, task_type="unheard_of")
        assert desk.failure().type == "WorkerProcessDied"
        assert is_alive(desk.pid())
    finally:
        desk.executor.close()


def test_handler_that_fails_costs_the_worker_a_record_and_no_child(desk: Desk) -> None:
    def fail(record: logging.LogRecord) -> bool:
        raise LookupError(record.name)

    named = logging.getLogger(functions.__name__)
    handler = logging.NullHandler()
    handler.addFilter(fail)
    named.addHandler(handler)
    try:
        desk.submit(functions.log)
        assert desk.data() == b""
    finally:
        named.removeHandler(handler)


def test_program_forked_by_a_task_can_be_terminated(desk: Desk) -> None:
    desk.submit(functions.terminate_another)
    assert desk.data() == f'"it ended with {-signal.SIGTERM}"'.encode()


def test_child_that_can_say_nothing_any_more_is_replaced(desk: Desk) -> None:
    desk.submit(functions.close_all_files)
    assert desk.failure().type == "WorkerProcessDied"
    assert is_alive(desk.pid())


def test_death_in_the_midst_of_a_message_is_told_though_a_forked_process_lives_on(desk: Desk) -> None:
    desk.submit(functions.leave_a_fork_behind)
    assert desk.failure().type == "WorkerProcessDied"
