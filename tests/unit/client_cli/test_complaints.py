"""What people are told of mistakes that are not the task's."""

import subprocess
import sys

import click
import pytest

from tailrace.cli._address import check_address
from tailrace.cli._complaint import plain_text
from tailrace.cli._exit_code import ExitCode
from tailrace.client import ServerUnavailableError

COMMAND = [sys.executable, "-m", "tailrace.cli"]


@pytest.mark.parametrize(
    "address",
    [
        "localhost:7440",
        "127.0.0.1:1",
        "[::1]:7440",
        "tasks.example.org:65535",
        "under_score:1",
        "dns:///tasks.example.org:7440",
        "unix:/run/tailrace.sock",
        "ipv6:[::1]:7440",
    ],
)
def test_an_address_is_a_host_and_a_port_or_what_grpc_knows(address: str) -> None:
    check_address(address, "--address")


@pytest.mark.parametrize(
    "address",
    [
        "localhost",
        "localhost:",
        ":7440",
        "localhost:abc",
        "localhost:0",
        "localhost:65536",
        "host:\u0661",
        "http://localhost:7440",
        "host:1/path",
        "user@host:1",
        "two hosts:1",
        "[::1",
        "::1:7440",
    ],
)
def test_anything_else_is_refused_before_it_is_tried(address: str) -> None:
    with pytest.raises(click.UsageError, match=r"--address: .* is not HOST:PORT, such as localhost:7440"):
        check_address(address, "--address")


@pytest.mark.parametrize("variable", [True, False])
def test_a_wrong_address_is_told_by_where_it_was_said(monkeypatch: pytest.MonkeyPatch, variable: bool) -> None:
    source = "TAILRACE_ADDRESS" if variable else "--address"
    monkeypatch.setenv("TAILRACE_ADDRESS", "nowhere" if variable else "127.0.0.1:1")

    command = [*COMMAND, "result", "t1", *([] if variable else ["--address", "nowhere"])]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert (ended.returncode, ended.stdout) == (ExitCode.USAGE, "")
    assert ended.stderr == (
        f"tailrace result: {source}: 'nowhere' is not HOST:PORT, such as localhost:7440 (see tailrace result --help)\n"
    )


@pytest.mark.parametrize(
    ("message", "plain"),
    [
        (
            "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: Failed to connect to remote "
            "host: connect: Connection refused (111) (UNAVAILABLE)",
            "127.0.0.1:1: Connection refused (111) (UNAVAILABLE)",
        ),
        (
            "DNS resolution failed for nowhere.invalid:7440: C-ares status is not ARES_SUCCESS qtype=A "
            "name=nowhere.invalid is_balancer=0: Domain name not found (UNAVAILABLE)",
            "no host is known by the name of nowhere.invalid:7440",
        ),
        ("the store\ncannot be reached", "the store cannot be reached"),
    ],
)
def test_what_grpc_says_of_a_server_that_is_not_there_is_told_plainly(message: str, plain: str) -> None:
    assert plain_text(ServerUnavailableError(message)) == plain


@pytest.mark.parametrize("address", ["127.0.0.1:1", "[::1]:1", "unix:/nowhere.sock"])
def test_a_server_that_is_not_there_is_one_line(address: str) -> None:
    command = [*COMMAND, "queues", "--address", address]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert (ended.returncode, ended.stdout) == (ExitCode.NO_ANSWER, "")
    assert ended.stderr.endswith("; is a server running there? --address or TAILRACE_ADDRESS names it\n")
    assert ended.stderr.count("\n") == 1
    assert len(ended.stderr) < 160


@pytest.mark.parametrize("command", [[], ["submit"], ["queues", "pause"], ["top"]], ids=" ".join)
def test_help_has_a_short_name_too(command: list[str]) -> None:
    ended = subprocess.run([*COMMAND, *command, "-h"], capture_output=True, text=True, timeout=60, check=False)

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("Usage: ")
