"""What a worker is told to do, checked."""

import os
import re
import secrets
import socket
from dataclasses import dataclass
from datetime import timedelta
from importlib import metadata

from tailrace.client._settings import ADDRESS_VARIABLE, DEFAULT_ADDRESS
from tailrace.v1 import worker_service_pb2 as wire

DEFAULT_CONCURRENCY = 10
DEFAULT_GRACE_PERIOD = timedelta(seconds=30)

_MAX_CONCURRENCY = 10_000
_MAX_QUEUES = 64
_MAX_NAME = 100  # leaves room for what makes it unique within the 128 that the contract grants
_QUEUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """One worker's settings.

    Raises:
        ValueError: A value is out of bounds.
    """

    queues: tuple[str, ...] = ("default",)
    """Queues to draw from, most wanted first; 1 to 64."""
    address: str | None = None
    """The server, as HOST:PORT. None: what TAILRACE_ADDRESS says when the worker starts, else localhost:7440."""
    concurrency: int = DEFAULT_CONCURRENCY
    """Tasks at a time, threads and coroutines together; 1 to 10,000."""
    name: str | None = None
    """Printable ASCII, at most 100 characters; None: the host's name. The process adds what makes it unique."""
    grace_period: timedelta = DEFAULT_GRACE_PERIOD
    """How long running tasks may take to finish once the worker is told to stop."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.queues) <= _MAX_QUEUES:
            raise ValueError(f"a worker draws from 1 to {_MAX_QUEUES} queues, not {len(self.queues)}")
        for queue in self.queues:
            if not _QUEUE.fullmatch(queue):
                raise ValueError(f"{queue!r} is no queue: a letter or digit, then at most 63 letters, digits and ._-")
        if not 1 <= self.concurrency <= _MAX_CONCURRENCY:
            raise ValueError(f"concurrency must be from 1 to {_MAX_CONCURRENCY}, not {self.concurrency}")
        if self.name is not None and not (self.name.isascii() and self.name.isprintable() and self.name):
            raise ValueError(f"name must be printable ASCII, not {self.name!r}")
        if self.name is not None and len(self.name) > _MAX_NAME:
            raise ValueError(f"name may have at most {_MAX_NAME} characters, not {len(self.name)}")
        if self.grace_period < timedelta(0):
            raise ValueError("grace_period must not be negative")

    def resolved_address(self) -> str:
        """Return the server's address, from the environment where none was given."""
        return self.address or os.environ.get(ADDRESS_VARIABLE) or DEFAULT_ADDRESS

    def introduction(self) -> wire.WorkerInfo:
        """Build what this process calls itself; different every time."""
        name = self.name or _printable(socket.gethostname())
        worker_id = f"{name}-{os.getpid()}-{secrets.token_hex(4)}"
        return wire.WorkerInfo(worker_id=worker_id, queues=self.queues, sdk=f"python/{metadata.version('tailrace')}")


def _printable(hostname: str) -> str:
    kept = "".join(character for character in hostname if character.isascii() and character.isprintable())
    return kept[:_MAX_NAME] or "worker"
