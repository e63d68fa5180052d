"""A terminal with a command on it, as somebody in front of it has it."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

WITHIN_S = 60.0

ENTER_SCREEN, LEAVE_SCREEN = "\x1b[?1049h", "\x1b[?1049l"
SHOW_CURSOR = "\x1b[?25h"

_HOME = "\x1b[H"
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """Runs one command on a terminal of its own, in whose foreground it is."""

    def __init__(
        self, command: Sequence[str], environ: Mapping[str, str], *, width: int = 80, height: int = 24
    ) -> None:
        self._controller, self._terminal = pty.openpty()
        self.resize(width, height)
        self._modes = termios.tcgetattr(self._terminal)
        self._shown = b""
        own_size = {"COLUMNS", "LINES"}
        # Where the tests run in the background they ignore Ctrl-C, and so would the command.
        interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
        self.process = subprocess.Popen(
            command,
            stdin=self._terminal,
            stdout=self._terminal,
            stderr=self._terminal,
            env={**{name: value for name, value in environ.items() if name not in own_size}, "TERM": "xterm-256color"},
            start_new_session=True,
        )
        signal.signal(signal.SIGINT, interrupt)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(WITHIN_S)
        os.close(self._terminal)
        os.close(self._controller)

    @property
    def shown(self) -> str:
        """All that was written so far, control sequences included."""
        while select.select([self._controller], [], [], 0)[0]:
            self._shown += os.read(self._controller, 65536)
        return self._shown.decode(errors="replace")

    @property
    def screen(self) -> str:
        """What a program that draws whole screens drew last."""
        drawn = self.shown.partition(LEAVE_SCREEN)[0].rpartition(_HOME)[2]
        return _ESCAPES.sub("", drawn)

    @property
    def is_as_before(self) -> bool:
        """Whether keys are read as they were before the command."""
        return termios.tcgetattr(self._terminal) == self._modes

    def type(self, keys: str) -> None:
        os.write(self._controller, keys.encode())

    def interrupt(self) -> None:
        """Do what Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)

    def resize(self, width: int, height: int) -> None:
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def wait(self) -> int:
        """Wait for the command to end, reading on meanwhile: it must not be kept from writing."""
        deadline = time.monotonic() + WITHIN_S
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"the command did not end; its screen is {self.screen!r}"
            if select.select([self._controller], [], [], 0.02)[0]:
                self._shown += os.read(self._controller, 65536)
        return self.process.returncode
