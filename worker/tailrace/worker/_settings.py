"""What a worker is told to do, checked: keyword arguments, then TAILRACE_* variables, then defaults."""

import os
import re
import secrets
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from importlib import metadata
from typing import Any

from tailrace.client._settings import ADDRESS_VARIABLE, DEFAULT_ADDRESS
from tailrace.v1 import worker_service_pb2 as wire

DEFAULT_CONCURRENCY = 10
DEFAULT_GRACE_PERIOD = timedelta(seconds=30)

_MAX_CONCURRENCY = 10_000
_MAX_PROCESSES = 1000
_MAX_QUEUES = 64
_MAX_NAME = 100  # leaves room for what makes it unique within the 128 that the contract grants
_QUEUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def _span(text: str) -> timedelta:
    return timedelta(seconds=float(text))


def _queues(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


# A server in the same environment has variables of its own, TAILRACE_GRACE for one.
VARIABLES: Mapping[str, tuple[str, Callable[[str], object], str]] = {
    "TAILRACE_WORKER_QUEUES": ("queues", _queues, "names with commas between them"),
    "TAILRACE_WORKER_CONCURRENCY": ("concurrency", int, "a whole number"),
    "TAILRACE_WORKER_THREADS": ("threads", int, "a whole number"),
    "TAILRACE_WORKER_PROCESSES": ("processes", int, "a whole number"),
    "TAILRACE_WORKER_MAX_TASKS_PER_CHILD": ("max_tasks_per_child", int, "a whole number"),
    "TAILRACE_WORKER_GRACE": ("grace_period", _span, "a number of seconds"),
    "TAILRACE_WORKER_NAME": ("name", str, "text"),
}
"""Variable -> field, how it is read, what it has to be."""


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
    """Tasks at a time, those of all executors together; 1 to 10,000."""
    threads: int | None = None
    """Those of them that may run in threads, at least 1; None: all."""
    processes: int | None = None
    """Those of them that may run in child processes, 1 to 1000, and never more than ``concurrency``; None: as many as
    there are processors for this process."""
    max_tasks_per_child: int | None = None
    """After how many tasks a child process is replaced by a fresh one, at least 1; None: never."""
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
        _check_bounds("concurrency", self.concurrency, _MAX_CONCURRENCY)
        _check_bounds("threads", self.threads, _MAX_CONCURRENCY)
        _check_bounds("processes", self.processes, _MAX_PROCESSES)
        if self.max_tasks_per_child is not None and self.max_tasks_per_child < 1:
            raise ValueError(f"max_tasks_per_child must be at least 1, not {self.max_tasks_per_child}")
        if self.name is not None and not (self.name.isascii() and self.name.isprintable() and self.name):
            raise ValueError(f"name must be printable ASCII, not {self.name!r}")
        if self.name is not None and len(self.name) > _MAX_NAME:
            raise ValueError(f"name may have at most {_MAX_NAME} characters, not {len(self.name)}")
        if self.grace_period < timedelta(0):
            raise ValueError("grace_period must not be negative")

    def resolved_address(self) -> str:
        """Return the server's address, from the environment where none was given."""
        return self.address or os.environ.get(ADDRESS_VARIABLE) or DEFAULT_ADDRESS

    def resolved_processes(self) -> int:
        """Return how many child processes there are to be."""
        return min(self.processes or _processors(), self.concurrency)

    def introduction(self) -> wire.WorkerInfo:
        """Build what this process calls itself; different every time."""
        name = self.name or _printable(socket.gethostname())
        worker_id = f"{name}-{os.getpid()}-{secrets.token_hex(4)}"
        return wire.WorkerInfo(worker_id=worker_id, queues=self.queues, sdk=f"python/{metadata.version('tailrace')}")


def resolve_settings(given: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> WorkerSettings:
    """Fill in what was not given, or given as None: from the environment, then by default.

    Raises:
        ValueError: A value cannot be read or is out of bounds; the text names it.
    """
    settings: dict[str, Any] = {}
    for variable, (field, read, kind) in VARIABLES.items():
        if text := environment.get(variable):
            try:
                settings[field] = read(text)
            except (ValueError, OverflowError):
                raise ValueError(f"{variable}: {text!r} is not {kind}") from None
    return WorkerSettings(**settings | {name: value for name, value in given.items() if value is not None})


def _check_bounds(name: str, value: int | None, most: int) -> None:
    if value is not None and not 1 <= value <= most:
        raise ValueError(f"{name} must be from 1 to {most}, not {value}")


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _printable(hostname: str) -> str:
    kept = "".join(character for character in hostname if character.isascii() and character.isprintable())
    return kept[:_MAX_NAME] or "worker"
