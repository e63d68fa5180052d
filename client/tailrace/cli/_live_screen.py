"""A screen that is drawn anew with every look, until somebody has seen enough."""

import os
import signal
import threading
from dataclasses import replace
from datetime import datetime
from itertools import islice

from rich.console import Console
from rich.live import Live

from tailrace.cli._exit_code import ExitCode
from tailrace.cli._keyboard import CTRL_Z, Keyboard
from tailrace.cli._looks import Look, Trouble, looks
from tailrace.cli._operator import Operator
from tailrace.cli._top_screen import View, screen

_REDRAW_S = 1.0
"""So often the time moves on, whatever the interval."""

_JOIN_S = 10.0


class LiveScreen:
    """One thread looks; the main one draws, and reads keys: a server that does not answer keeps nobody from leaving."""

    def __init__(self, operator: Operator, interval_s: float, count: int | None) -> None:
        """Prepare a screen.

        Args:
            operator: Closed when the screen is left.
            interval_s: From look to look.
            count: After how many looks it ends by itself; None: never.
        """
        self._operator = operator
        self._interval_s = interval_s
        self._count = count
        now = _local_time()
        self._view = View(address=operator.address, interval_s=interval_s, began=now, now=now)
        self._leaving = threading.Event()
        self._error: BaseException | None = None
        self._keyboard = Keyboard()
        self._thread = threading.Thread(target=self._look, name="tailrace-top", daemon=True)

    def show(self) -> int:
        """Show it until ``q``, Ctrl-C or the last look.

        Returns:
            The exit code: NO_ANSWER where the last look was in vain, else OK.

        Raises:
            TailraceError: The server will not tell.
        """
        self._thread.start()
        try:
            while self._draw() == CTRL_Z:
                os.kill(os.getpid(), signal.SIGSTOP)
                # Goes on here when the shell says so.
        except KeyboardInterrupt:
            pass
        finally:
            self._leave()
        if self._error is not None:
            raise self._error
        return ExitCode.OK if self._view.trouble is None else ExitCode.NO_ANSWER

    def _draw(self) -> str:
        """Draw until there is a reason not to; return the key that was one."""
        console = Console(highlight=False)
        with self._keyboard.reading(), Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                view = replace(self._view, now=_local_time())
                live.update(screen(view, console.width, console.height), refresh=True)
                if self._leaving.is_set():
                    return ""
                typed = self._keyboard.wait(_REDRAW_S)
                if "q" in typed.lower():
                    return "q"
                if CTRL_Z in typed:
                    return CTRL_Z

    def _look(self) -> None:
        try:
            for seen in islice(looks(self._operator, self._interval_s, self._leaving.wait), self._count):
                if self._leaving.is_set():
                    return
                self._view = _with(self._view, seen)
                self._keyboard.wake()
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that started this one
            # Whoever leaves closes the connection that is asked.
            self._error = None if self._leaving.is_set() else error
        finally:
            self._leaving.set()
            self._keyboard.wake()

    def _leave(self) -> None:
        self._leaving.set()
        self._operator.close()
        self._thread.join(_JOIN_S)
        if not self._thread.is_alive():
            self._keyboard.close()


def _with(view: View, seen: Look | Trouble) -> View:
    if isinstance(seen, Look):
        return replace(view, look=seen, trouble=None)
    return replace(view, trouble=seen)


def _local_time() -> datetime:
    return datetime.now().astimezone()
