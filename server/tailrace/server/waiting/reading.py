"""Asking the store about tasks that somebody waits for, many at a time, and passing on what it says."""

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import structlog

from tailrace.server.coordinator.coordinator import Coordinator
from tailrace.server.domain.errors import TailraceError
from tailrace.server.domain.ids import partition_of
from tailrace.server.domain.task import TaskSnapshot
from tailrace.server.waiting.entries import Entries, Entry, tell_progress
from tailrace.server.waiting.subscription import Subscription

READ_CHUNK = 500
READ_SHARE = 150
"""What each kind of read is sure to get of a chunk."""
READ_AGAIN_S = 30.0
READ_AGAIN_TICK_S = 5.0
STORE_BACKOFF_S = 0.5

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Asked:
    """An entry as it was when the store was asked about it."""

    entry: Entry
    notices: int
    progress_notices: int
    askers: tuple[Subscription, ...]


class _Lane:
    """What is to be read of one partition; those that answer do not wait for one that does not."""

    def __init__(self, entries: Entries) -> None:
        self._entries = entries
        self._soon: OrderedDict[str, None] = OrderedDict()
        self._in_bulk: OrderedDict[str, None] = OrderedDict()
        self._again: OrderedDict[str, None] = OrderedDict()
        self._has_work = asyncio.Event()

    def read(self, task_id: str, *, is_bulk: bool = False) -> None:
        """Have an entry read; one of many of one caller lets those of others go first."""
        pending = self._in_bulk if is_bulk else self._soon
        pending[task_id] = None
        self._has_work.set()

    def read_again(self, task_id: str) -> None:
        """Have an entry read only to be sure."""
        self._again[task_id] = None
        self._has_work.set()

    async def chunk(self) -> list[str]:
        """Wait until there is something to read, and take it."""
        while not (task_ids := self._next_chunk()):
            self._has_work.clear()
            await self._has_work.wait()
        return task_ids

    def _next_chunk(self) -> list[str]:
        """Choose what to read next: each kind gets its share, then the most urgent what is left."""
        chunk: dict[str, None] = {}
        for share in (READ_SHARE, READ_CHUNK):
            for pending in (self._soon, self._in_bulk, self._again):
                room = min(share, READ_CHUNK - len(chunk))
                while pending and room > 0:
                    task_id, _ = pending.popitem(last=False)
                    if self._entries.get(task_id) is not None:
                        chunk[task_id] = None
                        room -= 1
        return list(chunk)


class Reading:
    """Reads and registers entries, in chunks; each entry anew every half a minute or so, just to be sure."""

    def __init__(self, coordinator: Coordinator, entries: Entries) -> None:
        self._coordinator = coordinator
        self._entries = entries
        self._lanes = [_Lane(entries) for _ in range(coordinator.partitions)]
        self.read_again_count = 0
        """Entries that were read only because half a minute had passed."""

    def read(self, task_id: str, *, is_bulk: bool = False) -> None:
        """Have an entry read; one of many of one caller lets those of others go first."""
        self._lane_of(task_id).read(task_id, is_bulk=is_bulk)

    def read_again(self, task_ids: Iterable[str]) -> None:
        """Have entries read only to be sure."""
        for task_id in task_ids:
            self._lane_of(task_id).read_again(task_id)

    async def run(self) -> None:
        """Read what has to be read, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for lane in self._lanes:
                tasks.create_task(self._read_pending(lane))
            tasks.create_task(self._read_old())

    def _lane_of(self, task_id: str) -> _Lane:
        return self._lanes[partition_of(task_id, len(self._lanes))]

    async def _read_old(self) -> None:
        while True:
            await asyncio.sleep(READ_AGAIN_TICK_S)
            now = time.monotonic()
            old = [entry.task_id for entry in self._entries if entry.read_at < now]
            self.read_again_count += len(old)
            self.read_again(old)

    async def _read_pending(self, lane: _Lane) -> None:
        while True:
            if not await self._read_chunk(await lane.chunk()):
                await asyncio.sleep(STORE_BACKOFF_S * random.uniform(0.5, 1.5))

    async def _read_chunk(self, task_ids: Sequence[str]) -> bool:
        """Read some tasks; False when the store could not be asked about all of them."""
        entries = [entry for task_id in task_ids if (entry := self._entries.get(task_id)) is not None]
        plain = [entry for entry in entries if not entry.wants_progress]
        watched = [entry for entry in entries if entry.wants_progress]
        calls = [
            self._read_entries(group, with_progress=with_progress)
            for group, with_progress in ((plain, False), (watched, True))
            if group
        ]
        return all(await asyncio.gather(*calls))

    async def _read_entries(self, entries: Sequence[Entry], *, with_progress: bool) -> bool:
        asked = [_Asked(e, e.notices, e.progress_notices, tuple(e.subscriptions)) for e in entries]
        task_ids = [entry.task_id for entry in entries]
        try:
            outcomes = await self._coordinator.register_waits(task_ids, with_progress=with_progress)
        except Exception:
            logger.exception("waits_not_read", count=len(task_ids))
            for task_id in task_ids:
                self.read(task_id)
            return False
        is_all_read = True
        for one, outcome in zip(asked, outcomes, strict=True):
            if isinstance(outcome, TailraceError):
                self.read(one.entry.task_id)
                is_all_read = False
            elif self._entries.get(one.entry.task_id) is one.entry:
                self._take_in(one, outcome, with_progress=with_progress)
        return is_all_read

    def _take_in(self, asked: _Asked, outcome: TaskSnapshot | None, *, with_progress: bool) -> None:
        entry = asked.entry
        is_newest = entry.notices == asked.notices
        if outcome is not None:
            entry.is_registered = True
            entry.is_progress_registered = entry.is_progress_registered or with_progress
            self._answer(asked, outcome, is_newest=is_newest)
        elif is_newest:
            # Whoever came later is answered by a later read: the task may have been submitted in between.
            for subscription in asked.askers:
                subscription.notice_not_found(entry.task_id)
        else:
            self.read(entry.task_id)

    def _answer(self, asked: _Asked, snapshot: TaskSnapshot, *, is_newest: bool) -> None:
        entry, known = asked.entry, asked.entry.snapshot
        entry.read_at = next_look()
        has_newer_progress = entry.progress_notices != asked.progress_notices
        if is_newest or known is None or snapshot.revision >= known.revision:
            self._entries.offer(entry, snapshot)
        if snapshot.is_done:
            return
        if has_newer_progress or (known is not None and known.progress != snapshot.progress):
            tell_progress(entry)
        if not is_newest or has_newer_progress:
            entry.is_current = False
        if not is_newest:
            self.read(entry.task_id)


def next_look() -> float:
    """Choose when an entry is read again only to be sure."""
    return time.monotonic() + READ_AGAIN_S * random.uniform(0.5, 1.5)
