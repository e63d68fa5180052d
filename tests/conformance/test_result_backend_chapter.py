"""Celery's chapter on result backends, step by step in its order, with pushed results instead of polled ones.

One server, one worker process and one client for each store; the steps share them, as the chapter's reader does.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest

from tailrace.client import AsyncResult, Client, TaskFailedError, TaskNotFoundError, TaskState, WaitTimeoutError
from tests.faults.processes import ROOT, Process, Processes
from tests.redis_server import redis_server
from tests.wait import eventually

SOON_S = 20.0
LOOK_IT_UP = """
import sys
from tailrace.client import Client

print(Client(sys.argv[1]).result(sys.argv[2]).get(timeout=10))
"""
WAYS_TO_ASK = ("Submit", "BatchSubmit", "WaitFor", "GetResult", "BatchGetResults")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Who follows the chapter, and what was submitted at its beginning."""

    server: Process
    address: str
    client: Client
    added: AsyncResult
    failed: AsyncResult

    def calls(self) -> dict[str, int]:
        """Count the calls by which clients submit and ask for results that the server has finished so far."""
        return {method: len(self.server.lines_with("call_finished", f"TaskService/{method}")) for method in WAYS_TO_ASK}

    def streams_ended(self) -> int:
        """Count the streams by which clients submit and are told that the server has finished so far."""
        return len(self.server.lines_with("call_finished", "TaskService/Watch"))


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Configure it: the URL of a result backend."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path_factory.mktemp('store')}/tailrace.db"
    else:
        with redis_server(appendonly="yes", maxmemory_policy="noeviction") as redis:
            yield redis.url


@pytest.fixture(scope="module")
def reader(store: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """Run a worker in another terminal, send both tasks and get a handle to each."""
    processes = Processes(tmp_path_factory.mktemp("chapter"))
    try:
        server = processes.server(store)
        worker = ("-m", "tailrace.worker", "tests.conformance.chapter_tasks:worker", "--address", server.address)
        processes.python("worker", *worker).wait_for_line("server_connected")
        with Client(server.address) as client:
            added = client.submit("add", 10, 20)
            failed = client.submit("fail_sometimes", "my data", fails=True)
            yield Reader(server=server.process, address=server.address, client=client, added=added, failed=failed)
    finally:
        processes.close()


def test_1_task_that_was_sent_has_an_id_and_is_not_ready(reader: Reader) -> None:
    assert reader.added.id
    assert not reader.added.ready()


def test_2_its_state_is_pending_or_started(reader: Reader) -> None:
    assert reader.added.state in {TaskState.PENDING, TaskState.STARTED}
    assert not reader.added.successful()
    assert not reader.added.failed()


def test_3_wait_that_times_out_raises_and_takes_nothing_away(reader: Reader) -> None:
    for _ in range(2):
        with pytest.raises(TimeoutError) as raised:
            reader.added.get(timeout=0.2)
        assert type(raised.value) is WaitTimeoutError


def test_4_result_is_pushed_the_moment_it_is_there_and_nobody_asks_for_it(reader: Reader) -> None:
    before = reader.calls()
    began_at = time.monotonic()

    result = reader.added.get(timeout=10)

    assert result == 30
    assert time.monotonic() - began_at < 10
    assert reader.added.successful()
    assert reader.added.state == "SUCCESS"
    # One stream, open since the first submit, has carried everything; a call by another client comes after all that
    # this one might have made.
    with Client(reader.address) as another:
        assert another.result(reader.added.id).state == "SUCCESS"
    eventually(lambda: reader.calls() != before, "the other client's question is answered for the server too")
    assert reader.calls() == {**before, "GetResult": before["GetResult"] + 1}
    assert (before["Submit"], before["WaitFor"], reader.streams_ended()) == (0, 0, 0)


def test_5_exception_of_the_task_is_raised_here(reader: Reader) -> None:
    with pytest.raises(ValueError, match=r"^Something went wrong!$") as raised:
        reader.failed.get(timeout=10)

    assert isinstance(raised.value.__cause__, TaskFailedError)
    assert reader.failed.failed()
    assert not reader.failed.successful()
    assert reader.failed.state == "FAILURE"


def test_6_traceback_holds_the_workers_lines(reader: Reader) -> None:
    traceback = reader.failed.traceback

    assert traceback is not None
    assert traceback.startswith("Traceback (most recent call last):")
    assert "chapter_tasks.py" in traceback
    assert 'raise ValueError("Something went wrong!")' in traceback
    assert traceback.rstrip().endswith("ValueError: Something went wrong!")


def test_7_task_that_does_not_fail_says_what_it_made(reader: Reader) -> None:
    assert reader.client.submit("fail_sometimes", "my data", fails=False).get(timeout=10) == "Processed my data"


def test_8_result_is_found_by_its_saved_id_in_another_process(reader: Reader) -> None:
    command = [sys.executable, "-c", LOOK_IT_UP, reader.address, reader.added.id]
    looked_up = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SOON_S, check=False)

    assert (looked_up.returncode, looked_up.stdout.strip()) == (0, "30"), looked_up.stderr


def test_9_id_that_nobody_submitted_is_unknown_and_not_pending(reader: Reader) -> None:
    unknown = reader.client.result("nobody-submitted-this")

    with pytest.raises(TaskNotFoundError):
        assert unknown.state
    with pytest.raises(TaskNotFoundError):
        unknown.get(timeout=10)


def test_10_id_is_unknown_once_the_results_time_is_over(reader: Reader) -> None:
    short = reader.client.options(result_ttl=timedelta(seconds=1))
    task_id = short.submit("fail_sometimes", "my data", fails=False).id

    assert reader.client.result(task_id).get(timeout=10) == "Processed my data"
    eventually(lambda: is_unknown(reader.client.result(task_id)), "the record expires", within_s=SOON_S)
    with pytest.raises(TaskNotFoundError):
        reader.client.result(task_id).get(timeout=10)


def is_unknown(result: AsyncResult) -> bool:
    try:
        result.ready()
    except TaskNotFoundError:
        return True
    return False
