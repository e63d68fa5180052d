"""Servers and workers as processes of their own: watched line by line, hurt by signals, cleaned up whatever happens."""

import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.faults.journal import DIRECTORY_VARIABLE

ROOT = Path(__file__).resolve().parent.parent.parent
START_WITHIN_S = 30.0
STOP_WITHIN_S = 30.0
TAIL_LINES = 40
TAIL_COLUMNS = 400


class Process:
    """One process. What it prints is kept, in memory and in its log, and can be waited for."""

    def __init__(self, name: str, command: Sequence[str], *, log: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self._log = log
        self._lines: list[str] = []
        self._printed = threading.Condition()
        self._has_closed_output = False
        self._popen = subprocess.Popen(
            command, cwd=ROOT, env=dict(environment), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self._reader = threading.Thread(target=self._read, name=f"log-of-{name}", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._popen.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended, stopped ones included."""
        return self._popen.poll() is None

    def lines_with(self, *texts: str) -> list[str]:
        """List the lines printed so far that have all of these texts in them."""
        with self._printed:
            return self._matching(texts)

    def wait_for_line(self, *texts: str, count: int = 1, within_s: float = START_WITHIN_S) -> str:
        """Wait until it has printed ``count`` lines with all of these texts in them, and return the last of those."""

        def is_settled() -> bool:
            return len(self._matching(texts)) >= count or self._has_closed_output

        with self._printed:
            self._printed.wait_for(is_settled, within_s)
            lines = self._matching(texts)
        assert len(lines) >= count, f"{self.name} printed {texts} {len(lines)} times, not {count}, in {within_s:g} s"
        return lines[count - 1]

    def freeze(self) -> None:
        """Stop it where it is, as a machine does that swaps or a debugger; returns when it stands still."""
        os.kill(self.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End it as a crash would. A second call does nothing."""
        if self.is_running:
            self._popen.kill()
        self._popen.wait(STOP_WITHIN_S)
        self._close_log()

    def ask_to_stop(self) -> None:
        """Send SIGTERM and return at once."""
        self._popen.terminate()

    def wait(self, within_s: float = STOP_WITHIN_S) -> int:
        """Wait for its end and return the exit code."""
        code = self._popen.wait(within_s)
        self._close_log()
        return code

    def tail(self) -> str:
        """Return the end of what it printed."""
        with self._printed:
            return "".join(f"{line.rstrip()[:TAIL_COLUMNS]}\n" for line in self._lines[-TAIL_LINES:])

    def _matching(self, texts: Sequence[str]) -> list[str]:
        return [line for line in self._lines if all(text in line for text in texts)]

    def _read(self) -> None:
        assert self._popen.stdout is not None
        with self._log.open("ab") as log:
            for raw in self._popen.stdout:
                log.write(raw)
                log.flush()
                with self._printed:
                    self._lines.append(raw.decode(errors="replace"))
                    self._printed.notify_all()
        with self._printed:
            self._has_closed_output = True
            self._printed.notify_all()

    def _close_log(self) -> None:
        self._reader.join(STOP_WITHIN_S)
        assert self._popen.stdout is not None
        self._popen.stdout.close()


class ServerProcess:
    """A Tailrace server that can be started again and again: always the same port, always the same store."""

    def __init__(self, processes: "Processes", name: str, store: str, options: Sequence[str] = ()) -> None:
        self.address = f"127.0.0.1:{_free_port()}"
        self._processes = processes
        self._name = name
        self._store = store
        self._options = options
        self._process: Process | None = None

    @property
    def process(self) -> Process:
        """The process of its present, or latest, life."""
        assert self._process is not None, "the server was never started"
        return self._process

    def start(self) -> Process:
        """Start it and return once it listens."""
        command = ["-m", "tailrace.server", "--listen", self.address, "--store", self._store, "--log-format", "json"]
        command += self._options
        self._process = self._processes.python(self._name, *command)
        self._process.wait_for_line("is listening on")
        return self._process


class Processes:
    """All the processes of one test; ``close`` kills what is left of them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._started: list[Process] = []
        self._numbers = itertools.count(1)

    def server(self, store: str, *options: str, name: str = "server") -> ServerProcess:
        """Start a server, with more options of its command line if need be."""
        server = ServerProcess(self, name, store, options)
        server.start()
        return server

    def worker(
        self, address: str, *, concurrency: int = 4, queues: Sequence[str] = ("default",), is_awaited: bool = True
    ) -> Process:
        """Start a worker with the tasks of ``tests.faults.tasks``, and wait until it is connected."""
        command = ["-m", "tailrace.worker", "tests.faults.tasks:worker", "--address", address]
        command += ["--concurrency", str(concurrency)]
        for queue in queues:
            command += ["--queue", queue]
        worker = self.python("worker", *command)
        if is_awaited:
            worker.wait_for_line("server_connected")
        return worker

    def python(self, name: str, *arguments: str) -> Process:
        """Start Python with these arguments, in the checkout, untouched by the settings of whoever runs the tests."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TAILRACE_")}
        environment |= {"PYTHONUNBUFFERED": "1", DIRECTORY_VARIABLE: str(self.directory)}
        full_name = f"{name}-{next(self._numbers)}"
        process = Process(
            full_name,
            [sys.executable, *arguments],
            log=self.directory / f"{full_name}.log",
            environment=environment,
        )
        self._started.append(process)
        return process

    def close(self) -> None:
        """Kill whatever still runs. A second call does nothing."""
        for process in self._started:
            process.kill()

    def tails(self) -> Iterator[tuple[str, str]]:
        """Yield each process's name and the end of what it printed."""
        for process in self._started:
            yield process.name, process.tail()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
