"""Clients in programs that fork, and in programs that end without closing them."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tailrace.testing import run_server
from tests.faults.processes import ROOT

WITHIN_S = 60.0
EXIT_WITHIN_S = 1.0
PREPARED = {"GRPC_ENABLE_FORK_SUPPORT": "1"}


@dataclass(frozen=True, slots=True)
class Ended:
    """A program that has ended."""

    lines: list[str]
    complaints: list[str]
    code: int
    exit_s: float
    """From its last line to its end."""

    def lines_of(self, who: str) -> list[str]:
        return [line.removeprefix(f"{who} ") for line in self.lines if line.startswith(f"{who} ")]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with run_server() as server:
        yield server.address


def run(name: str, address: str, **environment: str) -> Ended:
    """Run a program of `client_programs` to its end, with Python in the mood to complain."""
    command = [sys.executable, "-W", "error", "-m", "tests.integration.client_programs", name, address]
    clean = {key: value for key, value in os.environ.items() if key != "GRPC_ENABLE_FORK_SUPPORT"}
    ended = subprocess.run(
        command, cwd=ROOT, env=clean | environment, capture_output=True, text=True, timeout=WITHIN_S, check=False
    )
    ended_at = time.time()
    lines = ended.stdout.splitlines()
    said_at = [float(line.removeprefix("end ")) for line in lines if line.startswith("end ")]
    return Ended(
        lines=lines,
        complaints=ended.stderr.splitlines(),
        code=ended.returncode,
        exit_s=ended_at - said_at[-1] if said_at else 0.0,
    )


def grpcs_own(complaints: list[str]) -> bool:
    """Tell whether all that was complained of is what grpc.aio says of several event loops: noise, and known."""
    return all("PollerCompletionQueue" in line for line in complaints if line.startswith("Exception in callback"))


def test_a_client_made_before_a_fork_works_in_children_and_parent(address: str) -> None:
    ended = run("fork_before_use", address)

    assert ended.lines_of("child") == ["soon PENDING"] * 3
    assert ended.lines_of("ended") == ["0 0 0"]
    assert ended.lines_of("parent") == ["PENDING"]
    assert (ended.code, ended.complaints) == (0, [])


def test_a_client_used_before_a_fork_says_so_at_once_in_children_and_goes_on_in_the_parent(address: str) -> None:
    ended = run("fork_after_use", address)

    children = ended.lines_of("child")
    assert len(children) == 3
    assert all(
        line.startswith("soon ForkedProcessError this process was forked from one in which a") for line in children
    )
    assert all("GRPC_ENABLE_FORK_SUPPORT=1" in line for line in children)
    assert ended.lines_of("ended") == ["0 0 0"]
    assert ended.lines_of("parent") == ["PENDING", "REVOKED PENDING"]
    assert ended.code == 0
    assert not [line for line in ended.complaints if "Traceback" in line]


def test_a_client_used_before_a_fork_works_in_children_where_grpc_is_prepared(address: str) -> None:
    ended = run("fork_after_use", address, **PREPARED)

    assert ended.lines_of("child") == ["soon PENDING"] * 3
    assert ended.lines_of("ended") == ["0 0 0"]
    assert ended.lines_of("parent") == ["PENDING", "REVOKED PENDING"]
    assert ended.code == 0
    assert not [line for line in ended.complaints if "Traceback" in line]


def test_an_asyncio_client_made_before_a_fork_works_in_children(address: str) -> None:
    ended = run("fork_asyncio_before_use", address)

    assert ended.lines_of("child") == ["soon PENDING"] * 3
    assert ended.lines_of("ended") == ["0 0 0"]


@pytest.mark.parametrize("environment", [{}, PREPARED])
def test_an_asyncio_client_used_before_a_fork_says_so_at_once_in_children(
    address: str, environment: dict[str, str]
) -> None:
    ended = run("fork_after_asyncio_use", address, **environment)

    children = ended.lines_of("child")
    assert len(children) == 3
    assert all(line.startswith("soon ForkedProcessError this process was forked") for line in children)
    assert ended.lines_of("ended") == ["0 0 0"]
    assert ended.lines_of("parent") == ["PENDING", "PENDING"]
    assert grpcs_own(ended.complaints)


@pytest.mark.parametrize(
    "name",
    [
        "leave_open",
        "leave_waiting",
        "leave_submitting",
        "leave_a_loop_half_way",
        "leave_waiting_for_no_server",
        "leave_asyncio_waiting",
    ],
)
def test_a_program_that_closes_nothing_ends_at_once_and_without_a_word(address: str, name: str) -> None:
    ended = run(name, address)

    assert ended.lines[0] == "PENDING"
    assert (ended.code, [line for line in ended.complaints if "interrupted" not in line]) == (0, [])
    assert ended.exit_s < EXIT_WITHIN_S


def test_an_asyncio_client_serves_one_event_loop_after_the_other(address: str) -> None:
    ended = run("loop_after_loop", address)

    assert ended.lines[:3] == ["PENDING"] * 3
    assert (ended.code, grpcs_own(ended.complaints)) == (0, True)


def test_two_event_loops_at_once_take_a_client_each(address: str) -> None:
    ended = run("loops_side_by_side", address)

    assert sorted(ended.lines[:4]) == [
        "50",
        "50",
        "shared",
        "the client is in use in another event loop: make one client for each loop",
    ]
    assert (ended.code, grpcs_own(ended.complaints)) == (0, True)
