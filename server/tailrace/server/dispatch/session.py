"""One worker's open stream as the dispatcher sees it: what it holds, and what is on its way to it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tailrace.server.dispatch.holders import Holders
from tailrace.server.store.changes import LeaseNews
from tailrace.server.store.values import Delivery

MAX_UNWRITTEN_BYTES = 4 << 20
"""Payloads kept for a worker that reads more slowly than tasks come; beyond it they stay in the store."""

LeaseKey = tuple[str, bytes]
"""Task id and lease token."""


@dataclass(slots=True)
class _Outstanding:
    input_bytes: int
    is_mentioned: bool = False


class WorkerSession:
    """The credit of one worker stream: outstanding is what was assigned and neither ended nor given back.

    A delivery that the worker never mentions keeps its credit until the stream ends, so a peer that reads nothing
    swallows its credit once and no more. One that reads slowly has its tasks drawn as it reads them.
    """

    start_immediately = False

    def __init__(
        self,
        *,
        session_id: str,
        worker_id: str,
        queues: tuple[str, ...],
        holders: Holders,
        on_assigned: Callable[[], None],
        on_news: Callable[[LeaseNews], None],
    ) -> None:
        self.session_id = session_id
        self.worker_id = worker_id
        self.queues = queues
        self._holders = holders
        self._on_assigned = on_assigned
        self._on_news = on_news
        self._max_outstanding = 0
        self._max_outstanding_bytes: int | None = None
        self._is_closed_to_new = False
        self._outstanding: dict[LeaseKey, _Outstanding] = {}
        self._outstanding_bytes = 0
        self._unwritten: list[Delivery] = []
        self._unwritten_bytes = 0

    @property
    def room(self) -> int:
        """How many more tasks it takes right now."""
        if self._is_closed_to_new or self._unwritten_bytes >= MAX_UNWRITTEN_BYTES:
            return 0
        if self.room_bytes == 0 and self._outstanding:
            return 0
        return max(0, self._max_outstanding - len(self._outstanding))

    @property
    def room_bytes(self) -> int | None:
        """How large the inputs of these may be in all; None: as large as they are."""
        if self._max_outstanding_bytes is None:
            return None
        return max(0, self._max_outstanding_bytes - self._outstanding_bytes)

    @property
    def outstanding_count(self) -> int:
        """How many assignments were neither ended nor given back."""
        return len(self._outstanding)

    @property
    def max_outstanding(self) -> int:
        """The worker's latest wish."""
        return self._max_outstanding

    @property
    def holds_nothing(self) -> bool:
        """Whether every assignment was ended or given back."""
        return not self._outstanding

    def set_max_outstanding(self, max_outstanding: int, max_bytes: int = 0) -> None:
        """Take over the worker's latest wish; ``max_bytes`` bounds the inputs in all, unless it is 0."""
        self._max_outstanding = max_outstanding
        self._max_outstanding_bytes = max_bytes or None

    def close_to_new(self) -> list[Delivery]:
        """Assign nothing more; returns what was assigned but not written, to be given back."""
        self._is_closed_to_new = True
        return self.take_back_unwritten()

    def assign(self, deliveries: Sequence[Delivery]) -> None:
        """Charge deliveries to the worker's credit and pass them on to be written."""
        for delivery in deliveries:
            self._charge(_key_of(delivery), _Outstanding(delivery.input_bytes))
        self._unwritten.extend(deliveries)
        self._unwritten_bytes += sum(map(_payload_bytes, deliveries))
        self._on_assigned()

    def take_to_write(self, *, max_items: int, max_bytes: int) -> list[Delivery]:
        """Take what is to be written next, at least one if there is any; from then on it counts as written."""
        count = count_that_fits(self._unwritten[:max_items], max_bytes)
        deliveries, self._unwritten = self._unwritten[:count], self._unwritten[count:]
        self._unwritten_bytes -= sum(map(_payload_bytes, deliveries))
        return deliveries

    def take_back_unwritten(self) -> list[Delivery]:
        """Take back what was not written; its credit returns."""
        deliveries, self._unwritten = self._unwritten, []
        self._unwritten_bytes = 0
        for delivery in deliveries:
            self.settle(_key_of(delivery))
        return deliveries

    def take_back_excess(self) -> list[Delivery]:
        """Take back what was not written and is more than the worker wants by now, the latest; its credit returns.

        In the order in which it was to be written.
        """
        excess: list[Delivery] = []
        while self._unwritten and self._holds_too_much:
            delivery = self._unwritten.pop()
            self._unwritten_bytes -= _payload_bytes(delivery)
            self.settle(_key_of(delivery))
            excess.append(delivery)
        return excess[::-1]

    def hold(self, key: LeaseKey) -> None:
        """Charge a lease that the worker brought along from an earlier stream: a task, of a size that is not known."""
        self._charge(key, _Outstanding(0, is_mentioned=True))

    def mention(self, key: LeaseKey) -> None:
        """Note that the worker spoke of a lease, so that it surely has it; unknown ones are ignored."""
        if (outstanding := self._outstanding.get(key)) is not None:
            outstanding.is_mentioned = True

    def settle(self, key: LeaseKey) -> None:
        """Return the credit of a lease that ended, was given back or is lost; unknown ones are ignored."""
        if (outstanding := self._outstanding.pop(key, None)) is not None:
            self._outstanding_bytes -= outstanding.input_bytes
            self._holders.discard(key, self)

    def leave(self) -> None:
        """Hold nothing any more: the stream is over. What its worker holds lives on."""
        for key in tuple(self._outstanding):
            self.settle(key)

    def hear(self, news: LeaseNews) -> bool:
        """Take news of a lease and pass them on if the worker has it. Returns whether it is this worker's.

        A lost one returns its credit, unless it is on its way to a worker that has not mentioned it yet: that one may
        read nothing, and if it does read, its first beat is answered the same.
        """
        key = _key_of(news)
        outstanding = self._outstanding.get(key)
        if outstanding is None:
            return False
        is_mentioned = outstanding.is_mentioned
        if news.revocation is None and (is_mentioned or self._take_off(key)):
            self.settle(key)
        if is_mentioned:
            self._on_news(news)
        return True

    @property
    def _holds_too_much(self) -> bool:
        if len(self._outstanding) > self._max_outstanding:
            return True
        # One is always allowed.
        is_limited = self._max_outstanding_bytes is not None and len(self._outstanding) > 1
        return is_limited and self._outstanding_bytes > (self._max_outstanding_bytes or 0)

    def _charge(self, key: LeaseKey, outstanding: _Outstanding) -> None:
        self.settle(key)
        self._outstanding[key] = outstanding
        self._outstanding_bytes += outstanding.input_bytes
        self._holders.add(key, self)

    def _take_off(self, key: LeaseKey) -> bool:
        """Drop a delivery that was not written yet: the worker need never hear of it."""
        for index, delivery in enumerate(self._unwritten):
            if _key_of(delivery) == key:
                del self._unwritten[index]
                self._unwritten_bytes -= _payload_bytes(delivery)
                return True
        return False


def count_that_fits(deliveries: Sequence[Delivery], max_bytes: int) -> int:
    """Count how many deliveries go into one message, from the first on; one always goes."""
    size_bytes = 0
    for count, delivery in enumerate(deliveries):
        size_bytes += _payload_bytes(delivery)
        if count and size_bytes > max_bytes:
            return count
    return len(deliveries)


def _key_of(item: Delivery | LeaseNews) -> LeaseKey:
    return item.task_id, item.lease_token


def _payload_bytes(delivery: Delivery) -> int:
    return len(delivery.request) + len(delivery.last_failure or b"") + len(delivery.progress or b"")
