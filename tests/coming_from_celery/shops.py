"""The two photo shops of `examples/from_celery`, open for business: real workers, and a process that calls for each."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.faults.processes import ROOT, Process, Processes
from tests.redis_server import RedisServer, redis_server

ANSWER_WITHIN_S = 60.0
STOP_WITHIN_S = 15.0
CELERY_OPTIONS = "-Q shop,printer -c 2 -l INFO --without-mingle --without-gossip"
"""Two processes, as it takes Celery seconds to replace one that was killed; and no search for neighbours."""

Seen = dict[str, Any]


@dataclass(kw_only=True)
class Shop:
    """One of the two: what its workers are started with, and somebody who calls its functions."""

    name: str
    worker_command: Sequence[str]
    worker_is_ready: str
    environment: dict[str, str]
    directory: Path
    _caller: subprocess.Popen[str] = field(init=False, repr=False)
    _calls: ThreadPoolExecutor = field(init=False, repr=False)
    _workers: list[Process] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        self._caller = subprocess.Popen(
            [sys.executable, "-m", "tests.coming_from_celery.caller", f"examples.from_celery.{self.name}_calls"],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._calls = ThreadPoolExecutor(1)

    @property
    def first_worker(self) -> Process:
        """The worker that found what had been left."""
        return self._workers[0]

    @property
    def worker(self) -> Process:
        """The worker that was started last."""
        return self._workers[-1]

    def begin(self, name: str, *arguments: object) -> "Future[Any]":
        """Call one of its functions; what the function returns is the future's result."""
        return self._calls.submit(self._call, name, arguments)

    def call(self, name: str, *arguments: object) -> Any:
        """Call one of its functions and wait for what it returns."""
        return self.begin(name, *arguments).result(ANSWER_WITHIN_S)

    def start_worker(self) -> None:
        """Start a worker, and return once it draws from the queues."""
        log = self.directory / f"{self.name}-worker-{len(self._workers)}.log"
        process = Process(f"{self.name}-worker", self.worker_command, log=log, environment=self.environment)
        self._workers.append(process)
        process.wait_for_line(self.worker_is_ready)

    def kill_worker(self) -> None:
        """End the worker and all that it forked, as the end of a machine does."""
        children = psutil.Process(self.worker.pid).children(recursive=True)
        self.worker.kill()
        for child in children:
            child.kill()

    def close(self) -> None:
        """End the caller and the workers, in good order where they will."""
        for process in self._workers:
            _end(process)
        self._caller.kill()
        self._caller.communicate(timeout=STOP_WITHIN_S)
        self._calls.shutdown()

    def _call(self, name: str, arguments: tuple[object, ...]) -> Any:
        assert self._caller.stdin is not None
        assert self._caller.stdout is not None
        self._caller.stdin.write(json.dumps([name, *arguments]) + "\n")
        self._caller.stdin.flush()
        line = self._caller.stdout.readline()
        assert line, f"{self.name}'s caller ended during {name}"
        answer = json.loads(line)
        assert "seen" in answer, f"{name} of {self.name} raised {answer['raised']}"
        return answer["seen"]


@dataclass(frozen=True, kw_only=True)
class Shops:
    """Both, on one Redis: the broker's database 0, the backend's 1 and Tailrace's 2."""

    celery: Shop
    tailrace: Shop
    redis: RedisServer

    def ask_both(self, name: str, *arguments: object) -> tuple[Seen, Seen]:
        """Call the same function of both at the same time: what Celery's caller saw, and what Tailrace's did."""
        began = [shop.begin(name, *arguments) for shop in (self.celery, self.tailrace)]
        celery, tailrace = (future.result(ANSWER_WITHIN_S) for future in began)
        return celery, tailrace


SHOPS = pytest.StashKey[Shops]()
"""What a test asks, for its report."""


@contextmanager
def open_shops(directory: Path) -> Iterator[Shops]:
    """Open both, with nobody at work yet."""
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server(appendonly="yes", maxmemory_policy="noeviction"))
        processes = Processes(directory)
        stack.callback(processes.close)
        server = processes.server(f"{redis.url}/2")
        celery = Shop(
            name="celery",
            worker_command=_python(f"celery -A examples.from_celery.celery_app worker {CELERY_OPTIONS}"),
            worker_is_ready=" ready.",
            environment=_environment(directory / "celery", SHOP_BROKER=f"{redis.url}/0", SHOP_BACKEND=f"{redis.url}/1"),
            directory=directory,
        )
        stack.callback(celery.close)
        tailrace = Shop(
            name="tailrace",
            worker_command=_python("tailrace.worker examples.from_celery.tailrace_tasks:worker"),
            worker_is_ready="server_connected",
            environment=_environment(directory / "tailrace", TAILRACE_ADDRESS=server.address),
            directory=directory,
        )
        stack.callback(tailrace.close)
        yield Shops(celery=celery, tailrace=tailrace, redis=redis)


def _python(module_and_arguments: str) -> list[str]:
    return [sys.executable, "-m", *module_and_arguments.split()]


def _environment(shop_directory: Path, **variables: str) -> dict[str, str]:
    shop_directory.mkdir()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TAILRACE_")}
    return inherited | {"PYTHONUNBUFFERED": "1", "SHOP_DIRECTORY": str(shop_directory)} | variables


def _end(process: Process) -> None:
    """Stop a worker, and whatever it forked: children of a killed parent would go on."""
    children = psutil.Process(process.pid).children(recursive=True) if process.is_running else []
    process.ask_to_stop()
    try:
        process.wait(STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
    for child in psutil.wait_procs(children, timeout=STOP_WITHIN_S)[1]:
        child.kill()
