"""Starting anew when the program's source has changed, for development.

Looks at the files' times twice a second: some hundred calls that cost a millisecond, where being told by the system
would cost a dependency.
"""

import contextlib
import importlib.util
import os
import sys
import sysconfig
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

LOOK_EVERY_S = 0.5

_INSTALLED = ("site-packages", "dist-packages")


class SourceWatch:
    """Calls back, again and again, once a file of an imported module has changed that belongs to the project.

    That is any module but those of Python itself and of installed packages; the ones that are imported later too.
    """

    def __init__(self, on_change: Callable[[], None] = lambda: None, *, also: Iterable[Path] = ()) -> None:
        """Note how things are; nothing is looked at yet.

        Args:
            on_change: Called in a thread of its own.
            also: Files to look at besides.
        """
        self.changed: Path | None = None
        """The first file that changed; None: none has."""
        self._on_change = on_change
        self._seen = {path: _time_of(path) for path in {*also, *project_files()}}
        self._has_changed = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tailrace-worker-reload", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def wait(self) -> None:
        """Wait for a change."""
        self._has_changed.wait()

    def _run(self) -> None:
        while not self._ended.wait(LOOK_EVERY_S):
            self.changed = self.changed or self._look()
            if self.changed:
                self._has_changed.set()
                self._on_change()

    def _look(self) -> Path | None:
        for path in project_files():
            self._seen.setdefault(path, _time_of(path))
        for path, seen in self._seen.items():
            now = _time_of(path)
            if now != seen and now is not None:  # an editor that replaces a file leaves a moment without one
                return path
        return None


def project_files() -> set[Path]:
    """List the source files of the modules that are imported and belong to the project."""
    files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    python = (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"))
    return {
        Path(file)
        for file in files
        if file and not file.startswith(python) and not any(part in file for part in _INSTALLED)
    }


def files_behind(error: BaseException, module: str) -> Iterator[Path]:
    """List the files that may have to change before a module can be imported."""
    names = {frame.filename for frame in traceback.extract_tb(error.__traceback__)}
    cause = error.__cause__ or error.__context__
    if cause is not None:
        names |= {frame.filename for frame in traceback.extract_tb(cause.__traceback__)}
        names.add(getattr(cause, "filename", None) or "")
    with contextlib.suppress(ImportError, ValueError):
        spec = importlib.util.find_spec(module)
        names.add((spec and spec.origin) or "")
    return (Path(name) for name in names if name.endswith(".py"))


def bury_left_behind() -> None:
    """Let go of processes that have ended with the program in whose place this one has come."""
    with contextlib.suppress(ChildProcessError):  # there are none
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def start_anew() -> NoReturn:
    """Replace this program by itself, arguments, process id and all. Does not return."""
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 (there is no shell)


def _time_of(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None
