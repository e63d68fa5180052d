"""Following several tasks to their ends, with what they say on the way."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Self

from tailrace.cli._address import settings_for
from tailrace.cli._options import show_warnings
from tailrace.client import AsyncResult
from tailrace.client._completion import Completion
from tailrace.client._conversion import Conversion
from tailrace.client._sync_calls import SyncCalls
from tailrace.client._waiting import Advanced


class Following:
    """One connection, and the tasks that are followed over it."""

    def __init__(self, address: str | None, task_ids: Sequence[str]) -> None:
        show_warnings()
        self._calls = SyncCalls(settings_for(address))
        conversion = Conversion()
        self._results = [AsyncResult(task_id, self._calls, conversion) for task_id in task_ids]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._calls.close()

    def news(self, timeout: timedelta | None, *, with_progress: bool) -> Iterator[AsyncResult | Advanced]:
        """Yield the result of each task that is done or unknown, and how far others have come if that is wanted.

        Raises:
            WaitTimeoutError: Some were not done in time.
        """
        completion = Completion(self._results)
        timeout_s = None if timeout is None else timeout.total_seconds()
        for each in self._calls.follow(completion.awaited_ids, timeout_s, with_progress=with_progress):
            if isinstance(each, Advanced):
                yield each
            else:
                yield from completion.finish(each)
