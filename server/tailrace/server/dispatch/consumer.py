"""Who takes tasks, which of them draw together, and how what was drawn is split among them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tailrace.server.store.values import Delivery


class Consumer(Protocol):
    """Somebody who takes tasks: an open worker stream, or a call that waits for some."""

    @property
    def queues(self) -> tuple[str, ...]:
        """Queues to draw from, most wanted first."""
        ...

    @property
    def start_immediately(self) -> bool:
        """Whether tasks count as started on delivery."""
        ...

    @property
    def worker_id(self) -> str:
        """Which worker it is."""
        ...

    @property
    def room(self) -> int:
        """How many more tasks it takes right now."""
        ...

    @property
    def room_bytes(self) -> int | None:
        """How large the inputs of these may be in all; None: as large as they are."""
        ...

    @property
    def holds_nothing(self) -> bool:
        """Whether it has no task yet, so that the next one may have any size."""
        ...

    def assign(self, deliveries: Sequence[Delivery]) -> None:
        """Take tasks, at most ``room`` of them; never waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What consumers have in common that draw together."""

    queues: tuple[str, ...]
    start_immediately: bool
    worker_id: str = ""
    """Who takes the tasks, where the store is to know it as it hands them out."""
    loner: Consumer | None = None
    """The only one of its kind: the store can count the bytes of one consumer in a call, not of several."""


def kind_of(consumer: Consumer) -> Kind:
    """Tell with whom a consumer draws right now."""
    is_loner = consumer.room_bytes is not None
    return Kind(
        queues=consumer.queues,
        start_immediately=consumer.start_immediately,
        worker_id=consumer.worker_id if is_loner or consumer.start_immediately else "",
        loner=consumer if is_loner else None,
    )


def split(consumers: Sequence[Consumer], count: int) -> list[tuple[Consumer, int]]:
    """Split ``count`` tasks evenly over consumers, to nobody more than it has room for."""
    takers = sorted((consumer for consumer in consumers if consumer.room > 0), key=lambda consumer: consumer.room)
    shares: list[tuple[Consumer, int]] = []
    for index, consumer in enumerate(takers):
        # The smallest go first: what they cannot take is spread over the rest, and a lone task goes to the most room.
        share = min(consumer.room, count // (len(takers) - index))
        shares.append((consumer, share))
        count -= share
    return [(consumer, share) for consumer, share in shares if share > 0]


def count_that_has_room(consumer: Consumer, deliveries: Sequence[Delivery]) -> int:
    """Count how many tasks, from the first on, a consumer can take by their size."""
    if (room_bytes := consumer.room_bytes) is None:
        return len(deliveries)
    size_bytes = 0
    for count, delivery in enumerate(deliveries):
        size_bytes += delivery.input_bytes
        if size_bytes > room_bytes and (count or not consumer.holds_nothing):
            return count
    return len(deliveries)
