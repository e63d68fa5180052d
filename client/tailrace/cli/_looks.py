"""Looks at a server: what is in its queues, who works, and how fast that changes from look to look."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from tailrace.client import ServerUnavailableError
from tailrace.v1.admin_service_pb2 import Queue, Worker


class Source(Protocol):
    """What is looked at."""

    def list_queues(self) -> Iterator[Queue]:
        """Yield every queue, by name."""
        ...

    def list_workers(self) -> Iterator[Worker]:
        """Yield every connected worker, by worker_id."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a server told when it was asked."""

    queues: tuple[Queue, ...]
    workers: tuple[Worker, ...]
    at_s: float
    """When it told of the queues, as ``time.monotonic()`` has it."""
    moment: datetime
    """The same by this machine's clock, in UTC."""
    net_per_s: dict[str, float | None] = field(default_factory=dict[str, float | None])
    """By how many tasks a second each queue became fuller since the look before, those that a worker has included:
    tasks that came less tasks that ended. None where there was no look before."""
    since_s: float | None = None
    """How long ago the look before was; None where there was none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """A look that came to nothing. The next one may do better."""

    error: ServerUnavailableError
    moment: datetime


def looks(source: Source, interval_s: float, pause: Callable[[float], object]) -> Iterator[Look | Trouble]:
    """Yield look after look, for ever.

    Args:
        source: Asked by its two lists, once each a look.
        interval_s: From one answer to the next question: a slow answer must not leave a rate too short a span.
        pause: Rests for so many seconds.

    Raises:
        TailraceError: What the server answered will be no other next time.
    """
    before = None
    while True:
        try:
            before = look(source, before)
            yield before
        except ServerUnavailableError as error:
            yield Trouble(error=error, moment=datetime.now(UTC))
        pause(interval_s)


def look(source: Source, before: Look | None) -> Look:
    """Return one look; ``before`` is the last one that came to something, however long ago."""
    queues = tuple(source.list_queues())
    at_s, moment = time.monotonic(), datetime.now(UTC)
    return Look(
        queues=queues,
        workers=tuple(source.list_workers()),
        at_s=at_s,
        moment=moment,
        net_per_s=_net_per_s(queues, before, at_s),
        since_s=None if before is None else at_s - before.at_s,
    )


def task_count(queue: Queue) -> int:
    """Return how many tasks of a queue are not done."""
    return queue.queued_count + queue.delayed_count + queue.leased_count


def _net_per_s(queues: tuple[Queue, ...], before: Look | None, at_s: float) -> dict[str, float | None]:
    if before is None or at_s <= before.at_s:
        return {queue.queue: None for queue in queues}
    # A queue that was not there before had no task yet.
    counts = {queue.queue: task_count(queue) for queue in before.queues}
    return {queue.queue: (task_count(queue) - counts.get(queue.queue, 0)) / (at_s - before.at_s) for queue in queues}
