"""Label values that callers choose, kept from growing without bound."""

from typing import Final

MAX_NAMES: Final = 200
"""Queues, and likewise task_types, that are told apart."""
MAX_PAIRS: Final = 1_000
"""Of queues and task_types together."""
OTHER: Final = "_other"
"""Stands for all the rest; no queue and no task_type can be called so."""

Pair = tuple[str, str]
"""A queue and a task_type."""


class Names:
    """The first names that come are kept, for as long as the process lives; all later ones are one."""

    def __init__(self, max_names: int = MAX_NAMES, max_pairs: int = MAX_PAIRS) -> None:
        self._max_names = max_names
        self._max_pairs = max_pairs
        self._queues: set[str] = set()
        self._task_types: set[str] = set()
        self._pairs: set[Pair] = set()

    def queue(self, name: str) -> str:
        """Give the label for a queue."""
        return self._admit(name, self._queues)

    def task_type(self, name: str) -> str:
        """Give the label for a task_type."""
        return self._admit(name, self._task_types)

    def pair(self, queue: str, task_type: str) -> Pair:
        """Give the labels for both; where it is the pairs that are too many, the task_type is the one lost."""
        pair = queue, task_type
        if pair in self._pairs:
            return pair
        pair = self.queue(queue), self.task_type(task_type)
        if pair not in self._pairs:
            if len(self._pairs) >= self._max_pairs:
                return pair[0], OTHER
            self._pairs.add(pair)
        return pair

    def _admit(self, name: str, known: set[str]) -> str:
        if name in known:
            return name
        if not name or len(known) >= self._max_names:
            return OTHER
        known.add(name)
        return name
