"""What a program wants done before its worker's first task and after the last."""

import inspect
import logging
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

Hook: TypeAlias = Callable[[], object]
"""A function without arguments, or a coroutine function."""

Settle: TypeAlias = Callable[[Awaitable[object]], BaseException | None]
"""Awaits something where the worker's coroutines run; returns what it raised."""

_NOTE = "raised by the"

logger = logging.getLogger("tailrace.worker")


class HookRun:
    """One run of some hooks, in order, in a thread of its own: a hook that hangs must not keep the worker from ending.

    Whoever waits may be told to wait no longer; a hook that is left behind runs on in its daemon thread.
    """

    def __init__(self, name: str, hooks: Sequence[Hook], settle: Settle, *, stops_at_error: bool) -> None:
        self.error: BaseException | None = None
        """What the first hook raised that failed while somebody waited for it."""
        self._name = name
        self._hooks = tuple(hooks)
        self._settle = settle
        self._stops_at_error = stops_at_error
        self._begun = False
        self._ended = False
        self._over = threading.Event()

    def run(self, timeout_s: float | None) -> bool:
        """Run the hooks, and wait for their end; None: as long as it takes. Once.

        Returns:
            Whether every hook came to its end, and none failed.
        """
        if not self._hooks:
            return True
        self._begun = True
        threading.Thread(target=self._run, name="tailrace-worker-hooks", daemon=True).start()
        self._over.wait(timeout_s)
        self._over.set()
        ended = self._ended
        if not ended:
            logger.error("hook_left_behind: an %s hook did not come to its end", self._name)
        return ended and self.error is None

    def give_up(self) -> None:
        """Wait no longer. Again, before the beginning or after the end: no effect."""
        if self._begun:
            self._over.set()

    def _run(self) -> None:
        for hook in self._hooks:
            error = self._call(hook)
            if self._over.is_set():  # left behind: what it comes to, cancelled as it may be, is nobody's business
                return
            if error is None:
                continue
            tell_of_failure(self._name, hook, error)
            error.add_note(f"{_NOTE} {self._name} hook {_name_of(hook)}")
            self.error = self.error or error
            if self._stops_at_error:
                break
        self._ended = True
        self._over.set()

    def _call(self, hook: Hook) -> BaseException | None:
        try:
            value = hook()
            return self._settle(value) if inspect.isawaitable(value) else None
        except BaseException as error:  # noqa: BLE001 (it is handed on to whoever runs the worker)
            return error


def hook_behind(error: BaseException) -> str | None:
    """Tell which hook an error came from, as "on_start hook open_database"; None: from none."""
    notes = getattr(error, "__notes__", [])
    return next((note.removeprefix(_NOTE).strip() for note in notes if note.startswith(_NOTE)), None)


def tell_of_failure(name: str, hook: Hook, error: BaseException) -> str:
    """Log that a hook failed. Returns the same in one line."""
    logger.error("hook_failed: %s hook %s", name, _name_of(hook), exc_info=error)
    return f"{name} hook {_name_of(hook)} failed: {type(error).__name__}: {error}"


def _name_of(hook: Hook) -> str:
    return getattr(hook, "__qualname__", None) or repr(hook)
