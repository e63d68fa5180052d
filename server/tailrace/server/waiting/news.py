"""What a subscription has to tell, cut to what one message holds."""

from dataclasses import dataclass

from tailrace.server.domain.limits import FILL_MESSAGE_BYTES
from tailrace.server.domain.task import TaskSnapshot
from tailrace.server.waiting.entries import payload_bytes

MAX_SNAPSHOTS = 1_000
MAX_NOT_FOUND = 2_000
"""Together, and with payloads up to FILL_MESSAGE_BYTES, well below what may leave the server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What a subscription has to tell at one time."""

    snapshots: tuple[TaskSnapshot, ...]
    not_found: tuple[str, ...]


class Message:
    """The outcomes that go into one message, the first of any size."""

    def __init__(self) -> None:
        self.snapshots: list[TaskSnapshot] = []
        self.is_full = False
        self._size_bytes = 0

    def add(self, snapshot: TaskSnapshot) -> bool:
        """Take an outcome; False where there is no room for it, nor for any that follows."""
        self._size_bytes += payload_bytes(snapshot)
        is_over = self._size_bytes > FILL_MESSAGE_BYTES or len(self.snapshots) >= MAX_SNAPSHOTS
        self.is_full = self.is_full or (bool(self.snapshots) and is_over)
        if not self.is_full:
            self.snapshots.append(snapshot)
        return not self.is_full
