"""Pytest fixtures: a server of the test's own, a client of it, and workers for it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tailrace.client import Client
from tailrace.testing.embedded import RunningServer, run_server
from tailrace.worker import Worker


@pytest.fixture
def tailrace_server() -> Iterator[RunningServer]:
    """Run a server for one test; it is empty, and ``tailrace_server.address`` is where."""
    with run_server() as running:
        yield running


@pytest.fixture
def tailrace_client(tailrace_server: RunningServer) -> Iterator[Client]:
    """Make a client of ``tailrace_server``."""
    with Client(tailrace_server.address) as client:
        yield client


@pytest.fixture
def tailrace_run_worker(tailrace_server: RunningServer) -> Iterator[Callable[[Worker], Worker]]:
    """Run workers for ``tailrace_server`` in this process: ``tailrace_run_worker(worker)``, until the test ends."""
    with ExitStack() as running:
        yield lambda worker: running.enter_context(worker.running(tailrace_server.address))
