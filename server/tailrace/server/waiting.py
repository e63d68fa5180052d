"""Who waits for which task, and telling them: one entry a task, however many wait for it.

An entry is made before the store is asked, and the store reads the task and notes this process down in one step, so no
change can fall in between. Notices from the store are hints: one that carries the outcome is passed on as it is, any
other makes the entry read again. Whatever may have been missed is read anew: all entries after an epoch break, and each
entry every half a minute or so, so that a wait can be late but never hangs.
"""

import asyncio
import itertools
import random
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from tailrace.server.coordinator.coordinator import Coordinator
from tailrace.server.domain.errors import TailraceError
from tailrace.server.domain.limits import FILL_MESSAGE_BYTES
from tailrace.server.domain.task import TaskSnapshot, TaskState
from tailrace.server.store.changes import Change, EpochBreak, TaskChanged

READ_CHUNK = 500
READ_AGAIN_S = 30.0
READ_AGAIN_TICK_S = 5.0
TAKE_STEP = 64
STORE_BACKOFF_S = 0.5
MAX_KEPT_BYTES = 64 << 20
"""Payloads kept in memory for readers that have not taken them yet; beyond it they are read when they are taken."""

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What a subscription has to tell at one time."""

    snapshots: tuple[TaskSnapshot, ...]
    not_found: tuple[str, ...]


class _Entry:
    """One task that somebody waits for."""

    __slots__ = ("is_current", "notices", "read_at", "snapshot", "subscriptions", "task_id")

    def __init__(self, task_id: str) -> None:
        self.task_id = task_id
        self.subscriptions: set[Subscription] = set()
        self.snapshot: TaskSnapshot | None = None
        self.is_current = False
        """Whether the snapshot is whole and nothing newer was heard of."""
        self.notices = 0
        """Counts changes that came without their outcome: a read that began before the latest is read again."""
        self.read_at = 0.0


class _Message:
    """The outcomes that go into one message, the first of any size."""

    def __init__(self) -> None:
        self.snapshots: list[TaskSnapshot] = []
        self.is_full = False
        self._size_bytes = 0

    def add(self, snapshot: TaskSnapshot) -> bool:
        """Take an outcome; False where there is no room for it, nor for any that follows."""
        self._size_bytes += payload_bytes(snapshot)
        self.is_full = self.is_full or (bool(self.snapshots) and self._size_bytes > FILL_MESSAGE_BYTES)
        if not self.is_full:
            self.snapshots.append(snapshot)
        return not self.is_full


class Subscription:
    """One caller's wait for some tasks. Holds ids only: a slow reader costs no payloads."""

    def __init__(self, waiting: "Waiting", targets: Mapping[str, int | None], *, done_only: bool) -> None:
        self._waiting = waiting
        self._done_only = done_only
        self._seen_revisions = dict(targets)
        self._unanswered = set(targets)
        self._open = set(targets)
        self._changed: dict[str, None] = {}
        self._not_found: list[str] = []
        self._arrived = asyncio.Event()
        self.done_count = 0
        """Targets that were told to be done, or not to exist."""
        self.has_failed = False
        """Whether one of them was told to be in FAILURE or REVOKED."""

    @property
    def is_answered(self) -> bool:
        """Whether every target's state at the time of the call has been taken."""
        return not self._unanswered and not self._changed and not self._not_found

    @property
    def is_all_done(self) -> bool:
        """Whether nothing is left to wait for."""
        return not self._open

    async def wait(self, timeout_s: float) -> None:
        """Return when there is something to take, when the snapshot is complete, or when the time is over."""
        if self._changed or self._not_found:
            return
        self._arrived.clear()
        try:
            async with asyncio.timeout(timeout_s):
                await self._arrived.wait()
        except TimeoutError:
            return

    def wake(self) -> None:
        """Make ``wait`` return."""
        self._arrived.set()

    async def take(self) -> News:
        """Take what is new, as much as a message holds; a task that changed twice comes once, as it is now.

        Raises:
            StoreUnavailableError: A large outcome had to be read again and could not be; take it later.
        """
        message = _Message()
        while self._changed and not message.is_full:
            task_ids = list(itertools.islice(self._changed, TAKE_STEP))
            # Taken off before they are looked at: what changes meanwhile puts them back.
            for task_id in task_ids:
                del self._changed[task_id]
            try:
                outcomes = await self._waiting.current([task_id for task_id in task_ids if task_id in self._open])
            except BaseException as error:
                self._changed.update(dict.fromkeys(task_ids))
                if message.snapshots and isinstance(error, TailraceError):
                    break
                raise
            for task_id in task_ids:
                if task_id in self._open:
                    self._take_one(task_id, outcomes, message)
        not_found, self._not_found = tuple(self._not_found), []
        return News(snapshots=tuple(message.snapshots), not_found=not_found)

    def close(self) -> None:
        """Stop waiting. A second call does nothing."""
        for task_id in self._open:
            self._waiting.leave(task_id, self)
        self._open.clear()

    def notice(self, snapshot: TaskSnapshot) -> None:
        """Hear of an outcome, which is to be told unless it is the one seen last or nobody wants it."""
        task_id = snapshot.task_id
        is_first = task_id in self._unanswered
        self._unanswered.discard(task_id)
        is_new = snapshot.is_done or snapshot.revision != self._seen_revisions.get(task_id)
        if is_new and (is_first or snapshot.is_done or not self._done_only):
            self._changed[task_id] = None
        if self._changed or not self._unanswered:
            self._arrived.set()

    def notice_not_found(self, task_id: str) -> None:
        """Hear that a task does not exist."""
        self._unanswered.discard(task_id)
        self._forget(task_id)
        self._arrived.set()

    def wants_unfinished(self) -> bool:
        """Tell whether changes that do not end a task matter to this caller."""
        return not self._done_only or bool(self._unanswered)

    def _take_one(self, task_id: str, outcomes: Mapping[str, TaskSnapshot | None], message: "_Message") -> None:
        if task_id not in outcomes:
            self._changed[task_id] = None
        elif (snapshot := outcomes[task_id]) is None:
            self._forget(task_id)
        elif message.add(snapshot):
            self._told(snapshot)
        else:
            self._changed[task_id] = None

    def _told(self, snapshot: TaskSnapshot) -> None:
        self._seen_revisions[snapshot.task_id] = snapshot.revision
        if snapshot.is_done:
            self.done_count += 1
            self.has_failed = self.has_failed or snapshot.state is not TaskState.SUCCESS
            self._open.discard(snapshot.task_id)
            self._waiting.leave(snapshot.task_id, self)

    def _forget(self, task_id: str) -> None:
        if task_id in self._open:
            self._open.discard(task_id)
            self.done_count += 1
            self._not_found.append(task_id)
            self._waiting.leave(task_id, self)


class Waiting:
    """All the waits of this process."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self._entries: dict[str, _Entry] = {}
        self._to_read: dict[str, None] = {}
        self._to_read_again: dict[str, None] = {}
        self._has_work = asyncio.Event()
        self._kept_bytes = 0
        self.read_again_count = 0
        """Entries that were read only because half a minute had passed."""

    @property
    def task_count(self) -> int:
        """How many tasks are waited for."""
        return len(self._entries)

    @property
    def kept_bytes(self) -> int:
        """How large the payloads are that are kept for readers."""
        return self._kept_bytes

    def subscribe(self, targets: Mapping[str, int | None], *, done_only: bool = False) -> Subscription:
        """Begin to wait for tasks, each with the revision seen last, or None.

        Every target is answered at once with its current outcome, then with every change until it is done.
        """
        subscription = Subscription(self, targets, done_only=done_only)
        for task_id in targets:
            entry = self._entries.get(task_id)
            if entry is None:
                entry = self._entries[task_id] = _Entry(task_id)
            entry.subscriptions.add(subscription)
            if entry.is_current and entry.snapshot is not None:
                subscription.notice(entry.snapshot)
            else:
                self._read(task_id)
        return subscription

    def leave(self, task_id: str, subscription: Subscription) -> None:
        """Take a caller off a task; nothing is kept of a task that nobody waits for."""
        entry = self._entries.get(task_id)
        if entry is None:
            return
        entry.subscriptions.discard(subscription)
        if not entry.subscriptions:
            self._drop(entry)

    async def current(self, task_ids: Sequence[str]) -> dict[str, TaskSnapshot | None]:
        """Get the outcomes to tell of tasks that changed; None for one that is gone.

        Where they are large some may be missing, though never all: ask for those again.

        Raises:
            StoreUnavailableError: Not one of them could be had.
        """
        current = {task_id: entry.snapshot for task_id in task_ids if (entry := self._current_entry(task_id))}
        unknown = [task_id for task_id in task_ids if task_id not in current]
        errors: list[TailraceError] = []
        for task_id, outcome in zip(unknown, await self._coordinator.read(unknown), strict=True):
            if isinstance(outcome, TailraceError):
                errors.append(outcome)
            elif outcome is None or outcome.is_whole:
                current[task_id] = outcome
        if unknown and not current:
            if errors:
                raise errors[0]
            current[unknown[0]] = await self._coordinator.read_whole(unknown[0])
        return current

    def _current_entry(self, task_id: str) -> _Entry | None:
        entry = self._entries.get(task_id)
        return entry if entry is not None and entry.is_current else None

    def apply(self, change: Change) -> None:
        """Take in what the store says has changed; never waits."""
        if isinstance(change, EpochBreak):
            for entry in self._entries.values():
                entry.notices += 1
                # An end stays true; anything else may have been overtaken, and is not to be told to newcomers.
                entry.is_current = entry.is_current and entry.snapshot is not None and entry.snapshot.is_done
                self._to_read_again[entry.task_id] = None
            self._has_work.set()
        elif isinstance(change, TaskChanged) and change.task_id in self._entries:
            self._apply_to(self._entries[change.task_id], change)

    def _apply_to(self, entry: _Entry, change: TaskChanged) -> None:
        entry.notices += 1
        known = entry.snapshot
        if change.snapshot is not None and (known is None or change.snapshot.revision >= known.revision):
            self._offer(entry, change.snapshot)
            return
        entry.is_current = False
        if change.is_done is not False or any(s.wants_unfinished() for s in entry.subscriptions):
            self._read(entry.task_id)

    async def run(self) -> None:
        """Read what has to be read, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._read_pending())
            tasks.create_task(self._read_old())

    def _read(self, task_id: str) -> None:
        self._to_read[task_id] = None
        self._has_work.set()

    async def _read_old(self) -> None:
        while True:
            await asyncio.sleep(READ_AGAIN_TICK_S)
            now = time.monotonic()
            old = [entry.task_id for entry in self._entries.values() if entry.read_at < now]
            self.read_again_count += len(old)
            self._to_read_again.update(dict.fromkeys(old))
            if old:
                self._has_work.set()

    async def _read_pending(self) -> None:
        while True:
            await self._has_work.wait()
            task_ids = self._next_chunk()
            if not task_ids:
                self._has_work.clear()
                continue
            if not await self._read_chunk(task_ids):
                await asyncio.sleep(STORE_BACKOFF_S * random.uniform(0.5, 1.5))

    def _next_chunk(self) -> list[str]:
        """Choose what to read next: what somebody waits for right now goes before what is only read to be sure."""
        chunk: list[str] = []
        for pending in (self._to_read, self._to_read_again):
            while pending and len(chunk) < READ_CHUNK:
                task_id = next(iter(pending))
                del pending[task_id]
                if task_id in self._entries:
                    chunk.append(task_id)
        return chunk

    async def _read_chunk(self, task_ids: list[str]) -> bool:
        """Read some tasks; False when the store could not be asked about all of them."""
        entries = [self._entries[task_id] for task_id in task_ids]
        asked = [(entry, entry.notices, tuple(entry.subscriptions)) for entry in entries]
        try:
            outcomes = await self._coordinator.register_waits(task_ids)
        except Exception:
            logger.exception("waits_not_read", count=len(task_ids))
            self._to_read_again.update(dict.fromkeys(task_ids))
            return False
        failed = [task_id for task_id, outcome in zip(task_ids, outcomes, strict=True) if _is_error(outcome)]
        self._to_read.update(dict.fromkeys(failed))
        for (entry, notices, askers), outcome in zip(asked, outcomes, strict=True):
            if self._entries.get(entry.task_id) is not entry or isinstance(outcome, TailraceError):
                continue
            is_newest = entry.notices == notices
            if outcome is not None:
                self._answer(entry, outcome, is_newest=is_newest)
            elif is_newest:
                # Whoever came later is answered by a later read: the task may have been submitted in between.
                _tell_not_found(entry.task_id, askers)
            else:
                self._read(entry.task_id)
        return not failed

    def _answer(self, entry: _Entry, snapshot: TaskSnapshot, *, is_newest: bool) -> None:
        entry.read_at = time.monotonic() + READ_AGAIN_S * random.uniform(0.5, 1.5)
        known = entry.snapshot
        if is_newest or known is None or snapshot.revision >= known.revision:
            self._offer(entry, snapshot)
        if not is_newest and not snapshot.is_done:
            entry.is_current = False
            self._read(entry.task_id)

    def _offer(self, entry: _Entry, snapshot: TaskSnapshot) -> None:
        self._keep(entry, snapshot)
        for subscription in tuple(entry.subscriptions):
            subscription.notice(snapshot)

    def _keep(self, entry: _Entry, snapshot: TaskSnapshot) -> None:
        self._kept_bytes -= payload_bytes(entry.snapshot)
        size_bytes = payload_bytes(snapshot)
        is_whole = snapshot.is_whole and self._kept_bytes + size_bytes <= MAX_KEPT_BYTES
        entry.snapshot = snapshot if is_whole else replace(snapshot, result=None, failure=None, last_failure=None)
        entry.is_current = is_whole
        self._kept_bytes += payload_bytes(entry.snapshot)

    def _drop(self, entry: _Entry) -> None:
        self._kept_bytes -= payload_bytes(entry.snapshot)
        self._entries.pop(entry.task_id, None)


def _tell_not_found(task_id: str, subscriptions: Iterable[Subscription]) -> None:
    for subscription in subscriptions:
        subscription.notice_not_found(task_id)


def _is_error(outcome: object) -> bool:
    return isinstance(outcome, TailraceError)


def payload_bytes(snapshot: TaskSnapshot | None) -> int:
    """Measure what a snapshot carries beside its fixed fields."""
    if snapshot is None:
        return 0
    return sum(len(part) for part in (snapshot.result, snapshot.failure, snapshot.last_failure) if part)
