"""Keys, read one by one and not shown, with the terminal put back afterwards."""

import contextlib
import os
import select
import signal
import sys
from collections.abc import Generator
from types import FrameType

if sys.platform != "win32":  # where the other commands work
    import termios
    import tty

HAS_TERMINALS = "termios" in sys.modules
"""Whether this system has terminals of the kind that is needed here."""

CTRL_Z = "\x1a"
_MAX_KEYS_BYTES = 64


class Keyboard:
    """Waits for keys, or to be woken."""

    def __init__(self) -> None:
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_reader, False)
        os.set_blocking(self._wake_writer, False)
        self._keys: int | None = None

    def close(self) -> None:
        """Let go of what ``wake`` needs; nobody may call it any more."""
        os.close(self._wake_reader)
        os.close(self._wake_writer)

    @contextlib.contextmanager
    def reading(self) -> Generator[None, None, None]:
        """Have keys at once and unseen until the block ends. In the main thread only.

        Meanwhile SIGTERM and SIGHUP raise SystemExit, so that all is put back in order; Ctrl-Z comes as a key.
        """
        with contextlib.ExitStack() as cleanup:
            for name, handler in (("SIGTERM", _leave), ("SIGHUP", _leave), ("SIGWINCH", self._wake_on_signal)):
                if (number := getattr(signal, name, None)) is not None:
                    cleanup.callback(signal.signal, number, signal.signal(number, handler))
            self._keys = cleanup.enter_context(_unbuffered_keys())
            yield

    def wake(self) -> None:
        """End the wait under way, or the next one. From any thread, and from signal handlers."""
        with contextlib.suppress(BlockingIOError):  # a pipe that is full wakes as well
            os.write(self._wake_writer, b"\0")

    def wait(self, timeout_s: float) -> str:
        """Return what was typed; an empty text when it was time, or somebody called ``wake``."""
        sources = [self._wake_reader] if self._keys is None else [self._wake_reader, self._keys]
        ready, _, _ = select.select(sources, [], [], timeout_s)
        if self._wake_reader in ready:
            os.read(self._wake_reader, _MAX_KEYS_BYTES)
        if self._keys is None or self._keys not in ready:
            return ""
        try:
            typed = os.read(self._keys, _MAX_KEYS_BYTES)
        except OSError:
            typed = b""
        if not typed:  # the terminal is gone
            self._keys = None
        return typed.decode(errors="replace")

    def _wake_on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.wake()


@contextlib.contextmanager
def _unbuffered_keys() -> Generator[int | None, None, None]:
    """Lend the terminal's descriptor; None where there is none to type on."""
    if not sys.stdin.isatty():
        yield None
        return
    descriptor = sys.stdin.fileno()
    saved = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        changed = termios.tcgetattr(descriptor)
        changed[6][termios.VSUSP] = b"\0"  # read as a key: the screen has to be left before the process stops
        termios.tcsetattr(descriptor, termios.TCSANOW, changed)
        yield descriptor
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, saved)


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
