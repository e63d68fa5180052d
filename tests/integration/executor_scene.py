"""A real server and, for each executor, a real worker process with the tasks of ``executor_tasks``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tailrace.client import AsyncResult, Client
from tests.faults.processes import Process, Processes
from tests.integration.executor_tasks import PATIENCE_S
from tests.wait import eventually

EXECUTORS = ("asyncio", "thread", "process")


@dataclass(kw_only=True)
class Scene:
    """One executor's worker, and whoever gives it tasks."""

    executor: str
    processes: Processes
    client: Client
    address: str
    arguments: tuple[str, ...] = ()
    """More of the worker's command line."""
    first_worker: Process = field(init=False)
    worker: Process = field(init=False)

    def __post_init__(self) -> None:
        self.first_worker = self.worker = self.start_worker()

    @property
    def directory(self) -> Path:
        """Where tasks leave their marks."""
        return self.processes.directory

    def start_worker(self) -> Process:
        """Start another worker of this executor, and wait until it is connected."""
        name = f"tests.integration.executor_tasks:{self.executor}_worker"
        worker = self.processes.python(
            self.executor, "-m", "tailrace.worker", name, "--address", self.address, *self.arguments
        )
        worker.wait_for_line("server_connected")
        return worker

    def submit(self, task_type: str, *args: Any, **options: Any) -> AsyncResult:
        """Submit a task for this executor's worker."""
        return self.client.options(queue=self.executor, **options).submit(task_type, *args)

    def await_mark(self, result: AsyncResult, mark: str) -> str:
        """Wait until a task has left a mark, and return it with what follows it."""

        def found() -> str | None:
            paths = list(self.directory.glob(f"{result.id}.*.{mark}"))
            return paths[0].read_text(encoding="utf-8") if paths else None

        return str(eventually(found, f"{mark} from {result.id}", within_s=PATIENCE_S))

    def pid_of(self, result: AsyncResult) -> int:
        """Wait until a task has begun, and return the process that it runs in."""
        return int(self.await_mark(result, "began").split()[1])

    def await_marks(self, result: AsyncResult, mark: str, count: int) -> None:
        """Wait until a task has left a mark in so many processes."""
        eventually(lambda: self.marks(result, mark) == count, f"{mark}, {count} times", within_s=PATIENCE_S)

    def marks(self, result: AsyncResult, mark: str) -> int:
        """Count the processes in which a task left a mark."""
        return len(list(self.directory.glob(f"{result.id}.*.{mark}")))


def await_end_of(pid: int) -> None:
    """Wait until a process is gone."""
    eventually(lambda: not is_alive(pid), f"the end of process {pid}")


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that is dead and not buried does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def children_of(pid: int) -> list[int]:
    """List the child processes that run tasks."""
    children = psutil.Process(pid).children()
    return [child.pid for child in children if "spawn_main" in " ".join(child.cmdline())]
