"""Gathering: the values of many tasks, in order."""

from collections.abc import Iterable
from typing import Any, Generic

from tailrace.client._completion import Completion, ResultT
from tailrace.client._waiting import Finished, News


class Gathering(Generic[ResultT]):
    """Collects what tasks came to as their ends arrive; raises the first failure, or keeps it in its place."""

    def __init__(self, results: Iterable[ResultT], *, return_exceptions: bool) -> None:
        self._results = list(results)
        self._completion = Completion(self._results)
        self._return_exceptions = return_exceptions
        self._values: dict[int, Any] = {}
        """By handle: two of one task may read its value as different types."""

    def begin(self) -> list[str]:
        """Settle what is known already, and return the ids to be waited for."""
        for result in self._completion.known:
            self._settle(result, Finished(task_id=result.id, outcome=result._final))  # noqa: SLF001
        return self._completion.awaited_ids

    def take(self, news: News) -> None:
        """Settle a task that is done or unknown."""
        for result in self._completion.finish(news):
            assert isinstance(news, Finished)
            self._settle(result, news)

    def values(self) -> list[Any]:
        """Return the values, in the order of the results."""
        return [self._values[id(result)] for result in self._results]

    def _settle(self, result: ResultT, finished: Finished) -> None:
        try:
            self._values[id(result)] = finished.known().unwrap(result._conversion)  # noqa: SLF001
        except Exception as error:
            if not self._return_exceptions:
                raise
            self._values[id(result)] = error
