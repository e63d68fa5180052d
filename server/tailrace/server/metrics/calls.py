"""Counts calls: those that come in over gRPC, and those that go out to the store."""

import asyncio
import inspect
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence, Sized
from typing import Any, Final, cast

from tailrace.server.domain.errors import StoreFullError, StoreUnavailableError
from tailrace.server.metrics.histogram import CALL_BOUNDS, ITEM_BOUNDS, Histograms
from tailrace.server.store.base import Store
from tailrace.server.store.values import Leased

OPERATIONS: Final = frozenset(
    name for name, _ in inspect.getmembers(Store, inspect.iscoroutinefunction) if name not in {"open", "close"}
)
"""What may be asked of a store."""


class Calls:
    """Calls that come in; see CallObserver."""

    def __init__(self) -> None:
        self.open: Counter[str] = Counter()
        """By method."""
        self.ended: Counter[tuple[str, str]] = Counter()
        """By method and status."""
        self.duration_s: Histograms[str] = Histograms(CALL_BOUNDS)
        """Of unary calls, by method."""

    def begin(self, method: str) -> None:
        """Count a call as open."""
        self.open[method] += 1

    def end(self, method: str, code: str, duration_s: float, *, is_stream: bool) -> None:
        """Count the end of a call. How long a stream lives tells nothing, so that is left out."""
        self.open[method] -= 1
        self.ended[method, code] += 1
        if not is_stream:
            self.duration_s.add(method, duration_s)


class StoreCalls:
    """Calls that go out, by the store's operation."""

    def __init__(self) -> None:
        self.duration_s: Histograms[str] = Histograms(CALL_BOUNDS)
        self.items: Histograms[str] = Histograms(ITEM_BOUNDS)
        self.errors: Counter[tuple[str, str]] = Counter()
        """By operation and error: unavailable, full, cancelled (its deadline passed, or its caller left), internal."""

    def timed(self, operation: str, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """Wrap one operation of a store."""

        async def timed_call(*arguments: Any, **keywords: Any) -> Any:
            began_at = time.perf_counter()
            try:
                answer = await call(*arguments, **keywords)
            except BaseException as error:
                self.errors[operation, _name_of(error)] += 1
                raise
            finally:
                self.duration_s.add(operation, time.perf_counter() - began_at)
            self._count_items(operation, arguments, answer)
            return answer

        return timed_call

    def _count_items(self, operation: str, arguments: Sequence[object], answer: object) -> None:
        if isinstance(answer, Leased):
            self.items.add(operation, len(answer.deliveries))
        elif len(arguments) > 1 and isinstance(batch := arguments[1], Sized) and not isinstance(batch, str):
            self.items.add(operation, len(batch))


class _MeasuredStore:
    """Passes everything on to a store, and measures what may be asked of it."""

    def __init__(self, store: Store, calls: StoreCalls) -> None:
        self._store = store
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._store, name)
        return self._calls.timed(name, member) if name in OPERATIONS else member


def measured(store: Store, calls: StoreCalls) -> Store:
    """Have every operation of a store measured that is called through what this returns."""
    return cast("Store", _MeasuredStore(store, calls))


def _name_of(error: BaseException) -> str:
    if isinstance(error, StoreFullError):
        return "full"
    if isinstance(error, StoreUnavailableError):
        return "unavailable"
    return "cancelled" if isinstance(error, asyncio.CancelledError) else "internal"
