"""The leases that this worker holds, and which of them want a beat. No I/O: the caller says what time it is."""

import enum
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Self

from google.protobuf.duration_pb2 import Duration

from tailrace.v1 import task_pb2
from tailrace.v1 import worker_service_pb2 as wire

MIN_BEAT_INTERVAL_S = 0.5
MAX_BEATS_PER_FRAME = 1000
MAX_BEAT_FRAME_BYTES = 3 * 1024 * 1024
MAX_HELD_LEASES_IN_HELLO = 10_000

_DEFAULT_START_TIMEOUT_S = 10.0
_DEFAULT_LEASE_S = 30.0


class LeaseKey(NamedTuple):
    """One delivery of one task, as it is named on the wire."""

    task_id: str
    lease_token: bytes

    @classmethod
    def of(cls, message: wire.LeaseRef | wire.LeaseStatus | wire.AttemptResultAck | wire.ReleaseItem) -> Self:
        """Read the key out of anything that names a lease."""
        return cls(message.task_id, message.lease_token)

    def to_wire(self) -> wire.LeaseRef:
        """Render the key as the contract's message."""
        return wire.LeaseRef(task_id=self.task_id, lease_token=self.lease_token)


class Phase(enum.Enum):
    """How far this worker has come with a lease."""

    WAITING = "waiting"
    """Received; no slot is free."""
    STARTING = "starting"
    """Has a slot; its first beat is not known to be on the stream yet, so none of the task's code has run."""
    RUNNING = "running"
    """The task's code runs."""
    ENDED = "ended"
    """The outcome waits for its acknowledgement; until then the lease is kept, or the outcome would be refused."""


@dataclass(slots=True, kw_only=True)
class _Held:
    assignment: wire.Assignment
    phase: Phase
    beat_due_at: float
    start_timeout_s: float
    lease_s: float
    is_revoked: bool = False
    beaten_at: float = float("-inf")
    progress: task_pb2.Progress | None = None
    progress_is_news: bool = False

    @property
    def beat_interval_s(self) -> float:
        waiting = self.phase is Phase.WAITING
        return max(MIN_BEAT_INTERVAL_S, (self.start_timeout_s if waiting else self.lease_s) / 3)


class LeaseBook:
    """Every lease held, by key. Not thread-safe.

    Times are seconds of one monotonic clock. A lease's length counts from when it was received or last confirmed
    here, never from a timestamp made elsewhere.
    """

    def __init__(self) -> None:
        self._held: dict[LeaseKey, _Held] = {}
        self._first_beats: deque[LeaseKey] = deque()
        self._last_words: deque[wire.LeaseBeat] = deque()
        self._routine_due_at: float | None = None
        self._last_routine_at = float("-inf")

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, key: LeaseKey) -> bool:
        return key in self._held

    def held(self) -> list[LeaseKey]:
        """List the leases, oldest first."""
        return list(self._held)

    def phase(self, key: LeaseKey) -> Phase | None:
        """Tell how far a lease has come; None when it is not held."""
        held = self._held.get(key)
        return held.phase if held else None

    def note_revoked(self, key: LeaseKey) -> bool:
        """Note that a lease's task is asked to stop; False when it is not held, or was asked before."""
        held = self._held.get(key)
        if held is None or held.is_revoked:
            return False
        held.is_revoked = True
        return True

    def is_revoked(self, key: LeaseKey) -> bool:
        """Tell whether a lease is held whose task was asked to stop."""
        held = self._held.get(key)
        return held is not None and held.is_revoked

    def note_progress(self, key: LeaseKey, progress: task_pb2.Progress, now: float) -> bool:
        """Have a running task's progress told with a beat, half a second after the last one at the soonest.

        False when no beat is due sooner for it.
        """
        held = self._held.get(key)
        if held is None or held.phase is not Phase.RUNNING:
            return False
        held.progress, held.progress_is_news = progress, True
        due_at = max(now, held.beaten_at + MIN_BEAT_INTERVAL_S)
        if due_at >= held.beat_due_at:
            return False
        self._schedule(held, due_at)
        return True

    def speed_progress(self, key: LeaseKey) -> None:
        """Have what is news of a lease's progress told at once: its attempt is about to end."""
        held = self._held.get(key)
        if held is not None and held.progress_is_news:
            self._last_words.append(self._beat(key))

    def take_last_words(self) -> list[wire.LeaseBeat]:
        """Take the beats that have to be told before their attempts end, at most one frame of them."""
        beats: list[wire.LeaseBeat] = []
        room_bytes = MAX_BEAT_FRAME_BYTES
        while self._last_words and len(beats) < MAX_BEATS_PER_FRAME:
            room_bytes -= self._last_words[0].ByteSize()
            if beats and room_bytes < 0:
                break
            beats.append(self._last_words.popleft())
        return beats

    def assignment(self, key: LeaseKey) -> wire.Assignment:
        """Return what was delivered under a lease that is held."""
        return self._held[key].assignment

    def add(self, assignment: wire.Assignment, now: float) -> LeaseKey | None:
        """Take a delivery in, WAITING. Returns None when it is held already."""
        key = LeaseKey.of(assignment.lease)
        if key in self._held:
            return None
        held = _Held(
            assignment=assignment,
            phase=Phase.WAITING,
            beat_due_at=now,
            start_timeout_s=_seconds(assignment.start_timeout, _DEFAULT_START_TIMEOUT_S),
            lease_s=_seconds(assignment.lease_duration, _DEFAULT_LEASE_S),
        )
        self._held[key] = held
        self._schedule(held, now + held.beat_interval_s)
        return key

    def start(self, key: LeaseKey) -> None:
        """Give a waiting lease its slot: its first beat is due at once."""
        held = self._held[key]
        held.phase = Phase.STARTING
        self._first_beats.append(key)

    def confirm_started(self, keys: Iterable[LeaseKey], now: float) -> list[LeaseKey]:
        """Note that first beats are on the stream. Returns those whose code may run now, each once."""
        started = [key for key in keys if self.phase(key) is Phase.STARTING]
        for key in started:
            held = self._held[key]
            held.phase = Phase.RUNNING
            self._schedule(held, now + held.beat_interval_s)
        return started

    def end(self, key: LeaseKey) -> None:
        """Note that a lease's task has ended and its outcome waits to be acknowledged."""
        self._held[key].phase = Phase.ENDED

    def drop(self, key: LeaseKey) -> None:
        """Forget a lease; one that is not held is no fault."""
        self._held.pop(key, None)

    def beat_again(self, key: LeaseKey, now: float) -> None:
        """Repeat a beat that the server could not judge, as soon as beats may go."""
        held = self._held.get(key)
        if held:
            held.progress_is_news = held.progress is not None
            self._schedule(held, now + MIN_BEAT_INTERVAL_S)

    def resume(self, now: float) -> None:
        """Make every lease's beat due: a new stream knows nothing of what an older one was told."""
        self._first_beats = deque(key for key, held in self._held.items() if held.phase is Phase.STARTING)
        self._last_routine_at = float("-inf")
        for held in self._held.values():
            held.progress_is_news = held.progress is not None
            held.beaten_at = float("-inf")
            self._schedule(held, now)

    def take_first_beats(self) -> list[LeaseKey]:
        """Take the leases that are about to start, at most one frame of them."""
        keys: list[LeaseKey] = []
        while self._first_beats and len(keys) < MAX_BEATS_PER_FRAME:
            key = self._first_beats.popleft()
            if key in self._held:
                keys.append(key)
        return keys

    def take_due_beats(self, now: float) -> list[wire.LeaseBeat]:
        """Take the beats that keep leases alive, at most one frame of them, never two frames within half a second.

        What falls due before the next frame may go comes along with this one.
        """
        due_at = self.next_due_at()
        if due_at is None or now < due_at:
            return []
        due = self._due(now)
        taken = self._fitting(due)
        for key in taken:
            self._held[key].beaten_at = now
            self._held[key].beat_due_at = now + self._held[key].beat_interval_s
        if 0 < len(due) == len(taken):  # what did not fit follows at once
            self._last_routine_at = now
        self._routine_due_at = min((held.beat_due_at for _, held in self._routine()), default=None)
        return [self._beat(key) for key in taken]

    def _due(self, now: float) -> list[LeaseKey]:
        if not any(held.beat_due_at <= now for _, held in self._routine()):
            return []  # whatever was due first has ended meanwhile
        soon = now + MIN_BEAT_INTERVAL_S
        return [
            key
            for key, held in self._routine()
            if held.beat_due_at <= soon and held.beaten_at + MIN_BEAT_INTERVAL_S <= now
        ]

    def _fitting(self, keys: list[LeaseKey]) -> list[LeaseKey]:
        """Take as many as one frame carries, at least one."""
        room_bytes = MAX_BEAT_FRAME_BYTES
        for index, key in enumerate(keys[:MAX_BEATS_PER_FRAME]):
            held = self._held[key]
            if held.progress is not None and held.progress_is_news:
                room_bytes -= held.progress.ByteSize()
            if index and room_bytes < 0:
                return keys[:index]
        return keys[:MAX_BEATS_PER_FRAME]

    def next_due_at(self) -> float | None:
        """Tell when take_due_beats has something next; None while there is nothing to keep alive."""
        if self._routine_due_at is None:
            return None
        return max(self._routine_due_at, self._last_routine_at + MIN_BEAT_INTERVAL_S)

    def _routine(self) -> Iterator[tuple[LeaseKey, _Held]]:
        """Leave out what is starting: its first beat goes ahead of all others and is counted by itself."""
        return ((key, held) for key, held in self._held.items() if held.phase is not Phase.STARTING)

    def _schedule(self, held: _Held, due_at: float) -> None:
        held.beat_due_at = due_at
        self._routine_due_at = due_at if self._routine_due_at is None else min(self._routine_due_at, due_at)

    def _beat(self, key: LeaseKey) -> wire.LeaseBeat:
        held = self._held[key]
        progress = held.progress if held.progress_is_news else None
        held.progress_is_news = False
        return wire.LeaseBeat(lease=key.to_wire(), waiting=held.phase is Phase.WAITING, progress=progress)


def _seconds(duration: Duration, default: float) -> float:
    seconds = duration.seconds + duration.nanos / 1e9
    return seconds if seconds > 0 else default
