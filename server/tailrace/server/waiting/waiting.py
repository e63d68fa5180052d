"""All the waits of a process: who waits for which task, and telling them.

An entry is made before the store is asked, and the store reads the task and notes this process down in one step, so no
change can fall in between. Notices from the store are hints: one that carries the outcome is passed on as it is, any
other makes the entry read again. Whatever may have been missed is read anew: all entries after an epoch break, and each
entry every half a minute or so, so that a wait can be late but never hangs.
"""

from collections.abc import Mapping, Sequence

import structlog

from tailrace.server.coordinator.coordinator import Coordinator
from tailrace.server.domain.errors import StoreEmptiedError, TailraceError
from tailrace.server.domain.task import TaskSnapshot
from tailrace.server.store.changes import Change, EpochBreak, StoreEmptied, TaskChanged
from tailrace.server.waiting.entries import Entries, Entry, tell_progress
from tailrace.server.waiting.reading import Reading, next_look
from tailrace.server.waiting.subscription import Subscription

logger = structlog.get_logger(__name__)


class Waiting:
    """Keeps one entry for each task that somebody waits for, and tells everybody who does."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self._entries = Entries()
        self._reading = Reading(coordinator, self._entries)

    @property
    def task_count(self) -> int:
        """How many tasks are waited for."""
        return len(self._entries)

    @property
    def kept_bytes(self) -> int:
        """How large the payloads are that are kept for readers."""
        return self._entries.kept_bytes

    @property
    def read_again_count(self) -> int:
        """How many reads there were only because half a minute had passed."""
        return self._reading.read_again_count

    async def run(self) -> None:
        """Read what has to be read, until cancelled."""
        await self._reading.run()

    def subscribe(
        self, targets: Mapping[str, int | None], *, done_only: bool = False, include_progress: bool = False
    ) -> Subscription:
        """Begin to wait for tasks, each with the revision seen last, or None; more can be added later.

        Every target is answered at once with its current outcome, then with every change until it is done.
        """
        subscription = Subscription(self, done_only=done_only, include_progress=include_progress)
        subscription.add(targets)
        return subscription

    def join(self, task_id: str, subscription: Subscription, *, is_bulk: bool = False) -> None:
        """Have a caller told of a task: what is known now, or what the store says when it is asked."""
        entry = self._entries.get_or_add(task_id)
        entry.join(subscription)
        if entry.is_current and entry.snapshot is not None and _hears_enough(entry, subscription):
            subscription.notice(entry.snapshot)
        else:
            self._reading.read(task_id, is_bulk=is_bulk)

    def expect(self, task_id: str, subscription: Subscription) -> None:
        """Have a caller told of a task that is about to be submitted as watched: the store need not be asked."""
        self._entries.get_or_add(task_id).join(subscription)

    def confirm(self, task_id: str) -> None:
        """Hear that an expected task was submitted: the store tells of it from now on."""
        entry = self._entries.get(task_id)
        if entry is not None and not entry.is_registered:
            entry.is_registered = True
            entry.read_at = next_look()

    def catch_up(self, task_id: str, subscription: Subscription) -> None:
        """Tell a caller that was not to be told of a task what has become of it meanwhile."""
        entry = self._entries.get_or_add(task_id)
        entry.join(subscription)
        known = entry.snapshot
        if known is not None:
            subscription.notice(known)
        is_behind = known is not None and not entry.is_current and subscription.wants_unfinished(task_id)
        if is_behind or not _hears_enough(entry, subscription):
            self._reading.read(task_id)

    def leave(self, task_id: str, subscription: Subscription) -> None:
        """Take a caller off a task; nothing is kept of a task that nobody waits for."""
        entry = self._entries.get(task_id)
        if entry is None:
            return
        entry.leave(subscription)
        if not entry.subscriptions:
            self._entries.drop(entry)

    async def current(self, task_ids: Sequence[str]) -> dict[str, TaskSnapshot | None]:
        """Get the outcomes to tell of tasks that changed; None for one that is gone.

        Where they are large some may be missing, though never all: ask for those again.

        Raises:
            StoreUnavailableError: Not one of them could be had.
        """
        current: dict[str, TaskSnapshot | None] = {}
        unknown: dict[str, tuple[int, int]] = {}
        for task_id in task_ids:
            entry = self._entries.get(task_id)
            if entry is not None and entry.is_current:
                current[task_id] = entry.snapshot
            else:
                unknown[task_id] = _notices(entry)
        errors: list[TailraceError] = []
        for task_id, outcome in zip(unknown, await self._coordinator.read(list(unknown)), strict=True):
            if isinstance(outcome, TailraceError):
                errors.append(outcome)
            elif outcome is None or outcome.is_whole:
                current[task_id] = outcome
                self._keep_if_newest(task_id, outcome, unknown[task_id])
        if unknown and not current:
            if errors:
                raise errors[0]
            first = next(iter(unknown))
            current[first] = await self._coordinator.read_whole(first)
        return current

    def apply(self, change: Change) -> None:
        """Take in what the store says has changed; never waits."""
        if isinstance(change, TaskChanged):
            entry = self._entries.get(change.task_id)
            if entry is not None and change.is_progress:
                self._apply_progress(entry, change.snapshot)
            elif entry is not None:
                self._apply_change(entry, change)
        elif isinstance(change, EpochBreak):
            self._look_again()
        elif isinstance(change, StoreEmptied):
            self._end_all()

    def _apply_change(self, entry: Entry, change: TaskChanged) -> None:
        entry.notices += 1
        known = entry.snapshot
        if change.snapshot is not None and (known is None or change.snapshot.revision >= known.revision):
            self._entries.offer(entry, change.snapshot)
            return
        entry.is_current = False
        if change.is_done is not False or any(s.wants_unfinished(entry.task_id) for s in entry.subscriptions):
            self._reading.read(entry.task_id)

    def _apply_progress(self, entry: Entry, snapshot: TaskSnapshot | None) -> None:
        """Take in progress: only those who want it hear of it, and only they have it read, when they take it."""
        entry.progress_notices += 1
        known = entry.snapshot
        is_known = known is not None and snapshot is not None and snapshot.revision == known.revision
        if snapshot is not None and entry.is_current and is_known:
            self._entries.keep(entry, snapshot)
        elif known is None or not known.is_done:
            entry.is_current = False
        tell_progress(entry)

    def _keep_if_newest(self, task_id: str, outcome: TaskSnapshot | None, notices: tuple[int, int]) -> None:
        """Spare the others who wait for a task the read that one of them had to make."""
        entry = self._entries.get(task_id)
        if entry is None or outcome is None or _notices(entry) != notices:
            return
        if entry.snapshot is None or outcome.revision >= entry.snapshot.revision:
            self._entries.keep(entry, outcome)

    def _look_again(self) -> None:
        for entry in self._entries:
            entry.notices += 1
            # An end stays true; anything else may have been overtaken, and is not to be told to newcomers.
            entry.is_current = entry.is_current and entry.snapshot is not None and entry.snapshot.is_done
            entry.is_progress_registered = False
        self._reading.read_again(entry.task_id for entry in self._entries)

    def _end_all(self) -> None:
        """End the waits for tasks that the store had; whoever has heard nothing yet is told what is true now."""
        had = [entry for entry in self._entries if entry.snapshot is not None]
        ended = {subscription for entry in had for subscription in entry.subscriptions}
        logger.error("store_emptied", lost_tasks_waited_for=len(had), ended_waits=len(ended))
        for subscription in ended:
            subscription.fail(StoreEmptiedError())
        self._look_again()


def _hears_enough(entry: Entry, subscription: Subscription) -> bool:
    """Tell whether all that this caller wants to hear of is told by the store already."""
    return entry.is_registered and (entry.is_progress_registered or not subscription.include_progress)


def _notices(entry: Entry | None) -> tuple[int, int]:
    return (0, 0) if entry is None else (entry.notices, entry.progress_notices)
