"""The commands that look after tasks, queues and workers, as a shell sees them."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from tailrace.cli._operator import PURGE_TIMEOUT
from tailrace.client import Client
from tailrace.client._retry import _MAX_TRY_S
from tailrace.server.api import page_token
from tailrace.server.domain import limits
from tailrace.testing import run_server
from tailrace.worker import Worker
from tests.integration.hand_worker import HandWorker
from tests.wait import eventually

COMMAND = [sys.executable, "-m", "tailrace.cli"]
WITHIN_S = 60
AN_HOUR = timedelta(hours=1)

Ended = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with run_server() as server:
        yield server.address


@pytest.fixture
def client(address: str) -> Iterator[Client]:
    with Client(address) as connected:
        yield connected


@pytest.fixture
def queue(request: pytest.FixtureRequest) -> str:
    """A queue of the test's own on the server that all share."""
    return str(request.node.name)[:64].rstrip("_")


@pytest.fixture
def worker(address: str, queue: str) -> Iterator[HandWorker]:
    worker = HandWorker(address, queue)
    yield worker
    worker.close()


def tailrace(address: str, *arguments: str) -> Ended:
    return subprocess.run(
        [*COMMAND, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
        env=environ(address),
    )


def environ(address: str, width: int = 80) -> dict[str, str]:
    return {**os.environ, "TAILRACE_ADDRESS": address, "TERM": "xterm", "COLUMNS": str(width)}


def read(ended: Ended) -> list[dict[str, Any]]:
    """Read the lines of JSON that a command wrote."""
    assert (ended.returncode, ended.stderr) == (0, "")
    return [json.loads(line) for line in ended.stdout.splitlines()]


def columns(ended: Ended) -> list[list[str]]:
    return [line.split("  ") for line in ended.stdout.splitlines()]


def on_a_terminal(address: str, *arguments: str, typed: str = "", width: int = 80) -> tuple[int, str]:
    controller, terminal = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, *arguments], stdin=terminal, stdout=terminal, stderr=terminal, env=environ(address, width)
    ) as command:
        os.close(terminal)
        os.write(controller, typed.encode())
        shown = b"".join(iter(lambda: _read(controller), b"")).decode()
        os.close(controller)
        return command.wait(WITHIN_S), shown


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4096)
    except OSError:
        # How Linux says that the other end of a terminal was closed.
        return b""


def test_tasks_lists_each_with_its_state_and_what_it_waits_for(
    address: str, client: Client, queue: str, worker: HandWorker
) -> None:
    running = client.options(queue=queue).submit("work")
    worker.take()
    delayed = client.options(queue=queue, delay=AN_HOUR).submit("work")
    queued = client.options(queue=queue).submit("add")

    listed = tailrace(address, "tasks", "--queue", queue)

    titles, *rows = [[cell.strip() for cell in row if cell] for row in columns(listed)]
    assert (listed.returncode, listed.stderr) == (0, "")
    assert titles == ["TASK", "TYPE", "QUEUE", "STATE", "ATTEMPT", "AGE", "WAITS FOR"]
    assert [[*row[:5], row[6]] for row in rows] == [
        [running.id, "work", queue, "STARTED", "1", "-"],
        [queued.id, "add", queue, "PENDING", "0", "a worker"],
        [delayed.id, "work", queue, "PENDING", "0", "its time"],
    ]


def test_every_option_of_tasks_leaves_out_what_does_not_fit(
    address: str, client: Client, queue: str, worker: HandWorker
) -> None:
    tricky = 'a "b" \\ c'
    mine = client.options(queue=queue, labels={"team": "blue", "a key": tricky}).submit("work")
    client.options(queue=queue, labels={"team": "red"}).submit("work")
    other = client.options(queue=queue).submit("other")
    worker.take()

    def found(*options: str) -> list[str]:
        return [task["task_id"] for task in read(tailrace(address, "tasks", "--queue", queue, "--json", *options))]

    assert found("--label", "team=blue", "--label", f"a key={tricky}") == [mine.id]
    assert found("--label", "team=blue", "--label", "a key=else") == []
    assert found("--type", "other") == [other.id]
    assert found("--state", "started") == [mine.id]


def test_tasks_follows_the_pages_up_to_the_limit_and_says_that_there_are_more(
    address: str, client: Client, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_token, "MAX_PAGE_SIZE", 2)
    submitted = {result.id for result in client.options(queue=queue).map("work", [() for _ in range(7)])}

    some = tailrace(address, "tasks", "--queue", queue, "--json", "--limit", "5")
    every = read(tailrace(address, "tasks", "--queue", queue, "--json", "--limit", "7"))

    assert len({json.loads(line)["task_id"] for line in some.stdout.splitlines()} & submitted) == 5
    assert some.stderr == "tailrace: these are the first 5; --limit shows more\n"
    assert {task["task_id"] for task in every} == submitted


def test_a_listing_in_json_has_these_fields(address: str, client: Client, queue: str) -> None:
    result = client.options(queue=queue, priority=3, labels={"team": "blue"}).submit("work")

    (task,) = read(tailrace(address, "tasks", "--queue", queue, "--json"))

    assert task.pop("create_time").endswith("Z")
    assert task == {
        "task_id": result.id,
        "task_type": "work",
        "queue": queue,
        "state": "PENDING",
        "done": False,
        "pending_reason": "QUEUED",
        "attempt": 0,
        "priority": 3,
        "labels": {"team": "blue"},
        "parent_task_id": None,
        "worker_id": None,
        "delivery_count": 0,
        "revoke_requested": False,
        "start_time": None,
        "end_time": None,
        "expire_time": None,
    }


def test_nothing_found_is_no_error(address: str) -> None:
    listed = tailrace(address, "tasks", "--queue", "nobody-uses-this")

    assert (listed.returncode, listed.stdout, listed.stderr) == (0, "", "no such tasks\n")


def test_on_a_terminal_a_table_has_colours_whole_ids_and_a_line_to_a_row(
    address: str, client: Client, queue: str
) -> None:
    result = client.options(queue=queue).submit("billing.charge.customer")

    exit_code, shown = on_a_terminal(address, "tasks", "--queue", queue)

    lines = shown.split("\r\n")
    assert (exit_code, len(lines), lines[-1]) == (0, 3, "")
    assert lines[1].startswith(f"{result.id} bill")
    assert "\u2026" in lines[1]
    assert "\x1b[33mPENDING\x1b[0m" in lines[1]
    assert lines[1].rstrip().endswith("a worker")


def test_a_terminal_that_is_too_narrow_is_left_to_break_the_lines(address: str, client: Client, queue: str) -> None:
    result = client.options(queue=queue).submit("billing.charge.customer")

    _, shown = on_a_terminal(address, "tasks", "--queue", queue, width=40)

    lines = shown.split("\r\n")
    assert len(lines) == 3
    assert lines[1].startswith(f"{result.id} billi\u2026 ")


def test_a_worker_of_many_queues_is_one_row(address: str) -> None:
    worker = Worker([f"q{number}" for number in range(20)], name="busy")

    with worker.running(address):
        eventually(lambda: "busy-" in tailrace(address, "workers").stdout, "the worker is listed")
        _, shown = on_a_terminal(address, "workers")

    _, *rows, end = shown.split("\r\n")
    assert end == ""
    assert [row for row in rows if "python/" not in row] == []
    assert any(row.startswith("busy-") and "q0, q1" in row and "\u2026" in row for row in rows)


def test_show_tells_what_was_submitted_and_what_became_of_it(
    address: str, client: Client, queue: str, worker: HandWorker
) -> None:
    options = client.options(queue=queue, labels={"team": "blue"}, execution_timeout=timedelta(seconds=90))
    result = options.submit("work", 1, name="x")
    worker.fail(worker.take(), message="no\x1b[2Jway")

    shown = tailrace(address, "show", result.id)

    lines = shown.stdout.splitlines()
    assert shown.returncode == 0
    assert {f"task: {result.id}", "state: FAILURE", "label: team=blue", "execution timeout: 90s"} <= set(lines)
    assert 'input: {"args": [1], "kwargs": {"name": "x"}}' in lines
    assert "error: ValueError: no\\x1b[2Jway (APPLICATION)" in lines
    assert lines[-1] == "ValueError: no"


def test_show_speaks_json_with_values_as_they_are(address: str, client: Client, queue: str, worker: HandWorker) -> None:
    options = client.options(queue=queue, delay=timedelta(milliseconds=1), total_timeout=AN_HOUR)
    result = options.submit("work")
    worker.succeed(worker.take(), {"sum": 30})

    (task,) = read(tailrace(address, "show", result.id, "--json"))

    assert (task["state"], task["done"], task["attempt"]) == ("SUCCESS", True, 1)
    assert task["result"] == {"content_type": "application/json", "value": {"sum": 30}}
    assert (task["start_delay_s"], task["total_timeout_s"], task["execution_timeout_s"]) == (0.001, 3600.0, None)
    assert (task["error"], task["last_error"], task["progress"], task["input"]) == (None, None, None, None)


def test_show_of_an_unknown_task_is_told_apart(address: str) -> None:
    shown = tailrace(address, "show", "unknown")

    assert (shown.returncode, shown.stdout) == (4, "")
    assert shown.stderr.startswith("tailrace: no task unknown;")


def test_retry_writes_the_ids_of_the_new_tasks(address: str, client: Client, queue: str, worker: HandWorker) -> None:
    failed, succeeded = client.options(queue=queue).submit("a"), client.options(queue=queue).submit("b")
    worker.fail(worker.take())
    worker.succeed(worker.take(), 1)

    retried = tailrace(address, "retry", failed.id, failed.id, succeeded.id)

    (new_id,) = retried.stdout.split()
    assert retried.returncode == 5
    assert retried.stderr == (
        f"tailrace: task {succeeded.id} is in SUCCESS; only one in FAILURE or REVOKED can be run again\n"
    )
    (task,) = read(tailrace(address, "show", new_id, "--json"))
    assert (task["task_type"], task["state"], task["parent_task_id"]) == ("a", "PENDING", failed.id)


def test_programs_are_told_which_tasks_could_not_be_retried(
    address: str, client: Client, queue: str, worker: HandWorker
) -> None:
    failed = client.options(queue=queue).submit("a")
    worker.fail(worker.take())

    retried = tailrace(address, "retry", "--json", "unknown", failed.id)

    unknown, new = map(json.loads, retried.stdout.splitlines())
    assert retried.returncode == 4
    assert unknown == {"task_id": "unknown", "error": "no task unknown"}
    assert new == {"task_id": failed.id, "new_task_id": new["new_task_id"], "state": "PENDING"}
    assert new["new_task_id"] != failed.id


def test_delete_forgets_what_is_done_and_nothing_else(
    address: str, client: Client, queue: str, worker: HandWorker
) -> None:
    done, waiting = client.options(queue=queue).submit("a"), client.options(queue=queue).submit("b")
    worker.succeed(worker.take(), 1)

    deleted = tailrace(address, "delete", waiting.id, done.id)

    assert (deleted.returncode, deleted.stdout) == (5, f"{done.id} deleted\n")
    assert deleted.stderr == f"tailrace: task {waiting.id} is not done; revoke it first\n"
    assert tailrace(address, "result", done.id).returncode == 4
    assert tailrace(address, "result", waiting.id).returncode == 0


def test_queues_counts_what_is_in_each(address: str, client: Client, queue: str, worker: HandWorker) -> None:
    client.options(queue=queue).map("work", [(), (), ()])
    client.options(queue=queue, delay=AN_HOUR).submit("work")
    worker.take()

    (told,) = [each for each in read(tailrace(address, "queues", "--json")) if each["queue"] == queue]
    listed = tailrace(address, "queues")

    assert told.pop("oldest_queued_age_s") >= 0
    counts = {"queued_count": 2, "delayed_count": 1, "leased_count": 1}
    assert told == {"queue": queue, "paused": False, "max_depth": None, **counts}
    (row,) = [line.split() for line in listed.stdout.splitlines() if line.startswith(f"{queue} ")]
    assert (row[1:4], row[5:]) == (["2", "1", "1"], ["-", "-"])


def test_a_paused_queue_says_so_until_it_is_resumed(address: str, client: Client, queue: str) -> None:
    client.options(queue=queue).submit("work")

    paused = tailrace(address, "queues", "pause", queue)
    waiting = tailrace(address, "tasks", "--queue", queue)
    resumed = tailrace(address, "queues", "resume", queue, "--json")

    assert (paused.returncode, paused.stdout) == (0, f"{queue} paused\n")
    assert waiting.stdout.rstrip().endswith("a resume")
    (told,) = read(resumed)
    assert (told["queue"], told["paused"]) == (queue, False)


def test_options_before_the_second_command_count_too(address: str, queue: str) -> None:
    paused = tailrace("127.0.0.1:1", "queues", "--address", address, "--json", "pause", queue)

    assert read(paused)[0]["paused"] is True


def test_purge_calls_until_nothing_waits_and_tells_how_far_it_is(
    address: str, client: Client, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = client.options(queue=queue).map("work", [() for _ in range(5)])
    monkeypatch.setattr(limits, "MAX_PURGE_STEP", 2)
    monkeypatch.setattr(limits, "PURGE_BUDGET_S", 0.0)

    purged = tailrace(address, "queues", "purge", queue, "--yes")

    assert (purged.returncode, purged.stdout) == (0, f"{queue}: 5 tasks revoked\n")
    assert purged.stderr.splitlines() == [f"{queue}: 2 revoked, 3 to go", f"{queue}: 4 revoked, 1 to go"]
    assert {result.state for result in results} == {"REVOKED"}


def test_a_purge_has_the_time_that_a_server_takes_for_it() -> None:
    assert _MAX_TRY_S > limits.PURGE_BUDGET_S
    assert PURGE_TIMEOUT.total_seconds() > _MAX_TRY_S


def test_purge_in_a_script_does_nothing_without_yes(address: str, client: Client, queue: str) -> None:
    result = client.options(queue=queue).submit("work")

    purged = tailrace(address, "queues", "purge", queue)

    assert (purged.returncode, purged.stdout) == (2, "")
    assert "would revoke 1 tasks" in purged.stderr
    assert "--yes" in purged.stderr
    assert result.state == "PENDING"


@pytest.mark.parametrize(("answer", "exit_code", "state"), [("n\n", 130, "PENDING"), ("y\n", 0, "REVOKED")])
def test_purge_asks_on_a_terminal(address: str, client: Client, answer: str, exit_code: int, state: str) -> None:
    result = client.options(queue="asked").submit("work")

    ended, shown = on_a_terminal(address, "queues", "purge", "asked", typed=answer)

    assert "Revoke the " in shown
    assert (ended, result.state) == (exit_code, state)


def test_workers_are_listed_and_drained(address: str, queue: str) -> None:
    worker = Worker([queue])

    def listed() -> list[dict[str, Any]]:
        return [each for each in read(tailrace(address, "workers", "--json")) if each["queues"] == [queue]]

    with worker.running(address):
        ((told),) = eventually(listed, "the worker is listed")
        table = tailrace(address, "workers")
        drained = tailrace(address, "workers", "drain", told["worker_id"])
        (after,) = listed()

    assert (told["draining"], told["outstanding_count"]) == (False, 0)
    assert told["connect_time"] <= told["last_seen_time"]
    assert table.stdout.splitlines()[0].split()[0] == "WORKER"
    assert any(line.startswith(f"{told['worker_id']}  {queue}  0/") for line in table.stdout.splitlines())
    assert (drained.returncode, drained.stdout) == (0, f"{told['worker_id']} draining\n")
    assert after["draining"] is True


def test_a_worker_that_is_not_there_cannot_be_drained(address: str) -> None:
    drained = tailrace(address, "workers", "drain", "nobody")

    assert (drained.returncode, drained.stdout) == (4, "")
    assert drained.stderr == "tailrace: no worker nobody is connected; those that are, this lists: tailrace workers\n"


@pytest.mark.parametrize("command", [["tasks"], ["queues", "purge", "q", "--yes"]], ids=" ".join)
def test_without_a_server_each_says_what_to_do(command: list[str]) -> None:
    ended = tailrace("127.0.0.1:1", *command)

    assert (ended.returncode, ended.stdout) == (3, "")
    assert "--address or TAILRACE_ADDRESS" in ended.stderr.splitlines()[-1]
