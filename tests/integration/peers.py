"""Servers, workers and clients as real processes, in Python and in Go."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
STOP_WITHIN_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GoPrograms:
    """The compiled programs of examples/go."""

    client: Path
    worker: Path

    def run_client(self, address: str, *arguments: str, within_s: float = 30.0) -> subprocess.CompletedProcess[str]:
        """Run the client to its end; flags go before the task type."""
        command = [str(self.client), "-address", address, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=within_s, check=False)


def build_go_programs(directory: Path) -> GoPrograms | None:
    """Compile examples/go; None where there is no Go."""
    if shutil.which("go") is None:
        return None
    subprocess.run(
        ["go", "build", "-o", f"{directory}/", "./client", "./worker"],
        cwd=ROOT / "examples/go",
        check=True,
        timeout=300,
    )
    return GoPrograms(client=directory / "client", worker=directory / "worker")


class ServerProcess:
    """A server on an embedded store that can be killed and started again, on the same port with the same data."""

    def __init__(self, directory: Path) -> None:
        self.address = f"127.0.0.1:{_free_port()}"
        self._store = f"sqlite:///{directory}/tailrace.db"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "tailrace.server", "--listen", self.address, "--store", self._store]
        self._process = subprocess.Popen(command)

    def kill(self) -> None:
        """End it as a crash would. A second call does nothing."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_WITHIN_S)
            self._process = None


@contextlib.contextmanager
def running(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker, and end it as an operator would."""
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    try:
        yield process
    finally:
        if process.poll() is None:
            stop(process)


def stop(process: subprocess.Popen[bytes]) -> int:
    """Ask a process to stop and give its exit code; one that does not is killed."""
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP_WITHIN_S)
        raise


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
