"""``python -m tailrace.worker`` as an operator sees it: signals, exit codes, one line for what is wrong."""

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import psutil
import pytest

from tailrace.client import Client
from tailrace.testing import run_server
from tailrace.v1 import worker_service_pb2 as wire
from tests.integration.scripted_server import PATIENCE_S, ScriptedServer
from tests.unit.worker.messages import an_assignment, release_acks

ROOT = Path(__file__).resolve().parent.parent.parent
TASKS = "tests.integration.worker_tasks"


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@contextlib.contextmanager
def started(*arguments: str, cwd: Path = ROOT) -> Iterator[subprocess.Popen[str]]:
    """Run a worker process, gone at the end of the block whatever happens."""
    with command_started(sys.executable, "-m", "tailrace.worker", *arguments, cwd=cwd) as process:
        yield process


@contextlib.contextmanager
def command_started(*command: str, cwd: Path = ROOT) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(command, cwd=cwd, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def await_line(process: subprocess.Popen[str], text: str) -> str:
    """Read what the process prints up to a line with this text, which it is sure to print."""
    assert process.stderr is not None
    return next(line for line in process.stderr if text in line)


def exit_of(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for the end; the exit code, and the last line that was printed."""
    _, printed = process.communicate(timeout=PATIENCE_S)
    return process.returncode, printed.splitlines()[-1]


def test_crash_in_the_tasks_first_line_is_a_crash_of_a_started_task(server: ScriptedServer) -> None:
    with started(f"{TASKS}:worker", "--address", server.address) as process:
        stream = server.greeted_stream()

        begun = stream.assign(an_assignment(1, task_type="die"))

        assert begun == ["task-1"]
        assert process.wait(PATIENCE_S) == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("task_type", ["take", "take_on_loop"])
def test_signal_lets_the_running_task_finish_then_exits_with_0(
    server: ScriptedServer, task_type: str, number: signal.Signals
) -> None:
    server.says_goodbye = False
    with started(f"{TASKS}:worker", "--address", server.address) as process:
        stream = server.greeted_stream()
        stream.assign(an_assignment(1, task_type=task_type, args=(0.5,)))
        await_line(process, "task_begun")
        process.send_signal(number)

        drain = stream.await_frame("drain")
        result = stream.result()
        stream.say_goodbye()

        assert drain == wire.WorkRequest(drain=wire.Drain())
        assert result.success.data == b'"taken"'
        assert exit_of(process)[0] == 0


@pytest.mark.parametrize("task_type", ["take", "take_on_loop"])
def test_task_that_outlives_the_grace_period_is_given_back_and_does_not_hold_up_the_exit(
    server: ScriptedServer, task_type: str
) -> None:
    server.says_goodbye = False
    with started(f"{TASKS}:impatient", "--address", server.address) as process:
        stream = server.greeted_stream()
        stream.assign(an_assignment(1, task_type=task_type, args=(600,)))
        await_line(process, "task_begun")
        process.terminate()

        (lease,) = stream.await_frame("releases").releases.leases
        stream.send(release_acks(1))
        stream.say_goodbye()

        assert lease.task_id == "task-1"
        assert exit_of(process)[0] == 0


def test_second_signal_ends_the_grace_period_and_shows_in_the_exit_code(server: ScriptedServer) -> None:
    server.says_goodbye = False
    with started(f"{TASKS}:worker", "--address", server.address) as process:
        stream = server.greeted_stream()
        stream.assign(an_assignment(1, task_type="take", args=(600,)))
        await_line(process, "task_begun")
        process.terminate()
        stream.await_frame("drain")

        process.terminate()

        assert stream.await_frame("releases").releases.leases[0].task_id == "task-1"
        assert exit_of(process)[0] == 128 + signal.SIGTERM


def test_signal_ends_a_worker_whose_server_is_away() -> None:
    with started(f"{TASKS}:worker", "--address", "127.0.0.1:1") as process:
        await_line(process, "server_lost")

        process.terminate()

        assert exit_of(process)[0] == 0


def test_records_of_a_task_carry_its_id(server: ScriptedServer) -> None:
    with started(f"{TASKS}:worker", "--address", server.address) as process:
        stream = server.greeted_stream()
        stream.assign(an_assignment(1, task_type="take", args=(0,)))

        assert f"{TASKS} [task-1]: task_begun" in await_line(process, "task_begun")
        stream.result()


def test_command_line_overrules_the_worker(server: ScriptedServer) -> None:
    arguments = ["--address", server.address, "--concurrency", "7", "--queue", "fast", "--queue", "slow"]
    with started(f"{TASKS}:worker", *arguments) as process:
        hello = server.next_stream().greet()
        process.terminate()
        assert exit_of(process)[0] == 0

    assert hello.flow_control.max_outstanding_tasks == 7
    assert list(hello.worker.queues) == ["fast", "slow"]


def test_credit_is_bounded_by_the_executor_with_least_room(server: ScriptedServer) -> None:
    arguments = ["--address", server.address, "--concurrency", "70", "--threads", "2"]
    with started(f"{TASKS}:worker", *arguments) as process:
        hello = server.next_stream().greet()
        process.terminate()
        assert exit_of(process)[0] == 0

    assert hello.flow_control.max_outstanding_tasks == 12


def test_settings_come_from_the_environment(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAILRACE_WORKER_QUEUES", "one,two")
    monkeypatch.setenv("TAILRACE_WORKER_GRACE", "0")
    server.says_goodbye = False
    with started("tests.integration.worker_tasks:bare", "--address", server.address) as process:
        stream = server.next_stream()
        hello = stream.greet()
        stream.assign(an_assignment(1, task_type="take", args=(600,)))
        await_line(process, "task_begun")
        process.terminate()
        assert stream.await_frame("releases").releases.leases[0].task_id == "task-1"
        stream.send(release_acks(1))
        stream.say_goodbye()
        assert exit_of(process)[0] == 0

    assert list(hello.worker.queues) == ["one", "two"]


SCRIPT = """
import sys
from tailrace.worker import Worker

worker = Worker(processes=1)

@worker.task(executor="process")
def double(number):
    return 2 * number

{guard}
    worker.run(sys.argv[1])
"""


def test_script_runs_its_own_functions_in_child_processes(server: ScriptedServer, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(guard='if __name__ == "__main__":'))
    with command_started(sys.executable, str(script), server.address) as process:
        stream = server.greeted_stream()
        stream.assign(an_assignment(1, task_type="double", args=(21,)))

        assert stream.result().success.data == b"42"
        process.terminate()
        assert process.wait(PATIENCE_S) == 0


def test_script_that_would_start_itself_in_its_children_is_told(server: ScriptedServer, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(guard="if True:"))
    with command_started(sys.executable, str(script), server.address) as process:
        _, printed = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 1
    assert 'if __name__ == "__main__"' in printed.replace("'", '"')
    assert printed.splitlines()[-1].startswith("tailrace.worker.ProcessStartError: a child process cannot start")


RELOADED = """
from tailrace.worker import Worker
from reloaded_values import VALUE
worker = Worker(["queue-" + VALUE])
worker.task(name="nothing")(print)
"""


def test_worker_starts_anew_when_its_source_has_changed(server: ScriptedServer, tmp_path: Path) -> None:
    values = tmp_path / "reloaded_values.py"
    (tmp_path / "reloaded.py").write_text(RELOADED)
    values.write_text("VALUE = 'a'\n")
    with started("reloaded:worker", "--address", server.address, "--autoreload", cwd=tmp_path) as process:
        first = server.next_stream().greet()

        values.write_text("VALUE = 'ab'\n")
        await_line(process, "source_changed")
        second = server.next_stream().greet()

        values.write_text("VALUE =\n")
        await_line(process, "waiting for its source to change")
        values.write_text("VALUE = 'abc'\n")
        third = server.next_stream().greet()

        process.terminate()
        assert exit_of(process)[0] == 0

    assert [list(hello.worker.queues) for hello in (first, second, third)] == [["queue-a"], ["queue-ab"], ["queue-abc"]]


BROKEN_HOOK = """
from tailrace.worker import Worker
worker = Worker(["mended"], processes=1)

@worker.task(executor="process")
def run_in_child() -> None: ...

@worker.{hook}
def open_database() -> None:
    {body}
"""


@pytest.mark.parametrize("hook", ["on_start", "on_process_start"])
def test_autoreload_waits_for_a_hook_that_fails_and_leaves_no_process_behind(
    server: ScriptedServer, tmp_path: Path, hook: str
) -> None:
    source = tmp_path / "hooked.py"
    source.write_text(BROKEN_HOOK.format(hook=hook, body="raise ValueError('no database')"))
    with started("hooked:worker", "--address", server.address, "--autoreload", cwd=tmp_path) as process:
        await_line(process, "waiting for its source to change")
        source.write_text(BROKEN_HOOK.format(hook=hook, body="pass"))
        hello = server.next_stream().greet()
        children = psutil.Process(process.pid).children()

        assert [child for child in children if child.status() == psutil.STATUS_ZOMBIE] == []
        process.terminate()
        assert exit_of(process)[0] == 0

    assert list(hello.worker.queues) == ["mended"]


def test_autoreload_does_not_wait_for_a_worker_that_is_not_named() -> None:
    with started("reloaded", "--autoreload") as process:
        assert exit_of(process)[0] == 2


def test_refused_worker_exits_with_1_and_says_why(server: ScriptedServer) -> None:
    with started(f"{TASKS}:worker", "--address", server.address) as process:
        server.next_stream().abort(grpc.StatusCode.FAILED_PRECONDITION, "protocol_version 1 is not supported")

        code, line = exit_of(process)

    assert code == 1
    assert line == "tailrace.worker: the server refuses this worker: protocol_version 1 is not supported"


def test_modules_are_found_where_the_command_is_run(server: ScriptedServer, tmp_path: Path) -> None:
    (tmp_path / "my_tasks.py").write_text("from tailrace.worker import Worker\nworker = Worker(['mine'])\n")

    with started("my_tasks:worker", "--address", server.address, cwd=tmp_path) as process:
        hello = server.next_stream().greet()
        process.terminate()
        assert exit_of(process)[0] == 0

    assert list(hello.worker.queues) == ["mine"]


def test_signal_lets_a_task_of_a_real_server_finish() -> None:
    with (
        run_server() as running,
        started(f"{TASKS}:worker", "--address", running.address) as process,
        Client(running.address) as client,
    ):
        result = client.submit("take", 0.5)
        await_line(process, "task_begun")
        process.terminate()

        assert exit_of(process)[0] == 0
        assert result.get(timeout=PATIENCE_S) == "taken"
