"""Signals that are told instead of obeyed."""

import contextlib
import functools
import os
import queue
import signal
import threading
from collections.abc import Callable, Collection, Generator
from types import FrameType
from typing import Any, TypeAlias

_LONGEST_DEAFNESS_S = 0.5
_SIGNALS = (signal.SIGTERM, signal.SIGINT)

Handler: TypeAlias = Callable[[int, FrameType | None], object]

_taken: dict[int, tuple[Handler, Any]] = {}
"""For each signal that is not obeyed, who hears it instead, and what was there before."""


def next_of(happenings: "queue.SimpleQueue[int | None]") -> int | None:
    """Wait for a signal, or for None: the end.

    Python runs a signal's handler only between two of its own steps. One that comes after the last step before the wait
    does not end it; so no wait is long.
    """
    while True:
        try:
            return happenings.get(timeout=_LONGEST_DEAFNESS_S)
        except queue.Empty:
            continue


@contextlib.contextmanager
def signals_to(tell: Callable[[int], None]) -> Generator[Callable[[], None], None, None]:
    """Have signals told instead of obeyed, where this is the main thread. Yields what restores them early."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    take_signals(_SIGNALS, lambda number, _: tell(number))
    previous = {number: before for number, (_, before) in _taken.items()}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
            _taken.pop(number, None)

    try:
        yield restore
    finally:
        restore()


def take_signals(numbers: Collection[int], handler: Handler) -> None:
    """Have these signals heard by a handler, but not in processes that this one forks. In the main thread."""
    _leave_signals_to_forks()
    for number in numbers:
        _taken[number] = handler, signal.signal(number, handler)


@functools.cache  # hooks cannot be taken back
def _leave_signals_to_forks() -> None:
    """Have processes that tasks fork obey signals, whatever handlers this one has.

    multiprocessing ends its processes by SIGTERM, and waits for them without end. A signal that comes before the new
    process is ready for it is kept until then.
    """
    masks = threading.local()

    def hold() -> None:
        masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, list(_taken))

    def release() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, masks.before)

    def obey() -> None:
        for number, (handler, before) in _taken.items():
            if signal.getsignal(number) is handler:  # and not one of the task's own
                signal.signal(number, signal.SIG_DFL if before is None else before)
        _taken.clear()
        release()

    os.register_at_fork(before=hold, after_in_parent=release, after_in_child=obey)
