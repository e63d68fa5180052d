"""One page of a walk through all tasks: partition after partition, in steps, within bounds of count, bytes and work."""

from collections.abc import Callable
from dataclasses import dataclass

from tailrace.server.coordinator.in_time import in_time
from tailrace.server.domain import limits
from tailrace.server.domain.detail import TaskDetail
from tailrace.server.domain.errors import PageTokenInvalidError
from tailrace.server.store.operators import Listed, OperatorStore

STEP = 200
"""Records that one store call looks through."""
FRAME_BYTES = 1 << 10
"""Allowed for what a record takes on the wire beside its payloads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPage:
    """Some tasks, and where to go on."""

    details: tuple[TaskDetail, ...]
    next_place: str
    """Empty at the end, and only there."""


class TaskPager:
    """Fills one page.

    A page ends where it is full, or where enough was looked at: it may be short, or empty, before the end. A place is
    ``PARTITION CURSOR``, the cursor being the store's.
    """

    def __init__(
        self, store: OperatorStore, partitions: int, *, passes: Callable[[TaskDetail], bool] | None, with_payloads: bool
    ) -> None:
        self._store = store
        self._partitions = partitions
        self._is_filtered = passes is not None
        self._passes: Callable[[TaskDetail], bool] = passes or (lambda _: True)
        self._with_payloads = with_payloads
        self._page: list[TaskDetail] = []
        self._page_bytes = 0
        self._looked_at = 0

    async def page(self, place: str, page_size: int) -> TaskPage:
        """Fill the page from a place on; ``""`` is the beginning.

        Raises:
            PageTokenInvalidError: The place is none.
        """
        partition, cursor = self._read_place(place)
        while partition < self._partitions and self._has_room(page_size):
            listed = await self._step(partition, cursor, page_size)
            if listed is None:
                break
            cursor = listed.cursor
            if not cursor:
                partition += 1
        is_end = partition >= self._partitions
        return TaskPage(details=tuple(self._page), next_place="" if is_end else f"{partition} {cursor}")

    def _has_room(self, page_size: int) -> bool:
        return len(self._page) < page_size and self._looked_at < limits.MAX_LOOKED_AT

    async def _step(self, partition: int, cursor: str, page_size: int) -> Listed | None:
        """Take in the next records; None when not one of them fits.

        Where only some fit, the step is made again with so many: the store alone can say where to go on after them,
        and what stayed where it was must not be passed over.
        """
        limit = min(STEP, limits.MAX_LOOKED_AT - self._looked_at)
        if not self._is_filtered:
            limit = min(limit, page_size - len(self._page))
        while limit > 0:
            listed = await self._list(partition, cursor, limit)
            count = self._count_fitting(listed, page_size)
            if count == len(listed.details):
                self._take(listed, limit)
                return listed
            limit = count
        return None

    async def _list(self, partition: int, cursor: str, limit: int) -> Listed:
        try:
            return await in_time(self._store.list_tasks(partition, cursor, limit, with_payloads=self._with_payloads))
        except ValueError:
            if not cursor:
                raise
            raise PageTokenInvalidError from None

    def _count_fitting(self, listed: Listed, page_size: int) -> int:
        """Count the records, from the first on, up to the first that passes and finds no room; one always does."""
        count, size_bytes = len(self._page), self._page_bytes
        for index, detail in enumerate(listed.details):
            if not self._passes(detail):
                continue
            count += 1
            size_bytes += _wire_bytes(detail)
            if count > page_size or (count > 1 and size_bytes > limits.FILL_MESSAGE_BYTES):
                return index
        return len(listed.details)

    def _take(self, listed: Listed, limit: int) -> None:
        # A step that goes on has looked at as many as it was allowed, though some of them may be over and not told.
        self._looked_at += limit if listed.cursor else max(1, len(listed.details))
        for detail in listed.details:
            if self._passes(detail):
                self._page.append(detail)
                self._page_bytes += _wire_bytes(detail)

    def _read_place(self, place: str) -> tuple[int, str]:
        if not place:
            return 0, ""
        number, separator, cursor = place.partition(" ")
        is_number = number.isascii() and number.isdecimal() and len(number) < 6  # noqa: PLR2004 - far beyond any partition
        if not (separator and is_number and int(number) < self._partitions):
            raise PageTokenInvalidError
        return int(number), cursor


def _wire_bytes(detail: TaskDetail) -> int:
    """Tell about how large a record is on the wire, rather too much than too little."""
    snapshot = detail.snapshot
    parts = (detail.request, snapshot.result, snapshot.failure, snapshot.last_failure, snapshot.progress)
    return FRAME_BYTES + sum(len(part) for part in parts if part is not None)
