"""Completion: which results of a gathering are still to come."""

from collections.abc import Iterable
from typing import Final, Generic, Protocol, TypeVar

from tailrace.client._conversion import Conversion
from tailrace.client._outcome import Outcome
from tailrace.client._waiting import Advanced, News


class _Gatherable(Protocol):
    # What both result classes have in common.
    _final: Outcome | None
    _conversion: Conversion

    @property
    def id(self) -> str: ...

    def _remember(self, outcome: Outcome) -> object: ...


LOOK_AHEAD: Final = 1000
"""How many tasks of an iterator are submitted, or waited for, ahead of what was asked for."""

ResultT = TypeVar("ResultT", bound=_Gatherable)


class Completion(Generic[ResultT]):
    """Sorts results into those whose end is known and those to be waited for, and back as their ends arrive.

    A result given twice comes back twice. An unknown task counts as finished, and raises when its result is asked for.
    """

    def __init__(self, results: Iterable[ResultT]) -> None:
        self.known: list[ResultT] = []
        self._awaited: dict[str, list[ResultT]] = {}
        for result in results:
            if not self.add(result):
                self.known.append(result)

    def add(self, result: ResultT) -> bool:
        """Take one more; False where its end is known, so that it is not to be waited for."""
        if result._final is not None:  # noqa: SLF001
            return False
        self._awaited.setdefault(result.id, []).append(result)
        return True

    @property
    def awaited_ids(self) -> list[str]:
        """The ids to be waited for."""
        return list(self._awaited)

    @property
    def awaited_count(self) -> int:
        """How many tasks are waited for."""
        return len(self._awaited)

    def finish(self, news: News) -> list[ResultT]:
        """Return the results of a task that is done or unknown; none for one that goes on."""
        if isinstance(news, Advanced):
            return []
        results = self._awaited.pop(news.task_id, [])
        if news.outcome is not None:
            for result in results:
                result._remember(news.outcome)  # noqa: SLF001
        return results
