"""What a worker and its child processes say to each other: one byte that tells what it is, and a body."""

import enum
import struct
import threading
from multiprocessing.connection import Connection
from typing import Self

from tailrace.v1 import worker_service_pb2 as wire

_LIMIT = struct.Struct("!d")
_NO_LIMIT_S = float("inf")


class Word(enum.Enum):
    """What a message is."""

    # To the child.
    TASK = b"T"
    """Run this: how many seconds it may take, then the Assignment."""
    STOP = b"S"
    """What runs is to stop: b"1" if its time is up."""
    LEAVE = b"L"
    """There is nothing more to do."""

    # From the child.
    READY = b"R"
    """It can take tasks."""
    UNFIT = b"U"
    """It cannot, and ends: why, as text."""
    BEGUN = b"B"
    """The task's code runs from now on."""
    PROGRESS = b"P"
    """The task's Progress."""
    ENDED = b"E"
    """The task's AttemptResult."""
    RECORD = b"G"
    """A log record as JSON."""


class Pipe:
    """One end. One thread at a time may hear, any may say."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._lock = threading.Lock()

    def say(self, word: Word, body: bytes = b"") -> None:
        """Send a message.

        Raises:
            OSError: Nobody hears it any more.
        """
        with self._lock:
            self.connection.send_bytes(word.value + body)

    def hear(self) -> tuple[Word, bytes]:
        """Wait for a message.

        Raises:
            EOFError, OSError: There will be none.
        """
        message = self.connection.recv_bytes()
        return Word(message[:1]), message[1:]

    def close(self) -> None:
        """Let go of it. Again: no effect."""
        self.connection.close()


class TaskOrder:
    """The body of Word.TASK."""

    def __init__(self, assignment: wire.Assignment, time_left_s: float | None) -> None:
        self.assignment = assignment
        self.time_left_s = time_left_s

    def to_bytes(self) -> bytes:
        """Render it."""
        limit_s = _NO_LIMIT_S if self.time_left_s is None else self.time_left_s
        return _LIMIT.pack(limit_s) + self.assignment.SerializeToString()

    @classmethod
    def from_bytes(cls, body: bytes) -> Self:
        """Read it."""
        (limit_s,) = _LIMIT.unpack_from(body)
        assignment = wire.Assignment.FromString(body[_LIMIT.size :])
        return cls(assignment, None if limit_s == _NO_LIMIT_S else limit_s)
