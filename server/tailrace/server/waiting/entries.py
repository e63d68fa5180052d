"""What is known of the tasks that somebody waits for: one entry a task, however many wait for it."""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from tailrace.server.domain.task import TaskSnapshot

if TYPE_CHECKING:
    from tailrace.server.waiting.subscription import Subscription

MAX_KEPT_BYTES = 64 << 20
"""Payloads kept in memory for readers that have not taken them yet; beyond it they are read when they are taken."""


class Entry:
    """One task that somebody waits for."""

    __slots__ = (
        "is_current",
        "is_progress_registered",
        "is_registered",
        "notices",
        "progress_notices",
        "progress_subscriptions",
        "read_at",
        "snapshot",
        "subscriptions",
        "task_id",
    )

    def __init__(self, task_id: str) -> None:
        self.task_id = task_id
        self.subscriptions: set[Subscription] = set()
        self.progress_subscriptions: set[Subscription] | None = None
        """Those of them that want progress; None, as mostly, for none."""
        self.snapshot: TaskSnapshot | None = None
        self.is_current = False
        """Whether the snapshot is whole and nothing newer was heard of."""
        self.is_registered = False
        """Whether the store tells of every change."""
        self.is_progress_registered = False
        """Whether it tells of progress too."""
        self.notices = 0
        """Counts changes that came without their outcome: a read that began before the latest is read again."""
        self.progress_notices = 0
        """Counts progress: what was read before the latest is not told any more."""
        self.read_at = math.inf
        """When it is to be read only to be sure; never while it is yet to be answered at all."""

    @property
    def wants_progress(self) -> bool:
        """Whether somebody wants progress."""
        return bool(self.progress_subscriptions)

    def join(self, subscription: "Subscription") -> None:
        """Add somebody who waits. A second time does nothing."""
        self.subscriptions.add(subscription)
        if subscription.include_progress:
            self.progress_subscriptions = self.progress_subscriptions or set()
            self.progress_subscriptions.add(subscription)

    def leave(self, subscription: "Subscription") -> None:
        """Take somebody off."""
        self.subscriptions.discard(subscription)
        if self.progress_subscriptions is not None:
            self.progress_subscriptions.discard(subscription)


class Entries:
    """All entries, and how much memory the payloads in them take."""

    def __init__(self) -> None:
        self._by_id: dict[str, Entry] = {}
        self.kept_bytes = 0
        """How large the payloads are that are kept for readers."""

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Entry]:
        return iter(tuple(self._by_id.values()))

    def get(self, task_id: str) -> Entry | None:
        """Find the entry of a task, if somebody waits for it."""
        return self._by_id.get(task_id)

    def get_or_add(self, task_id: str) -> Entry:
        """Find the entry of a task, or make it."""
        entry = self._by_id.get(task_id)
        if entry is None:
            entry = self._by_id[task_id] = Entry(task_id)
        return entry

    def drop(self, entry: Entry) -> None:
        """Forget a task that nobody waits for."""
        if self._by_id.pop(entry.task_id, None) is not None:
            self.kept_bytes -= payload_bytes(entry.snapshot)

    def keep(self, entry: Entry, snapshot: TaskSnapshot) -> None:
        """Remember an outcome, without its payloads when there is no room for them."""
        self.kept_bytes -= payload_bytes(entry.snapshot)
        size_bytes = payload_bytes(snapshot)
        is_whole = snapshot.is_whole and self.kept_bytes + size_bytes <= MAX_KEPT_BYTES
        if not is_whole:
            snapshot = replace(snapshot, result=None, failure=None, last_failure=None, progress=None)
        entry.snapshot = snapshot
        entry.is_current = is_whole
        self.kept_bytes += payload_bytes(snapshot)

    def offer(self, entry: Entry, snapshot: TaskSnapshot) -> None:
        """Remember an outcome and tell everybody who waits."""
        self.keep(entry, snapshot)
        for subscription in tuple(entry.subscriptions):
            subscription.notice(snapshot)


def tell_progress(entry: Entry) -> None:
    """Tell those who want it that there may be progress."""
    for subscription in tuple(entry.progress_subscriptions or ()):
        subscription.notice_progress(entry.task_id)


def payload_bytes(snapshot: TaskSnapshot | None) -> int:
    """Measure what a snapshot carries beside its fixed fields."""
    if snapshot is None:
        return 0
    parts = (snapshot.result, snapshot.failure, snapshot.last_failure, snapshot.progress)
    return sum(len(part) for part in parts if part)
