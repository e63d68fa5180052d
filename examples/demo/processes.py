"""A server and a worker as real processes, gone again at the end whatever happens."""

import contextlib
import socket
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

STOP_WITHIN_S = 15.0


@contextlib.contextmanager
def server_and_worker(directory: Path) -> Generator[str, None, None]:
    """Start both on a fresh embedded store in a directory; yields the server's address."""
    address = f"127.0.0.1:{_free_port()}"
    store = f"sqlite:///{directory / 'demo.db'}"
    with (
        _running(directory / "server.log", "tailrace.server", "--listen", address, "--store", store),
        _running(directory / "worker.log", "tailrace.worker", "examples.demo.tasks:worker", "--address", address),
    ):
        yield address


@contextlib.contextmanager
def _running(log: Path, module: str, *arguments: str) -> Generator[None, None, None]:
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-m", module, *arguments], stdout=output, stderr=output)
        try:
            yield
        except BaseException:
            print(f"--- {log.name} ends with:\n{_tail(log)}", file=sys.stderr)
            raise
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask a process to finish what it has in hand, and insist after a while."""
    process.terminate()
    try:
        process.wait(STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP_WITHIN_S)


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
