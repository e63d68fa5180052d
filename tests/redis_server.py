"""A Redis server of the tests' own: on a free port, in its own directory, ended whatever happens."""

import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

START_DEADLINE_S = 20.0
STOP_DEADLINE_S = 10.0
START_ATTEMPTS = 5


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RedisServer:
    """One server process after the other, on the same port and the same data."""

    def __init__(self, directory: Path, options: dict[str, str], *, pick_port: Callable[[], int] = free_port) -> None:
        self._directory = directory
        self._options = options
        self._pick_port = pick_port
        self._process: subprocess.Popen[str] | None = None
        self._log: deque[str] = deque(maxlen=100)
        self.port = 0

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    @property
    def is_running(self) -> bool:
        return self._process is not None

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server is not running"
        return self._process.pid

    def start(self) -> None:
        """Start the server; returns when it answers, its data loaded."""
        assert self._process is None, "the server runs already"
        if self.port:
            self._start()
            return
        for attempt in range(START_ATTEMPTS):
            self.port = self._pick_port()
            try:
                self._start()
            except RuntimeError:
                # Another program may have taken the port just now.
                if attempt == START_ATTEMPTS - 1:
                    raise
            else:
                return

    def kill(self) -> None:
        """End the server as a crash does: kill -9."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End the server in good order. A second call does nothing."""
        self._end(signal.SIGTERM)

    def command(self, *words: str) -> str:
        """Run one command and return the first line of the answer, as it came."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=START_DEADLINE_S) as connection:
            parts = "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in words)
            connection.sendall(f"*{len(words)}\r\n{parts}".encode())
            return connection.makefile("rb").readline().decode().rstrip()

    def text(self, *words: str) -> str:
        """Run one command that is answered with a text, and return it; empty where there is none."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=START_DEADLINE_S) as connection:
            parts = "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in words)
            connection.sendall(f"*{len(words)}\r\n{parts}".encode())
            with connection.makefile("rb") as answer:
                head = answer.readline().decode().rstrip()
                assert head.startswith("$"), f"{words} was answered with {head}"
                return answer.read(max(0, int(head[1:]))).decode()

    def _start(self) -> None:
        settings = {"port": str(self.port), "bind": "127.0.0.1", "dir": str(self._directory), "save": ""}
        arguments = [word for name, value in (settings | self._options).items() for word in (f"--{name}", value)]
        process = subprocess.Popen(
            ["redis-server", *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )
        is_ready = threading.Event()
        reader = threading.Thread(target=self._read_log, args=(process, is_ready), daemon=True)
        reader.start()
        self._process = process
        is_ready.wait(START_DEADLINE_S)
        if process.poll() is not None or self.command("PING") != "+PONG":
            self.kill()
            raise RuntimeError("redis-server did not start:\n" + "".join(self._log))

    def _read_log(self, process: subprocess.Popen[str], is_ready: threading.Event) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                self._log.append(line)
                if "Ready to accept connections" in line:
                    is_ready.set()
        # The log has ended, so the process is ending: whoever waits for it to be ready has to know that too.
        process.wait()
        is_ready.set()

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def redis_server(**options: str) -> Iterator[RedisServer]:
    """Run a server; ``options`` are those of redis.conf, with ``_`` for ``-``: ``appendonly="yes"``."""
    directory = Path(tempfile.mkdtemp(prefix="redis-"))
    server = RedisServer(directory, {name.replace("_", "-"): value for name, value in options.items()})
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)
