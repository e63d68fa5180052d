"""Tasks that are followed on a Watch stream: what to add and to drop, and whom to tell what became of them.

A task that was submitted on the stream is followed from then on, so that waiting for it costs no call. What it came to
is kept for whoever holds its handle and has not asked yet, within bounds; beyond them it is asked for anew.
"""

import re
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterable
from typing import Final

from tailrace.client._outcome import Outcome
from tailrace.client._outgoing import MakeError
from tailrace.client._waiting import Finished
from tailrace.v1.task_pb2 import TaskResult
from tailrace.v1.task_service_pb2 import WaitTarget, WatchRequest, WatchResponse

MAX_TARGETS: Final = 75_000
"""Tasks that somebody waits for, of the 100,000 that a stream takes; what is beyond waits on streams of its own."""

MAX_IDLE: Final = 20_000
"""Tasks that are followed though nobody waits yet; beyond it the oldest are followed no longer."""

MAX_KEPT: Final = 10_000
"""Outcomes that nobody has asked for yet; beyond it the oldest are let go."""

MAX_KEPT_BYTES: Final = 16 << 20

MAX_ADDED: Final = 5_000
"""Targets that go into one message: about 250 KB, so that what is behind it need not wait long."""

_VALID_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}\Z")

Notice = list[Finished] | MakeError | None
"""Ends of tasks; what to raise, as there will be no more; None: to be waited for by calls of one's own."""


def are_followable(task_ids: Iterable[str]) -> bool:
    """Tell whether a server takes all of these as ids; a single one that is none would end the stream of all."""
    return all(_VALID_ID.match(task_id) for task_id in task_ids)


class Interest:
    """Held by a handle: when that goes, nobody can ask what its task came to any more.

    Says so without a lock, as it may be collected in the middle of anything.
    """

    __slots__ = ("_gone", "_task_id")

    def __init__(self, task_id: str, gone: "deque[str]") -> None:
        self._task_id = task_id
        self._gone = gone

    def __del__(self) -> None:
        self._gone.append(self._task_id)


class Listener:
    """Somebody who waits for tasks."""

    __slots__ = ("_news", "_tell", "count", "open")

    def __init__(self, tell: Callable[[Notice], object]) -> None:
        self._tell = tell
        self._news: list[Finished] = []
        self.open: dict[str, None] = {}
        """The tasks still to hear of."""
        self.count = 0
        """How many tasks it was ever to hear of."""

    def note(self, finished: Finished) -> None:
        """Keep an end until ``flush``."""
        if finished.task_id in self.open:
            del self.open[finished.task_id]
            self._news.append(finished)

    def flush(self) -> None:
        """Tell what was noted, if anything."""
        if self._news:
            news, self._news = self._news, []
            self._tell(news)

    def end(self, notice: MakeError | None) -> None:
        """Tell why no more will come, after all that was noted."""
        self.flush()
        self._tell(notice)


class _Target:
    __slots__ = ("listeners", "revision")

    def __init__(self) -> None:
        self.revision = 0
        self.listeners: list[Listener] = []


class Targets:
    """All that is followed, or was until it ended and nobody has asked yet."""

    def __init__(self) -> None:
        self._targets: dict[str, _Target] = {}
        self._idle: OrderedDict[str, None] = OrderedDict()
        self._to_add: dict[str, None] = {}
        self._to_drop: dict[str, None] = {}
        self._kept: OrderedDict[str, TaskResult] = OrderedDict()
        self._kept_bytes = 0
        self._gone: deque[str] = deque()
        self._leaving: deque[Listener] = deque()

    @property
    def has_news(self) -> bool:
        """Whether there may be anything to say to the server."""
        return bool(self._to_add or self._to_drop or self._leaving)

    @property
    def is_waited_for(self) -> bool:
        """Whether anybody waits."""
        return len(self._targets) > len(self._idle)

    def interest_in(self, task_id: str) -> Interest:
        """Return what keeps a submitted task followed."""
        return Interest(task_id, self._gone)

    def follow(self, task_ids: Collection[str], listener: Listener) -> bool:
        """Have a listener told of tasks; False, and nothing done, where there are too many for one stream."""
        self._let_go()
        if len(self._targets) - len(self._idle) + len(task_ids) > MAX_TARGETS:
            return False
        for task_id in task_ids:
            if task_id in listener.open:
                continue
            listener.open[task_id] = None
            listener.count += 1
            if (kept := self.claim(task_id)) is not None:
                listener.note(Finished(task_id=task_id, outcome=Outcome(kept)))
            else:
                self._join(task_id, listener)
        listener.flush()
        return True

    def leave(self, listener: Listener) -> None:
        """Tell a listener nothing any more, from the next message on.

        Needs no lock: a generator that waits may be collected in the middle of anything.
        """
        if listener.open:
            self._leaving.append(listener)

    def claim(self, task_id: str) -> TaskResult | None:
        """Take what is kept of a task that is done."""
        kept = self._kept.pop(task_id, None)
        if kept is not None:
            self._kept_bytes -= kept.ByteSize()
        return kept

    def expect(self, task_ids: Iterable[str]) -> None:
        """Follow tasks that are being submitted: the server does too, from then on."""
        for task_id in task_ids:
            self.claim(task_id)
            self._to_drop.pop(task_id, None)
            if task_id not in self._targets:
                self._targets[task_id] = _Target()
                self._idle[task_id] = None

    def accepted(self, task_id: str, task: TaskResult) -> None:
        """Learn the revision that the answer to a submit tells."""
        target = self._targets.get(task_id)
        if target is not None and not task.done:
            target.revision = task.revision

    def refused(self, task_id: str) -> None:
        """Forget a task that was not accepted; one that is waited for has to be followed in its own right."""
        if task_id in self._idle:
            del self._idle[task_id]
            del self._targets[task_id]
        elif task_id in self._targets:
            # Whoever joined since the submit was sent relied on it.
            self._to_add[task_id] = None

    def fill(self, message: WatchRequest) -> None:
        """Put what to add and to drop into a message."""
        self._let_go()
        while len(self._idle) > MAX_IDLE:
            self._drop(next(iter(self._idle)))
        for task_id in _first(self._to_add, MAX_ADDED):
            del self._to_add[task_id]
            target = self._targets.get(task_id)
            if target is not None:
                message.add.append(WaitTarget(task_id=task_id, after_revision=target.revision))
        dropped = _first(self._to_drop, MAX_ADDED)
        for task_id in dropped:
            del self._to_drop[task_id]
        message.drop_task_ids.extend(dropped)

    def take(self, response: WatchResponse) -> None:
        """Tell what a message says to those who wait for it."""
        listeners: dict[Listener, None] = {}
        for task in response.tasks:
            if task.done:
                self._finish(task.task_id, task, listeners)
            elif (target := self._targets.get(task.task_id)) is not None:
                target.revision = task.revision
        for task_id in response.not_found_task_ids:
            self._finish(task_id, None, listeners)
        for listener in listeners:
            listener.flush()
        self._let_go()

    def begin_anew(self) -> None:
        """Follow on the next stream what is waited for, and nothing else."""
        self._let_go()
        for task_id in self._idle:
            del self._targets[task_id]
        self._idle.clear()
        self._to_drop.clear()
        self._to_add = dict.fromkeys(self._targets)

    def end_all(self, notice: MakeError | None) -> None:
        """Tell everybody that nothing more will come, and forget what is followed."""
        listeners = {listener: None for target in self._targets.values() for listener in target.listeners}
        self._targets.clear()
        self._idle.clear()
        self._to_add.clear()
        self._to_drop.clear()
        for listener in listeners:
            listener.end(notice)

    def _join(self, task_id: str, listener: Listener) -> None:
        target = self._targets.get(task_id)
        if target is None:
            target = self._targets[task_id] = _Target()
            if task_id in self._to_drop:
                # Not said yet, so the server follows it still.
                del self._to_drop[task_id]
            else:
                self._to_add[task_id] = None
        self._idle.pop(task_id, None)
        target.listeners.append(listener)

    def _finish(self, task_id: str, task: TaskResult | None, listeners: dict[Listener, None]) -> None:
        self._to_drop.pop(task_id, None)
        self._to_add.pop(task_id, None)
        target = self._targets.pop(task_id, None)
        if target is None:
            return
        if target.listeners:
            finished = Finished(task_id=task_id, outcome=None if task is None else Outcome(task))
            for listener in target.listeners:
                listener.note(finished)
                listeners[listener] = None
        elif task_id in self._idle:
            del self._idle[task_id]
            if task is not None:
                self._keep(task)

    def _keep(self, task: TaskResult) -> None:
        self._kept[task.task_id] = task
        self._kept_bytes += task.ByteSize()
        while len(self._kept) > MAX_KEPT or self._kept_bytes > MAX_KEPT_BYTES:
            self.claim(next(iter(self._kept)))

    def _let_go(self) -> None:
        """Forget what nobody can ask for, or waits for, any more."""
        while self._leaving:
            self._part_with(self._leaving.popleft())
        while self._gone:
            task_id = self._gone.popleft()
            self.claim(task_id)
            if task_id in self._idle:
                self._drop(task_id)

    def _part_with(self, listener: Listener) -> None:
        for task_id in listener.open:
            target = self._targets.get(task_id)
            if target is not None and listener in target.listeners:
                target.listeners.remove(listener)
                if not target.listeners:
                    self._drop(task_id)

    def _drop(self, task_id: str) -> None:
        del self._targets[task_id]
        self._idle.pop(task_id, None)
        if task_id in self._to_add:
            del self._to_add[task_id]
        else:
            self._to_drop[task_id] = None


def _first(entries: dict[str, None], count: int) -> list[str]:
    return [entry for entry, _ in zip(entries, range(count), strict=False)]
