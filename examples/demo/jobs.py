"""What the demo submits, and what each task has to come to."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_FILES = 200
SLOW_TASK_S = 3.0
_SKIPPED = {"__pycache__", "build", "dist", "node_modules"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One task to submit."""

    task_type: str
    args: tuple[Any, ...]
    state: str = "SUCCESS"
    """The state it has to end in."""
    value: Any = None
    """What it has to return."""
    attempts: int = 1
    """How many attempts that has to take."""


def jobs_for(checkout: Path, scratch: Path) -> list[Job]:
    """Make the list: two tasks for each file of the checkout, and some that do not go so smoothly."""
    jobs = [Job(task_type="think_hard", args=(SLOW_TASK_S,), value="42")]
    for path, data in _text_files(checkout):
        jobs.append(Job(task_type="checksum", args=(str(path),), value=hashlib.sha256(data).hexdigest()))
        jobs.append(Job(task_type="count_words", args=(str(path),), value=len(data.decode().split())))
    for number in range(8):
        file = str(scratch / f"flaky-{number}")
        jobs.append(Job(task_type="call_flaky_service", args=(file,), value="came through at try 3", attempts=3))
    empty_file = checkout / "client/tailrace/client/py.typed"
    jobs.append(Job(task_type="mean_word_length", args=(str(empty_file),), state="FAILURE"))
    return jobs


def _text_files(checkout: Path) -> Iterator[tuple[Path, bytes]]:
    found = 0
    for folder, folders, names in os.walk(checkout):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _SKIPPED)
        for name in sorted(names):
            data = (Path(folder) / name).read_bytes()
            if found < MAX_FILES and _is_text(data):
                found += 1
                yield Path(folder) / name, data


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return b"\0" not in data
