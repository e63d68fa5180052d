"""Gates at which executions wait until the test lets them through.

A gate is a locked file: whoever waits sleeps in the kernel, and a test that ends lets everybody through.
"""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.faults.journal import DIRECTORY_VARIABLE

SUFFIX = ".gate"


class Gate:
    """A gate in a test's directory, shut until it is opened or its block ends."""

    def __init__(self, directory: Path, name: str) -> None:
        self._file = (directory / f"{name}{SUFFIX}").open("wb")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.open()

    def open(self) -> None:
        """Let everybody through from now on. A second call does nothing."""
        self._file.close()


def pass_gate(name: str) -> None:
    """Wait, in a worker, until a gate is open; one that was never made is."""
    path = Path(os.environ[DIRECTORY_VARIABLE], f"{name}{SUFFIX}")
    if path.exists():
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
