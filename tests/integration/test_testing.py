"""What tests of programs that use Tailrace are given: servers, fixtures, and time that is moved."""

import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from tailrace.client import AsyncClient, Client, RetryPolicy, TaskRevokedError
from tailrace.testing import RunningServer, eventually, run_server, run_server_async
from tailrace.worker import Worker

pytest_plugins = ["tailrace.testing.fixtures"]

AN_HOUR = timedelta(hours=1)
WITHIN_S = 20
PATIENT = RetryPolicy(max_attempts=2, initial_backoff=AN_HOUR, max_backoff=AN_HOUR)


def test_fixtures_run_a_worker_in_the_test_process(
    tailrace_client: Client, tailrace_run_worker: Callable[[Worker], Worker]
) -> None:
    worker, here = Worker(), threading.current_thread().name

    @worker.task
    def where() -> str:
        assert threading.current_thread().name != here
        return here

    tailrace_run_worker(worker)

    assert tailrace_client.submit(where).get(timeout=WITHIN_S) == here


def test_a_backoff_of_an_hour_need_not_be_waited_for(
    tailrace_server: RunningServer, tailrace_client: Client, tailrace_run_worker: Callable[[Worker], Worker]
) -> None:
    worker, failed = Worker(), threading.Event()

    @worker.task(retry=PATIENT)
    def fail_once() -> str:
        if not failed.is_set():
            raise ConnectionError("the line was cut")
        return "done"

    tailrace_run_worker(worker)
    result = tailrace_client.submit(fail_once)
    eventually(lambda: result.state == "RETRY", AN_HOUR)
    failed.set()
    tailrace_server.advance(AN_HOUR)

    assert result.get(timeout=WITHIN_S) == "done"


def test_a_delay_and_a_deadline_pass_when_time_is_moved(
    tailrace_server: RunningServer, tailrace_client: Client
) -> None:
    late = tailrace_client.options(delay=AN_HOUR, start_within=AN_HOUR).submit("work")

    tailrace_server.advance(2 * AN_HOUR)

    with pytest.raises(TaskRevokedError):
        late.get(timeout=WITHIN_S)


def test_a_condition_is_asked_until_it_is_true_or_the_time_is_up() -> None:
    answers = iter([0, 0, 7])

    assert eventually(lambda: next(answers)) == 7
    with pytest.raises(AssertionError, match=r"not true within 0\.1 s; the last answer was \[\]"):
        eventually(list, timeout=timedelta(milliseconds=100))


def test_time_goes_forward_only(tailrace_server: RunningServer) -> None:
    with pytest.raises(ValueError, match="a clock goes forward"):
        tailrace_server.advance(-AN_HOUR)


def test_the_clock_of_a_store_of_ones_own_cannot_be_moved(tmp_path: Path) -> None:
    with (
        run_server(store=f"sqlite:///{tmp_path}/own.db") as server,
        pytest.raises(RuntimeError, match="leave out store="),
    ):
        server.advance(AN_HOUR)


async def test_a_test_on_an_event_loop_has_its_server_there() -> None:
    async with run_server_async() as server, AsyncClient(server.address) as client:
        result = await client.options(delay=AN_HOUR, start_within=AN_HOUR).submit("work")
        server.advance(2 * AN_HOUR)

        assert await result.wait(timeout=WITHIN_S) == "REVOKED"


def test_single_attempts_need_nothing_but_the_plain_install() -> None:
    script = """
import sys


class Missing:
    def find_spec(self, name, path=None, target=None):
        if name in {"structlog", "redis", "click", "rich", "grpc_health", "grpc_reflection", "google.rpc"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Missing())
from tailrace.testing import run_attempt
from tailrace.worker import Worker

assert run_attempt(Worker().task(len), "four").value == 4
try:
    from tailrace.testing import run_server
except ModuleNotFoundError as error:
    print(error)
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("tailrace.testing.run_server runs a server: pip install 'tailrace[server]' (")


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(ImportError, match="cannot import name 'nothing'"):
        from tailrace.testing import nothing  # noqa: F401
