"""One caller's wait for some tasks: what it follows, and what it has yet to be told."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING

from tailrace.server.domain.errors import TailraceError
from tailrace.server.domain.task import TaskSnapshot, TaskState
from tailrace.server.waiting.news import MAX_NOT_FOUND, Message, News
from tailrace.server.waiting.progress_pace import ProgressPace

if TYPE_CHECKING:
    from tailrace.server.waiting.waiting import Waiting

TAKE_STEP = 64
BULK = 1_000
"""Targets without an answer beyond which further ones let other callers' go first."""


class Subscription:
    """Holds ids only: a slow reader costs no payloads. What a change costs does not depend on the number of targets."""

    def __init__(self, waiting: "Waiting", *, done_only: bool = False, include_progress: bool = False) -> None:
        self._waiting = waiting
        self.done_only = done_only
        self.include_progress = include_progress
        """Both are settled before the first target is added."""
        self._open: dict[str, int | None] = {}
        """Targets that are followed, with the revision that the caller knows."""
        self._unanswered: set[str] = set()
        self._expected: set[str] = set()
        """Followed only because they are being submitted."""
        self._held: dict[str, int] = {}
        """Tasks of which nothing may be told yet, with how many answers to submits have to go before."""
        self._changed: OrderedDict[str, bool] = OrderedDict()
        """What to tell of; False where nothing but progress is new."""
        self._not_found: dict[str, None] = {}
        self._pace = ProgressPace(self._progress_is_due)
        self._arrived = asyncio.Event()
        self._error: TailraceError | None = None
        self.done_count = 0
        """Targets that were told to be done, or not to exist."""
        self.has_failed = False
        """Whether one of them was told to be in FAILURE or REVOKED."""

    @property
    def target_count(self) -> int:
        """How many tasks are followed; one counts until the last word of it was taken."""
        return len(self._open) + len(self._not_found)

    @property
    def is_answered(self) -> bool:
        """Whether every target's state at the time when it was added has been taken."""
        return not self._unanswered and not self._changed and not self._not_found

    @property
    def is_all_done(self) -> bool:
        """Whether nothing is left to wait for."""
        return not self._open

    def count_new(self, task_ids: Iterable[str]) -> int:
        """Count the tasks that are not followed yet, one named twice once."""
        return len({task_id for task_id in task_ids if task_id not in self._open})

    def add(self, targets: Mapping[str, int | None]) -> None:
        """Follow more tasks, each with the revision seen last, or None; those that are followed already stay as is.

        Every target is answered with its current outcome, then with every change until it is done.
        """
        for task_id, revision in targets.items():
            if task_id not in self._open or task_id in self._expected:
                # One that was only expected is followed now whatever becomes of its submit.
                self._expected.discard(task_id)
                self._take_back_not_found(task_id)
                self._open[task_id] = revision
                self._unanswered.add(task_id)
                self._waiting.join(task_id, self, is_bulk=len(self._unanswered) > BULK)

    def drop(self, task_ids: Iterable[str]) -> None:
        """Follow tasks no longer; nothing is told of them from now on."""
        for task_id in task_ids:
            if task_id in self._open:
                self._changed.pop(task_id, None)
                self._leave(task_id)
            self._take_back_not_found(task_id)

    def expect(self, task_id: str) -> None:
        """Follow a task that is about to be submitted, so that no change is missed whenever it comes.

        Nothing is told of it until ``release``, to be called once for each ``expect``.
        """
        self._held[task_id] = self._held.get(task_id, 0) + 1
        self._changed.pop(task_id, None)
        if task_id not in self._open:
            self._open[task_id] = None
            if self._take_back_not_found(task_id):
                # It was added before and is to be answered whatever becomes of its submit.
                self._unanswered.add(task_id)
            else:
                self._expected.add(task_id)
            self._waiting.expect(task_id, self)

    def accepted(self, task_id: str, revision: int | None) -> None:
        """Go on with an expected task, now that the store has it.

        ``revision`` is what the answer to the submit tells; None where the task existed, so that its current outcome
        is told as if it had been added.
        """
        if task_id not in self._open:
            return
        self._expected.discard(task_id)
        if revision is None:
            self._open[task_id] = None
            self._unanswered.add(task_id)
            self._waiting.join(task_id, self)
        else:
            self._open[task_id] = revision
            self._unanswered.discard(task_id)
            self._waiting.confirm(task_id)

    def release(self, task_id: str) -> None:
        """Tell of a task what there is, now that the answer to its submit was told; one not accepted is dropped."""
        left = self._held.pop(task_id, 0) - 1
        if left > 0:
            self._held[task_id] = left
        elif task_id in self._expected:
            self._leave(task_id)
        elif task_id in self._open:
            self._waiting.catch_up(task_id, self)

    async def wait(self, timeout_s: float) -> None:
        """Return when there is something to take, when somebody else called ``wake``, or when the time is over.

        What came since the last ``take`` began counts; it may turn out to be nothing new.
        """
        if self._changed or self._not_found:
            return
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
            StoreEmptiedError: The store lost its data; nothing is waited for any more.
            StoreUnavailableError: A large outcome had to be read again and could not be; take it later.
        """
        self._arrived.clear()
        if self._error is not None:
            raise self._error
        message = Message()
        while self._changed and not message.is_full:
            # Taken off before they are looked at: what changes meanwhile puts them back.
            taken = [self._changed.popitem(last=False) for _ in range(min(TAKE_STEP, len(self._changed)))]
            try:
                outcomes = await self._waiting.current([task_id for task_id, _ in taken if task_id in self._open])
            except BaseException as error:
                for task_id, is_change in taken:
                    if task_id not in self._held:
                        self._mark(task_id, is_change=is_change)
                if message.snapshots and isinstance(error, TailraceError):
                    break
                raise
            for task_id, is_change in taken:
                if task_id in self._open and task_id not in self._held:
                    self._take_one(task_id, outcomes, message, is_change=is_change)
        not_found = tuple(islice(self._not_found, MAX_NOT_FOUND))
        for task_id in not_found:
            del self._not_found[task_id]
        return News(snapshots=tuple(message.snapshots), not_found=not_found)

    def fail(self, error: TailraceError) -> None:
        """End the wait with an error, which ``take`` raises."""
        self.close()
        self._error = error
        self._arrived.set()

    def close(self) -> None:
        """Stop waiting. A second call does nothing."""
        for task_id in self._open:
            self._waiting.leave(task_id, self)
        self._open.clear()
        self._expected.clear()
        self._pace.close()

    def notice(self, snapshot: TaskSnapshot) -> None:
        """Hear of an outcome, which is to be told unless it is the one seen last or nobody wants it."""
        task_id = snapshot.task_id
        if task_id in self._held or task_id not in self._open:
            return
        is_first = task_id in self._unanswered
        self._unanswered.discard(task_id)
        is_new = snapshot.is_done or snapshot.revision != self._open[task_id]
        if is_new and (is_first or snapshot.is_done or not self.done_only):
            self._mark(task_id, is_change=True)
        elif is_first and self.include_progress and snapshot.progress is not None:
            # The caller knows the revision, but not what was said since.
            self._mark(task_id, is_change=False)
        if is_first and not self._unanswered:
            self._arrived.set()

    def notice_progress(self, task_id: str) -> None:
        """Hear that there may be progress, which is told at most every PROGRESS_INTERVAL_S."""
        is_told_anyway = task_id in self._changed or task_id in self._unanswered
        if task_id in self._open and task_id not in self._held and not is_told_anyway:
            self._pace.notice(task_id)

    def notice_not_found(self, task_id: str) -> None:
        """Hear that a task does not exist."""
        if task_id not in self._held:
            self._forget(task_id)
            self._arrived.set()

    def wants_unfinished(self, task_id: str) -> bool:
        """Tell whether changes that do not end a task matter to this caller."""
        return not self.done_only or task_id in self._unanswered

    def _mark(self, task_id: str, *, is_change: bool) -> None:
        self._changed[task_id] = is_change or self._changed.get(task_id, False)
        self._arrived.set()

    def _progress_is_due(self, task_id: str) -> None:
        if task_id in self._open and task_id not in self._held:
            self._mark(task_id, is_change=False)

    def _take_one(
        self, task_id: str, outcomes: Mapping[str, TaskSnapshot | None], message: Message, *, is_change: bool
    ) -> None:
        snapshot = outcomes.get(task_id)
        if snapshot is not None and message.add(snapshot):
            self._told(snapshot)
        elif snapshot is None and task_id in outcomes:
            self._forget(task_id)
        else:
            self._mark(task_id, is_change=is_change)

    def _told(self, snapshot: TaskSnapshot) -> None:
        task_id = snapshot.task_id
        if snapshot.is_done:
            self.done_count += 1
            self.has_failed = self.has_failed or snapshot.state is not TaskState.SUCCESS
            self._leave(task_id)
            return
        self._open[task_id] = snapshot.revision
        if self.include_progress:
            self._pace.told(task_id)
            if self._changed.get(task_id) is False:
                # Came while this was read: it is not to follow on its heels.
                del self._changed[task_id]
                self._pace.notice(task_id)

    def _forget(self, task_id: str) -> None:
        if task_id in self._open:
            self.done_count += 1
            self._not_found[task_id] = None
            self._leave(task_id)

    def _take_back_not_found(self, task_id: str) -> bool:
        """Leave untold that a task does not exist: whoever names it anew wants to know what is by then."""
        if task_id not in self._not_found:
            return False
        del self._not_found[task_id]
        self.done_count -= 1
        return True

    def _leave(self, task_id: str) -> None:
        del self._open[task_id]
        self._unanswered.discard(task_id)
        self._expected.discard(task_id)
        self._pace.forget(task_id)
        self._waiting.leave(task_id, self)
