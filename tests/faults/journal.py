"""What was executed, told by the executions themselves: a file for each worker process, outside the system under test.

Every line is on disk before the execution goes on, so that it outlives whatever is done to the worker.
"""

import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

DIRECTORY_VARIABLE = "FAULTS_DIRECTORY"
SUFFIX = ".journal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One run of one task's code, finished or not."""

    execution_id: str
    task_id: str
    attempt: int
    pid: int


def begin(task_id: str, attempt: int) -> Execution:
    """Write down, in a worker, that an execution begins."""
    execution = Execution(execution_id=secrets.token_hex(8), task_id=task_id, attempt=attempt, pid=os.getpid())
    path = Path(os.environ[DIRECTORY_VARIABLE], f"{execution.pid}{SUFFIX}")
    with path.open("a", encoding="ascii") as journal:
        journal.write(json.dumps(asdict(execution)) + "\n")
        journal.flush()
        os.fsync(journal.fileno())
    return execution


def executions(directory: Path) -> list[Execution]:
    """Read, in a test, all that has begun so far; a line that is being written is left out."""
    found: list[Execution] = []
    for path in sorted(directory.glob(f"*{SUFFIX}")):
        whole, _, _ = path.read_text(encoding="ascii").rpartition("\n")
        found += [Execution(**json.loads(line)) for line in whole.splitlines()]
    return found


def count(directory: Path) -> int:
    """Count the executions that have begun so far."""
    return sum(path.read_bytes().count(b"\n") for path in directory.glob(f"*{SUFFIX}"))
