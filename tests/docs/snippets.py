"""Finds the code in the docs and runs it as a reader would: page by page, top to bottom, in an empty directory."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent.parent
BLOCK_WITHIN_S = 60.0
STOP_WITHIN_S = 15.0
PRINTED_ADDRESS = "localhost:7440"
PRINTED_METRICS_ADDRESS = "localhost:7441"
PRINTED_REDIS = "redis://localhost:6379"
NOT_RUN = ("make ", "docker ", "pip ")
"""``make``: this very test is run by it, and ``make check`` knows its targets. The others need a network."""

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE_NAME = re.compile(r"# ([\w/]+\.py)\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Snippet:
    """One fenced block."""

    language: str
    text: str

    @property
    def file_name(self) -> str | None:
        """The file that the block is to be saved as; None for one that is run at once."""
        named = _FILE_NAME.match(self.text)
        return named[1] if named else None


def pages() -> list[Path]:
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def snippets_of(page: Path) -> list[Snippet]:
    """List what a page tells its reader to run or to save."""
    blocks = _BLOCK.findall(page.read_text(encoding="utf-8"))
    return [Snippet(language=language, text=text) for language, text in blocks if language in {"python", "sh"}]


class Reader:
    """Somebody who follows a page to the letter, but for the ports."""

    def __init__(self, directory: Path, redis_url: str = PRINTED_REDIS) -> None:
        self._directory = directory
        self._redis_url = redis_url
        self._address = f"127.0.0.1:{_free_port()}"
        self._metrics_address = f"127.0.0.1:{_free_port()}"
        self._groups: set[int] = set()
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("TAILRACE_")},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "TAILRACE_ADDRESS": self._address,
            "TAILRACE_LISTEN": self._address,
            "TAILRACE_STORE": f"sqlite:///{directory}/docs.db",
        }

    def follow(self, snippet: Snippet) -> None:
        """Save or run one block.

        Raises:
            AssertionError: It ended with an error; the text holds what it printed.
        """
        text = snippet.text.replace(PRINTED_ADDRESS, self._address).replace(PRINTED_REDIS, self._redis_url)
        text = text.replace(PRINTED_METRICS_ADDRESS, self._metrics_address)
        if snippet.file_name:
            (self._directory / snippet.file_name).write_text(text, encoding="utf-8")
        elif snippet.language == "python":
            self._run([sys.executable, "-c", text])
        else:
            lines = [line for line in text.splitlines() if not line.startswith(NOT_RUN)]
            self._run(["bash", "-euo", "pipefail", "-c", "\n".join(lines)])

    def leave(self) -> None:
        """End what was started in the background."""
        left = [process for process in psutil.process_iter() if _group_of(process.pid) in self._groups]
        for process in left:
            _tell(process, signal.SIGTERM)
        for process in psutil.wait_procs(left, timeout=STOP_WITHIN_S)[1]:
            _tell(process, signal.SIGKILL)

    def _run(self, command: list[str]) -> None:
        # Not a pipe: what a block leaves in the background would hold it open, and goes on writing.
        output = self._directory / "output.txt"
        with output.open("ab") as sink:
            process = subprocess.Popen(
                command,
                cwd=self._directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )
            self._groups.add(process.pid)
            exit_code = process.wait(BLOCK_WITHIN_S)
        assert exit_code == 0, f"{command}\nended with {exit_code}:\n{output.read_text(encoding='utf-8')}"


def _group_of(process_id: int) -> int | None:
    try:
        return os.getpgid(process_id)
    except ProcessLookupError:
        return None


def _tell(process: psutil.Process, number: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
