"""The ``tailrace`` command, as a shell sees it."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from tailrace.client import Client
from tailrace.testing import run_server
from tailrace.v1.task_pb2 import Payload
from tests.integration.hand_worker import HandWorker

COMMAND = [sys.executable, "-m", "tailrace.cli"]
WITHIN_S = 60


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with run_server() as server:
        yield server.address


@pytest.fixture
def worker(address: str) -> Iterator[HandWorker]:
    worker = HandWorker(address)
    yield worker
    worker.close()


@pytest.fixture
def client(address: str) -> Iterator[Client]:
    with Client(address) as connected:
        yield connected


def tailrace(address: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environ = {**os.environ, "TAILRACE_ADDRESS": address}
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=WITHIN_S, check=False, env=environ
    )


def test_submit_writes_the_id_under_which_the_result_is_found(address: str, worker: HandWorker) -> None:
    submitted = tailrace(address, "submit", "add", "-10", "--kwarg", "y=20")
    task_id = submitted.stdout.strip()
    worker.succeed(worker.take(), 30)

    looked_up = tailrace(address, "result", task_id)

    assert (submitted.returncode, submitted.stderr) == (0, "")
    assert (looked_up.returncode, looked_up.stdout) == (0, "state: SUCCESS\nresult: 30\n")


def test_submit_says_when_a_task_is_to_run_and_what_it_is_found_by(address: str) -> None:
    spans = ("--start-within", "2h", "--execution-timeout", "90s", "--total-timeout", "1d")
    labels = ("--label", "team=blue", "--label", "stage=a=b")
    submitted = tailrace(address, "submit", "later", "--at", "2038-01-01T10:00:00+01:00", *spans, *labels)

    task = json.loads(tailrace(address, "show", submitted.stdout.strip(), "--json").stdout)

    assert (task["schedule_time"], task["pending_reason"]) == ("2038-01-01T09:00:00.000Z", "DELAYED")
    assert (task["start_within_s"], task["execution_timeout_s"], task["total_timeout_s"]) == (7200.0, 90.0, 86400.0)
    assert task["labels"] == {"team": "blue", "stage": "a=b"}


def test_times_that_contradict_each_other_are_a_mistake_of_the_command_line(address: str) -> None:
    twice = tailrace(address, "submit", "later", "--at", "2038-01-01", "--delay", "5m")
    too_short = tailrace(address, "submit", "later", "--delay", "5m", "--total-timeout", "90s")

    assert (twice.returncode, too_short.returncode) == (2, 2)
    assert "--delay and --at exclude each other" in twice.stderr
    assert "total_timeout" in too_short.stderr


def test_submit_that_waits_writes_the_value_alone_to_stdout(address: str, worker: HandWorker) -> None:
    with ThreadPoolExecutor(1) as threads:
        command = threads.submit(tailrace, address, "submit", "add", "10", "20", "--wait")
        worker.succeed(worker.take(), {"sum": 30})
        waited = command.result(WITHIN_S)

    assert (waited.returncode, waited.stdout) == (0, '{"sum": 30}\n')
    assert waited.stderr.startswith("submitted ")


def test_a_task_that_failed_ends_in_its_traceback_and_one_line(address: str, worker: HandWorker) -> None:
    with ThreadPoolExecutor(1) as threads:
        command = threads.submit(tailrace, address, "submit", "work", "--wait", "--task-id", "to-fail")
        worker.fail(worker.take())
        waited = command.result(WITHIN_S)

    assert (waited.returncode, waited.stdout) == (1, "")
    lines = waited.stderr.splitlines()
    assert lines[1] == "Traceback (most recent call last):"
    assert lines[-1] == "tailrace: task to-fail ended in FAILURE: ValueError: no"
    looked_up = tailrace(address, "result", "to-fail")
    assert looked_up.returncode == 1
    assert looked_up.stdout.startswith("state: FAILURE\nerror: ValueError: no\nTraceback")


def test_programs_read_one_line_of_json_for_each_task(address: str, client: Client, worker: HandWorker) -> None:
    succeeded, failed, revoked = client.submit("a"), client.submit("b"), client.submit("c")
    worker.succeed(worker.take(), [1, "zwei"])
    worker.fail(worker.take(), traceback="")
    worker.revoke(worker.take(), "no longer wanted")

    waited = tailrace(address, "wait", "--json", succeeded.id, failed.id, revoked.id, "unknown")

    assert waited.returncode == 4
    told = {each["task_id"]: each for each in map(json.loads, waited.stdout.splitlines())}
    failure = {"type": "ValueError", "message": "no", "kind": "APPLICATION", "traceback": None}
    revocation = {"type": None, "message": "no longer wanted", "kind": "REVOKED", "traceback": None}
    assert told == {
        succeeded.id: {"task_id": succeeded.id, "state": "SUCCESS", "result": [1, "zwei"]},
        failed.id: {"task_id": failed.id, "state": "FAILURE", "error": failure},
        revoked.id: {"task_id": revoked.id, "state": "REVOKED", "error": revocation},
        "unknown": {"task_id": "unknown", "state": None},
    }


def test_submit_and_result_speak_json_too(address: str, worker: HandWorker) -> None:
    submitted = json.loads(tailrace(address, "submit", "add", "--json").stdout)
    looked_up = json.loads(tailrace(address, "result", submitted["task_id"], "--json").stdout)
    worker.succeed(worker.take(), 3)

    assert looked_up == {"task_id": submitted["task_id"], "state": "PENDING"}


def test_wait_writes_a_line_for_each_task_as_it_is_done(address: str, client: Client, worker: HandWorker) -> None:
    results = client.map("square", [(1,), (2,)])
    worker.work_through(2)

    waited = tailrace(address, "wait", *(result.id for result in results), results[0].id)

    assert waited.returncode == 0
    assert sorted(waited.stdout.splitlines()) == sorted(f"{result.id} SUCCESS" for result in results)


def test_a_wait_whose_time_is_up_says_that_the_task_goes_on(address: str, client: Client) -> None:
    result = client.options(queue="never").submit("a")

    waited = tailrace(address, "wait", result.id, "--timeout", "300ms")

    assert waited.returncode == 3
    assert "the task goes on" in waited.stderr
    assert waited.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["result", "wait", "show"])
def test_a_value_that_no_terminal_can_write_is_written_as_json_escapes_it(
    address: str, client: Client, worker: HandWorker, command: str
) -> None:
    result = client.submit("a")
    half_a_pair = Payload(content_type="application/json", data=b'"\\ud83d"')
    worker.succeed_with(worker.take(), half_a_pair)

    for_people = tailrace(address, command, result.id)
    for_programs = tailrace(address, command, result.id, "--json")

    assert (for_people.returncode, for_people.stderr) == (0, "")
    assert (for_programs.returncode, for_programs.stderr) == (0, "")
    assert '"\\ud83d"' in for_programs.stdout


def test_what_a_task_says_of_its_failure_cannot_play_with_the_terminal(
    address: str, client: Client, worker: HandWorker
) -> None:
    result = client.submit("a")
    worker.fail(worker.take(), message="no\x1b[2J", traceback="here\x1b[2J\n")

    looked_up, waited = tailrace(address, "result", result.id), tailrace(address, "wait", result.id)

    assert looked_up.stdout == "state: FAILURE\nerror: ValueError: no\\x1b[2J\nhere\\x1b[2J\n"
    assert waited.stdout == f"{result.id} FAILURE ValueError: no\\x1b[2J\n"


def test_an_unknown_task_is_told_apart_from_a_failed_one(address: str) -> None:
    looked_up = tailrace(address, "result", "unknown")

    assert (looked_up.returncode, looked_up.stdout) == (4, "")
    assert looked_up.stderr.startswith("tailrace: no task unknown;")


def test_what_the_server_finds_malformed_is_a_mistake_of_the_command_line(address: str) -> None:
    submitted = tailrace(address, "submit", "no spaces allowed")

    assert submitted.returncode == 2
    assert "task_type" in submitted.stderr


def test_revoke_writes_the_state_of_each_task_after_it(address: str, client: Client, worker: HandWorker) -> None:
    running, waiting = client.submit("work"), client.options(delay=timedelta(hours=1)).submit("work")
    worker.take()

    asked = tailrace(address, "revoke", running.id, waiting.id, "unknown", "--reason", "enough")
    forced = tailrace(address, "revoke", running.id, "--force", "--json")
    looked_up = tailrace(address, "result", waiting.id)

    assert asked.stdout.splitlines() == [f"{running.id} STARTED", f"{waiting.id} REVOKED", "unknown not found"]
    assert asked.returncode == 4
    assert (forced.returncode, json.loads(forced.stdout)) == (0, {"task_id": running.id, "state": "REVOKED"})
    assert "error: enough" in looked_up.stdout


def test_output_that_nobody_reads_to_its_end_is_no_failure_of_a_task(address: str, client: Client) -> None:
    client.submit("unread")
    environ = {**os.environ, "TAILRACE_ADDRESS": address}
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ended = subprocess.run(
            [*COMMAND, "tasks", "--json"],
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            timeout=WITHIN_S,
            check=False,
            env=environ,
        )
    finally:
        os.close(writer)

    assert (ended.returncode, ended.stderr) == (141, "")


@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "1>&- 2>&-"])
@pytest.mark.parametrize("command", ["tasks", "queues --json", "submit closed 1"])
def test_closed_output_keeps_no_command_from_its_work(address: str, command: str, closed: str) -> None:
    line = f"{shlex.join(COMMAND)} {command} {closed}"
    ended = subprocess.run(
        ["/bin/sh", "-c", line],
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
        env={**os.environ, "TAILRACE_ADDRESS": address},
    )

    assert (ended.returncode, ended.stderr) == (0, "")
