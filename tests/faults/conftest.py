"""Fixtures of the fault tests: processes, stores, figures."""

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.faults.extent import IS_FULL
from tests.faults.figures import Figures
from tests.faults.processes import Processes
from tests.redis_server import RedisServer, redis_server

collect_ignore = [] if IS_FULL else ["test_freezes.py"]

_PROCESSES = pytest.StashKey[Processes]()


@pytest.fixture
def processes(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Processes]:
    """All the processes of this test; a test that fails shows the end of what each of them printed."""
    processes = Processes(tmp_path)
    request.node.stash[_PROCESSES] = processes
    try:
        yield processes
    finally:
        processes.close()


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """A Redis of the test's own that has every write on its disk before it answers."""
    with redis_server(appendonly="yes", appendfsync="always") as server:
        yield server


@pytest.fixture(params=["sqlite", "redis"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/tailrace.db"
    redis: RedisServer = request.getfixturevalue("redis")
    return redis.url


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Figures:
    """Where measured figures go."""
    return Figures(request.config, request.node.name)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call" and report.failed and (processes := item.stash.get(_PROCESSES, None)) is not None:
        report.sections += [(f"the end of {name}", tail) for name, tail in processes.tails()]
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if lines := config.stash.get(Figures.KEY, []):
        terminalreporter.section("figures")
        for line in lines:
            terminalreporter.write_line(line)
