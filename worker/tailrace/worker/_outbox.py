"""What the server has yet to acknowledge: results and releases. Kept until it does, and sent again. No I/O."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from tailrace.v1 import task_pb2
from tailrace.v1 import worker_service_pb2 as wire
from tailrace.worker._leases import LeaseKey

MAX_ITEMS_PER_FRAME = 1000
MAX_RESULT_FRAME_BYTES = 3 * 1024 * 1024
DEFAULT_MAX_FRAME_BYTES = 4 * 1024 * 1024
"""What a server reads that names no limit: gRPC's own default."""

_FRAME_OVERHEAD_BYTES = 16  # field tags and lengths around the results of one frame
_ITEM_OVERHEAD_BYTES = 8


@dataclass(slots=True, kw_only=True)
class _Entry:
    result: wire.AttemptResult | None  # None: a release
    size_bytes: int = 0
    postponements: int = 0


class AckQueue:
    """Things in the order in which they are to be sent, each kept until it is acknowledged. Not thread-safe."""

    def __init__(self, retry_pause_s: Callable[[int], float]) -> None:
        self._entries: dict[LeaseKey, _Entry] = {}
        self._ready: deque[LeaseKey] = deque()
        self._postponed: dict[LeaseKey, float] = {}
        self._retry_pause_s = retry_pause_s

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: LeaseKey) -> bool:
        return key in self._entries

    def put(self, key: LeaseKey, result: wire.AttemptResult | None = None) -> None:
        """Queue a result, or a release when there is none."""
        size_bytes = result.ByteSize() + _ITEM_OVERHEAD_BYTES if result else 0
        self._entries[key] = _Entry(result=result, size_bytes=size_bytes)
        self._ready.append(key)

    def drop(self, key: LeaseKey) -> bool:
        """Forget an entry, acknowledged or pointless. False when there was none."""
        self._postponed.pop(key, None)
        return self._entries.pop(key, None) is not None

    def postpone(self, key: LeaseKey, now: float) -> None:
        """Send an entry again, after a while that grows with every time."""
        entry = self._entries.get(key)
        if entry:
            entry.postponements += 1
            self._postponed[key] = now + self._retry_pause_s(entry.postponements)

    def resend_all(self) -> None:
        """Make everything due: a new stream knows nothing of what an older one carried."""
        self._postponed.clear()
        self._ready = deque(self._entries)

    def next_due_at(self) -> float | None:
        """Tell when a postponed entry is due; None when none is."""
        return min(self._postponed.values(), default=None)

    def take(self, now: float, max_bytes: int) -> list[tuple[LeaseKey, _Entry]]:
        """Take what fits one frame. The first entry always does."""
        self._wake(now)
        taken: list[tuple[LeaseKey, _Entry]] = []
        total_bytes = 0
        while self._ready and len(taken) < MAX_ITEMS_PER_FRAME:
            key = self._ready[0]
            entry = self._entries.get(key)
            if entry:
                total_bytes += entry.size_bytes
                if taken and total_bytes > max_bytes:
                    break
                taken.append((key, entry))
            self._ready.popleft()
        return taken

    def _wake(self, now: float) -> None:
        due = [key for key, due_at in self._postponed.items() if due_at <= now]
        for key in due:
            del self._postponed[key]
            self._ready.append(key)


class Outbox:
    """Results and releases on their way to the server. Not thread-safe."""

    def __init__(self, retry_pause_s: Callable[[int], float]) -> None:
        self._results = AckQueue(retry_pause_s)
        self._releases = AckQueue(retry_pause_s)

    def __len__(self) -> int:
        return len(self._results) + len(self._releases)

    def put_result(self, result: wire.AttemptResult) -> None:
        """Queue the outcome of an attempt."""
        self._results.put(LeaseKey.of(result.lease), result)

    def put_release(self, key: LeaseKey) -> None:
        """Queue giving a lease back."""
        self._releases.put(key)

    def drop(self, key: LeaseKey) -> bool:
        """Forget whatever waits for this lease. False when nothing did."""
        dropped = (self._results.drop(key), self._releases.drop(key))
        return any(dropped)

    def postpone(self, key: LeaseKey, now: float) -> None:
        """Send whatever waits for this lease again, later: the server could not say what became of it."""
        self._results.postpone(key, now)
        self._releases.postpone(key, now)

    def resend_all(self) -> None:
        """Make everything due on a new stream. Receivers know a result that they have had already."""
        self._results.resend_all()
        self._releases.resend_all()

    def next_due_at(self) -> float | None:
        """Tell when something postponed is due; None when nothing is."""
        dues = [due for due in (self._results.next_due_at(), self._releases.next_due_at()) if due is not None]
        return min(dues, default=None)

    def take_releases(self, now: float) -> wire.LeaseReleases | None:
        """Build a frame of releases; None when there are none."""
        entries = self._releases.take(now, MAX_RESULT_FRAME_BYTES)
        return wire.LeaseReleases(leases=[key.to_wire() for key, _ in entries]) if entries else None

    def take_results(self, now: float, max_frame_bytes: int) -> wire.AttemptResults | None:
        """Build a frame of results; None when there are none.

        A result that no frame can carry is replaced by the failure that says so: without it the task could never end.
        """
        budget_bytes = min(MAX_RESULT_FRAME_BYTES, max_frame_bytes) - _FRAME_OVERHEAD_BYTES
        entries = self._results.take(now, budget_bytes)
        if not entries:
            return None
        return wire.AttemptResults(results=[_carried(entry, max_frame_bytes) for _, entry in entries])


def _carried(entry: _Entry, max_frame_bytes: int) -> wire.AttemptResult:
    assert entry.result is not None
    if entry.size_bytes + _FRAME_OVERHEAD_BYTES <= max_frame_bytes:
        return entry.result
    failure = task_pb2.Failure(
        kind=task_pb2.FAILURE_KIND_SYSTEM,
        type="ResultTooLarge",
        message=f"the result takes {entry.size_bytes} bytes; the server reads at most {max_frame_bytes} at once",
        non_retryable=True,
    )
    return wire.AttemptResult(lease=entry.result.lease, failure=failure)
