"""The client and the worker of examples/go, compiled and run as processes."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.faults.processes import ROOT, Process

BUILD_WITHIN_S = 300.0
RUN_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GoPrograms:
    """Where the compiled programs are, and where their logs go."""

    directory: Path

    def run_client(self, address: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the client to its end; flags go before the task type."""
        command = [str(self.directory / "client"), "-address", address, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=RUN_WITHIN_S, check=False)

    @contextmanager
    def worker(self, address: str, queue: str) -> Iterator[Process]:
        """Run a worker for as long as the block lasts."""
        command = [str(self.directory / "worker"), "-address", address, "-queues", queue]
        process = Process(f"go-{queue}", command, log=self.directory / f"{queue}.log", environment=os.environ)
        try:
            yield process
        finally:
            process.kill()


def build_go_programs(directory: Path) -> GoPrograms:
    """Compile examples/go."""
    command = ["go", "build", "-o", f"{directory}/", "./client", "./worker"]
    subprocess.run(command, cwd=ROOT / "examples/go", check=True, timeout=BUILD_WITHIN_S)
    return GoPrograms(directory=directory)
