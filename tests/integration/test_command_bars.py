"""What somebody at a terminal sees while a command waits."""

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tailrace.client import Client
from tailrace.testing import run_server
from tailrace.v1.task_pb2 import Progress
from tests.integration.hand_worker import HandWorker
from tests.integration.terminal import Terminal
from tests.wait import eventually

COMMAND = [sys.executable, "-m", "tailrace.cli"]
BAR = "\u2501"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with run_server() as server:
        yield server.address


@pytest.fixture
def client(address: str) -> Iterator[Client]:
    with Client(address) as connected:
        yield connected


@pytest.fixture
def worker(address: str) -> Iterator[HandWorker]:
    worker = HandWorker(address)
    yield worker
    worker.close()


def on_terminal(address: str, *arguments: str) -> Terminal:
    return Terminal([*COMMAND, *arguments], {**os.environ, "TAILRACE_ADDRESS": address}, width=100)


def in_a_pipe(address: str, output: Path, command: str) -> Terminal:
    environ = {**os.environ, "TAILRACE_ADDRESS": address}
    return Terminal(["bash", "-c", f"{' '.join(COMMAND)} {command} > {output}"], environ)


def lines_of(terminal: Terminal) -> list[str]:
    """Everything that was ever drawn, line by line, without bars and colours."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.shown)
    return [" ".join(re.sub(r"[\u2501\u2578\u257a]+", BAR, line).split()) for line in re.split(r"[\r\n]+", plain)]


def is_drawn(terminal: Terminal, text: str) -> bool:
    return any(text in line for line in lines_of(terminal))


def test_submit_shows_how_far_the_task_has_come_and_writes_its_value_at_the_end(
    address: str, worker: HandWorker
) -> None:
    with on_terminal(address, "submit", "add", "--wait") as terminal:
        task = worker.take()
        worker.say_progress(task, Progress(current=3, total=12, message="three\x1b[2J of them"))
        eventually(lambda: is_drawn(terminal, f"three\\x1b[2J of them {BAR} 3/12"), "the bar moves")
        worker.succeed(task, 30)

        assert terminal.wait() == 0
        assert lines_of(terminal)[-2:] == ["30", ""]


def test_wait_shows_a_task_that_does_not_say_how_many_there_are(
    address: str, client: Client, worker: HandWorker
) -> None:
    result = client.submit("count")
    task = worker.take()
    with on_terminal(address, "wait", result.id) as terminal:
        eventually(lambda: is_drawn(terminal, f"waiting {BAR}"), "there is a bar")
        worker.say_progress(task, Progress(current=7))
        eventually(lambda: is_drawn(terminal, f"running {BAR} 7 0:"), "it tells what there is to tell")
        worker.succeed(task, None)

        assert terminal.wait() == 0
        assert is_drawn(terminal, f"{result.id} SUCCESS")


def test_wait_for_several_counts_them_and_shows_those_that_say_something(
    address: str, client: Client, worker: HandWorker
) -> None:
    quiet, loud = client.map("work", [(), ()])
    tasks = {task.lease.task_id: task for task in (worker.take(), worker.take())}
    with on_terminal(address, "wait", quiet.id, loud.id) as terminal:
        eventually(lambda: is_drawn(terminal, f"tasks done {BAR} 0/2"), "both are counted")
        worker.say_progress(tasks[loud.id], Progress(current=1, total=4, message="begun"))
        eventually(lambda: is_drawn(terminal, f"{loud.id} begun {BAR} 1/4"), "one has a bar of its own")
        worker.succeed(tasks[quiet.id], None)
        eventually(lambda: is_drawn(terminal, f"tasks done {BAR} 1/2"), "one is done")
        worker.fail(tasks[loud.id], message="no")

        assert terminal.wait() == 1
        assert is_drawn(terminal, f"{quiet.id} SUCCESS")
        assert is_drawn(terminal, f"{loud.id} FAILURE ValueError: no")


def test_bars_and_tables_are_drawn_in_what_the_encoding_of_the_terminal_has(address: str, client: Client) -> None:
    result = client.options(queue="a-queue-whose-name-is-cut-short" * 2).submit("add")
    environ = {**os.environ, "TAILRACE_ADDRESS": address, "PYTHONIOENCODING": "latin-1"}

    with Terminal([*COMMAND, "wait", result.id, "--timeout", "500ms"], environ) as waiting:
        assert waiting.wait() == 3
        assert "Traceback" not in waiting.shown
    with Terminal([*COMMAND, "tasks", "--queue", "a-queue-whose-name-is-cut-short" * 2], environ) as listing:
        assert listing.wait() == 0
        assert re.search(r"a-queue[^ ]*\?", listing.shown)


@pytest.mark.parametrize("command", ["submit add --wait", "submit add --wait --json"])
def test_there_is_no_bar_where_a_file_gets_the_value(
    address: str, worker: HandWorker, tmp_path: Path, command: str
) -> None:
    output = tmp_path / "output"
    with in_a_pipe(address, output, command) as terminal:
        task = worker.take()
        worker.say_progress(task, Progress(current=1, total=2))
        worker.succeed(task, 30)

        assert terminal.wait() == 0
        assert BAR not in terminal.shown
        assert "\x1b" not in terminal.shown
    value = json.loads(output.read_text(encoding="utf-8"))
    assert (value["result"] if "--json" in command else value) == 30


def test_there_is_no_bar_beside_json(address: str, client: Client, worker: HandWorker) -> None:
    result = client.submit("a")
    task = worker.take()
    worker.say_progress(task, Progress(current=1, total=2))
    with on_terminal(address, "wait", result.id, "--json") as terminal:
        worker.succeed(task, 1)

        assert terminal.wait() == 0
        assert json.loads(terminal.shown) == {"task_id": result.id, "state": "SUCCESS", "result": 1}
