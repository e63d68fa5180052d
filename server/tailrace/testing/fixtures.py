"""Pytest fixtures: a server of the test's own, and a client of it."""

from collections.abc import Iterator

import pytest

from tailrace.client import Client
from tailrace.testing.embedded import RunningServer, run_server


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
