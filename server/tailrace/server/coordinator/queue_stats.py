"""One queue, put together from what each partition says of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from tailrace.server.store.operators import QueueStats

_AFTER_ALL_NAMES = "\x7f" * 64
"""Sorts after every tail that the name of a queue can have, and is as long as any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueTotals:
    """One queue, over all partitions."""

    queue: str
    is_paused: bool
    """Whether no partition delivers from it."""
    ready_count: int
    schedule_count: int
    lease_count: int
    oldest_age_ms: int | None


def merge(answers: Sequence[Sequence[QueueStats]], *, partitions: int) -> list[QueueTotals]:
    """Add up what the partitions say, by name of queue."""
    by_name: dict[str, list[QueueStats]] = {}
    for answer in answers:
        for stats in answer:
            by_name.setdefault(stats.queue, []).append(stats)
    return [_total(by_name[name], partitions) for name in sorted(by_name)]


def just_before(queue: str) -> str:
    """Give a text that sorts before the name of a queue and after every other name that does."""
    return queue[:-1] + chr(ord(queue[-1]) - 1) + _AFTER_ALL_NAMES


def _total(shares: Sequence[QueueStats], partitions: int) -> QueueTotals:
    ages_ms = [share.oldest_age_ms for share in shares if share.oldest_age_ms is not None]
    return QueueTotals(
        queue=shares[0].queue,
        # A partition that does not know the queue would deliver from it.
        is_paused=sum(share.is_paused for share in shares) == partitions,
        ready_count=sum(share.ready_count for share in shares),
        schedule_count=sum(share.schedule_count for share in shares),
        lease_count=sum(share.lease_count for share in shares),
        oldest_age_ms=max(ages_ms, default=None),
    )
