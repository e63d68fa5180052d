"""fan_in: several blocking iterators as one, in the order in which they bring something.

Only the synchronous client needs it, and only for waits of more tasks than one stream takes: a thread can block on one
stream at a time.
"""

import threading
from collections.abc import Generator, Iterator, Sequence
from queue import Empty, Queue
from typing import Final, Protocol, TypeVar

ItemT = TypeVar("ItemT")

# What has been read and not yet asked for; beyond it the streams wait, and the server merges what happens meanwhile.
_MAX_WAITING: Final = 256

_DRAIN_POLL_S: Final = 0.05


class _Cancellable(Protocol):
    def cancel(self) -> object: ...


class Stop:
    """Ends, from one thread, what others are blocked on."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._calls: set[_Cancellable] = set()

    def is_set(self) -> bool:
        return self._event.is_set()

    def set(self) -> None:
        """Cancel the calls under way, and those that are still to come."""
        self._event.set()
        with self._lock:
            calls = list(self._calls)
        for call in calls:
            call.cancel()

    def pause(self, seconds: float) -> None:
        """Sleep, unless and until it is time to stop."""
        self._event.wait(seconds)

    def attach(self, call: _Cancellable) -> None:
        """Cancel this call too, when the time comes."""
        with self._lock:
            self._calls.add(call)
        if self.is_set():
            call.cancel()

    def detach(self, call: _Cancellable) -> None:
        """Forget a call that has ended."""
        with self._lock:
            self._calls.discard(call)


class _Raised:
    def __init__(self, error: BaseException) -> None:
        self.error = error


class _End:
    pass


def fan_in(sources: Sequence[Iterator[ItemT]], stop: Stop) -> Generator[ItemT, None, None]:
    """Yield what the sources yield; raise what the first of them raises.

    Each source is iterated in a thread of its own. When the caller has had enough, ``stop`` is set and the threads are
    waited for, so it must end whatever the sources block on.
    """
    queue: Queue[ItemT | _Raised | _End] = Queue(_MAX_WAITING)
    threads = [
        threading.Thread(target=_pump, args=(source, queue), name="tailrace-wait", daemon=True) for source in sources
    ]
    for thread in threads:
        thread.start()
    try:
        yield from _merged(queue, len(threads))
    finally:
        stop.set()
        _let_end(threads, queue)


def _pump(source: Iterator[ItemT], queue: "Queue[ItemT | _Raised | _End]") -> None:
    try:
        for item in source:
            queue.put(item)
    except BaseException as error:  # noqa: BLE001 (raised again where the items are read)
        queue.put(_Raised(error))
    finally:
        queue.put(_End())


def _merged(queue: "Queue[ItemT | _Raised | _End]", running: int) -> Iterator[ItemT]:
    while running:
        message = queue.get()
        if isinstance(message, _End):
            running -= 1
        elif isinstance(message, _Raised):
            raise message.error
        else:
            yield message


def _let_end(threads: Sequence[threading.Thread], queue: "Queue[ItemT | _Raised | _End]") -> None:
    for thread in threads:
        while thread.is_alive():
            try:
                # Makes room for a thread that is blocked on the full queue.
                queue.get(timeout=_DRAIN_POLL_S)
            except Empty:
                thread.join(_DRAIN_POLL_S)
