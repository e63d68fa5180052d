"""``tailrace top``, as somebody in front of a terminal sees it, and as a program reads it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from tailrace.client import Client
from tailrace.testing import run_server
from tailrace.worker import Worker
from tests.integration.terminal import ENTER_SCREEN, LEAVE_SCREEN, SHOW_CURSOR, Terminal
from tests.wait import eventually

COMMAND = [sys.executable, "-m", "tailrace.cli", "top"]
WITHIN_S = 60


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with run_server() as server:
        yield server.address


@pytest.fixture
def queue(request: pytest.FixtureRequest, address: str) -> str:
    """A queue with three tasks on the server that all share."""
    name = str(request.function.__name__)[:40].rstrip("_")
    with Client(address) as client:
        client.options(queue=name).map("work", [() for _ in range(3)])
    return name


def environ(address: str) -> dict[str, str]:
    return {**os.environ, "TAILRACE_ADDRESS": address}


def top(address: str, *options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*COMMAND, *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
        env=environ(address),
    )


def live(address: str, *options: str, width: int = 100, height: int = 24) -> Terminal:
    return Terminal([*COMMAND, "--interval", "100ms", *options], environ(address), width=width, height=height)


def row_of(screen: str, name: str) -> list[str]:
    return next((line.split() for line in screen.splitlines() if line.startswith(name)), [])


def test_a_live_screen_follows_queues_and_workers(address: str, queue: str) -> None:
    with live(address) as terminal, Client(address) as client:
        eventually(lambda: row_of(terminal.screen, queue)[1:5] == ["3", "0", "0", "0"], "three tasks wait")

        client.options(queue=queue).submit("work")
        eventually(lambda: row_of(terminal.screen, queue)[1:2] == ["4"], "a fourth is seen")
        with Worker(["elsewhere"], name="hand", concurrency=5).running(address):
            eventually(lambda: row_of(terminal.screen, "hand-")[1:3] == ["0/5", "elsewhere"], "a worker is seen")


@pytest.mark.parametrize("leave", [lambda it: it.type("q"), Terminal.interrupt], ids=["q", "ctrl-c"])
def test_leaving_puts_the_terminal_back(address: str, queue: str, leave: Callable[[Terminal], None]) -> None:
    with live(address) as terminal:
        eventually(lambda: queue in terminal.screen, "the screen is there")
        leave(terminal)

        assert terminal.wait() == 0
        assert terminal.shown.startswith(ENTER_SCREEN)
        assert terminal.shown.count(LEAVE_SCREEN) == 1
        assert SHOW_CURSOR in terminal.shown
        assert terminal.is_as_before


def test_a_signal_to_end_puts_the_terminal_back_too(address: str, queue: str) -> None:
    with live(address) as terminal:
        eventually(lambda: queue in terminal.screen, "the screen is there")
        terminal.process.send_signal(signal.SIGTERM)

        assert terminal.wait() == 128 + signal.SIGTERM
        assert LEAVE_SCREEN in terminal.shown
        assert terminal.is_as_before


def test_a_screen_that_is_put_aside_comes_back(address: str, queue: str) -> None:
    with live(address) as terminal:
        eventually(lambda: queue in terminal.screen, "the screen is there")
        terminal.type("\x1a")
        process = psutil.Process(terminal.process.pid)
        eventually(lambda: process.status() == psutil.STATUS_STOPPED, "the process is stopped")

        assert LEAVE_SCREEN in terminal.shown
        assert terminal.is_as_before
        process.send_signal(signal.SIGCONT)
        eventually(lambda: terminal.shown.count(ENTER_SCREEN) == 2, "the screen is back")
        terminal.type("q")
        assert terminal.wait() == 0


def test_a_screen_fits_a_terminal_whose_size_changes(address: str, queue: str) -> None:
    with live(address, width=100) as terminal:
        eventually(lambda: "OLDEST" in terminal.screen, "all columns are there")
        terminal.resize(30, 8)
        terminal.process.send_signal(signal.SIGWINCH)
        eventually(lambda: "QUEUED" in terminal.screen and "OLDEST" not in terminal.screen, "columns are left out")

        assert len(terminal.screen.splitlines()) <= 8
        assert max(len(line.rstrip()) for line in terminal.screen.splitlines()) <= 30


def test_a_server_that_goes_away_is_told_of_until_it_is_back(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/top.db"
    with ExitStack() as stack:
        with run_server(store=store) as server:
            with Client(server.address) as client:
                client.submit("work")
            terminal = stack.enter_context(live(server.address))
            eventually(lambda: row_of(terminal.screen, "default"), "the queue is shown")
        eventually(lambda: "no answer for" in terminal.screen, "the server is missed", within_s=30)
        assert row_of(terminal.screen, "default")[1] == "1"

        with run_server(store=store, listen=server.address):
            eventually(lambda: "no answer for" not in terminal.screen, "the server is back", within_s=30)
            terminal.type("q")
            assert terminal.wait() == 0


def test_nobody_is_kept_by_a_server_that_does_not_answer() -> None:
    with live("127.0.0.1:1") as terminal:
        eventually(lambda: "tailrace top" in terminal.screen, "the screen is there")
        terminal.type("q")

        assert terminal.wait() == 0
        assert terminal.is_as_before


def test_a_live_screen_can_end_by_itself(address: str, queue: str) -> None:
    with live(address, "--count", "2") as terminal:
        assert terminal.wait() == 0
        assert queue in terminal.screen


def test_once_writes_one_plain_screen_with_rates(address: str, queue: str) -> None:
    ended = top(address, "--once", "--interval", "100ms")

    assert (ended.returncode, ended.stderr) == (0, "")
    assert "\x1b" not in ended.stdout
    assert row_of(ended.stdout, queue)[1:5] == ["3", "0", "0", "0"]


def test_json_is_a_line_for_each_look(address: str, queue: str) -> None:
    ended = top(address, "--json", "--count", "2", "--interval", "100ms")

    assert (ended.returncode, ended.stderr) == (0, "")
    first, second = [json.loads(line) for line in ended.stdout.splitlines()]
    mine = [next(each for each in look["queues"] if each["queue"] == queue) for look in (first, second)]
    assert first["since_s"] is None
    assert second["since_s"] >= 0.1
    assert [(each["queued_count"], each["net_per_s"]) for each in mine] == [(3, None), (3, 0)]
    assert [look["error"] for look in (first, second)] == [None, None]


def test_json_of_one_look_has_rates(address: str, queue: str) -> None:
    (line,) = top(address, "--json", "--once", "--interval", "100ms").stdout.splitlines()

    assert {each["queue"]: each["net_per_s"] for each in json.loads(line)["queues"]}[queue] == 0


def test_a_look_in_vain_is_a_line_and_a_complaint() -> None:
    ended = top("127.0.0.1:1", "--json", "--count", "1")

    assert ended.returncode == 3
    assert json.loads(ended.stdout)["queues"] is None
    assert "Connection refused" in json.loads(ended.stdout)["error"]
    assert "is a server running there?" in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ([], "--once writes one screen, --json lines"),
        (["--once", "--count", "2"], "exclude each other"),
        (["--interval", "10ms"], "at least 100ms"),
        (["--interval", "2"], "write a number and ms, s, m, h or d"),
        (["--count", "0"], "x>=1"),
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_is_one_line(address: str, options: list[str], advice: str) -> None:
    ended = top(address, *options)

    assert (ended.returncode, ended.stdout) == (2, "")
    assert advice in ended.stderr
    assert ended.stderr.count("\n") == 1
