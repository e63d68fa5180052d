"""Signals that are told instead of obeyed."""

import contextlib
import queue
import signal
import threading
from collections.abc import Callable, Generator

_LONGEST_DEAFNESS_S = 0.5
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


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
    previous = {number: signal.signal(number, lambda number, _: tell(number)) for number in _SIGNALS}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    try:
        yield restore
    finally:
        restore()
