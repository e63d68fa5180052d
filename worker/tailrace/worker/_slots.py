"""How many tasks may run at a time, where, and how many more to ask the server for. No I/O, not thread-safe.

Routing is by queue: the server does not know which executor a task needs, so whatever is asked for may be for the
executor that is full. What cannot run yet is held until it can; how much of that there may be is bounded by what is
asked for.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping

from tailrace.worker._leases import LeaseKey

MAX_CREDIT = 10_000
"""What the contract allows."""

MAX_WAITING = 10
"""Tasks that may wait for a full executor before nothing more is asked for. Fewer would leave the other executors idle
sooner when their tasks stand behind; more would keep tasks from other workers for longer."""

_ANY = ""


class Slots:
    """Slots of all executors together, and of each of them.

    At most MAX_WAITING tasks wait for an executor, or as many as it can run, if these are more. So the credit is what
    is held, and as many more as there are free slots, but no more than the executor with the least room could take if
    all of them were for it. With a single executor, or none that is more narrow than the whole, that is the number of
    slots and nothing else.
    """

    def __init__(
        self,
        concurrency: int,
        limits: Mapping[str, int] | None = None,
        executor_of: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        """Begin with all slots free.

        Args:
            concurrency: Tasks at a time, in all.
            limits: Tasks at a time for each executor that has any; None: only the whole is limited.
            executor_of: Tells a task type's executor; None where it does not matter.
        """
        limits = limits or {_ANY: concurrency}
        self._concurrency = concurrency = min(concurrency, sum(limits.values()))
        self._limits = {name: min(limit, concurrency) for name, limit in limits.items()}
        self._executor_of = executor_of
        self._waiting: dict[str, dict[LeaseKey, int]] = {name: {} for name in (*self._limits, _ANY)}
        self._running: dict[str, int] = dict.fromkeys((*self._limits, _ANY), 0)
        self._executing: dict[LeaseKey, str] = {}
        self._abandoned: set[LeaseKey] = set()
        self._numbers = itertools.count()

    def hold(self, key: LeaseKey, task_type: str) -> None:
        """Have a lease wait for a slot."""
        name = self._executor_of(task_type)
        self._waiting[name if name in self._limits else _ANY][key] = next(self._numbers)

    def drop(self, key: LeaseKey) -> None:
        """Have a lease wait no longer; one that does not is no fault."""
        for waiting in self._waiting.values():
            waiting.pop(key, None)

    def drop_waiting(self) -> None:
        """Have none wait."""
        for waiting in self._waiting.values():
            waiting.clear()

    def fill(self) -> Iterator[LeaseKey]:
        """Give free slots to those that wait, in the order in which they came. Yields who has one now."""
        while len(self._executing) < self._concurrency:
            heads = [
                (next(iter(waiting.values())), name)
                for name, waiting in self._waiting.items()
                if waiting and self._free(name) > 0
            ]
            if not heads:
                return
            _, name = min(heads)
            key = next(iter(self._waiting[name]))
            del self._waiting[name][key]
            self._executing[key] = name
            self._running[name] += 1
            yield key

    def abandon(self, key: LeaseKey) -> None:
        """Note that a slot stays taken by something that is no longer held."""
        if key in self._executing:
            self._abandoned.add(key)

    def free(self, key: LeaseKey) -> None:
        """Take a slot back. Again: no effect."""
        name = self._executing.pop(key, None)
        if name is not None:
            self._running[name] -= 1
        self._abandoned.discard(key)

    def credit(self) -> int:
        """Count what the server may have assigned and not seen the end of."""
        # Only what waits for a narrow executor leaves slots free that others could have.
        waiting = sum(len(self._waiting[name]) for name in self._limits if self._limits[name] < self._concurrency)
        held = len(self._executing) - len(self._abandoned) + waiting
        free = min(self._concurrency - len(self._executing), sum(max(0, self._free(name)) for name in self._limits))
        room = min(self._room(name) for name in self._limits)
        return min(held + max(0, min(free, room)), MAX_CREDIT)

    def _free(self, name: str) -> int:
        return self._limits.get(name, self._concurrency) - self._running[name]

    def _room(self, name: str) -> int:
        """Count what may still come for an executor, should all that comes be for it."""
        most = self._limits[name] + max(self._limits[name], MAX_WAITING)
        return most - self._running[name] - len(self._waiting[name])
