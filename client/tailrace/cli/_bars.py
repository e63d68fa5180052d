"""Bars that show somebody at a terminal how far tasks are. They are gone when the wait is over."""

import sys
from collections.abc import Collection
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Column
from rich.text import Text

from tailrace.cli._table import escape
from tailrace.client import Progress as TaskProgress

_MAX_BARS: Final = 8
"""Of tasks among many, at a time."""

_BAR_WIDTH = 20


def has_audience(*, as_json: bool) -> bool:
    """Tell whether somebody sees bars: neither a program nor a file reads what is written."""
    return not as_json and sys.stdout.isatty() and sys.stderr.isatty()


class Bars:
    """One bar for a single task; for several one that counts them, and one each for those that say how far they are."""

    def __init__(self, task_ids: Collection[str]) -> None:
        self._is_alone = len(task_ids) == 1
        what = "waiting" if self._is_alone else "tasks done"
        console = Console(highlight=False)
        self._progress = Progress(
            SpinnerColumn("line" if console.options.ascii_only else "dots"),
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")),
            BarColumn(_BAR_WIDTH),
            _CountColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._sum = self._progress.add_task(what, total=None if self._is_alone else len(task_ids))
        self._bars: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def advance(self, task_id: str, said: TaskProgress) -> None:
        """Show how far a task has come, where there is room for its bar."""
        bar = self._sum if self._is_alone else self._bars.get(task_id)
        if bar is None:
            if len(self._bars) >= _MAX_BARS:
                return
            bar = self._bars[task_id] = self._progress.add_task(task_id, total=None)
        self._progress.update(bar, completed=said.current, total=said.total, description=self._caption(task_id, said))

    def end(self, task_id: str, line: str) -> None:
        """Write a line about a task that is done, above the bars."""
        self._progress.console.print(line, markup=False, soft_wrap=True)
        if (bar := self._bars.pop(task_id, None)) is not None:
            self._progress.remove_task(bar)
        if not self._is_alone:
            self._progress.advance(self._sum)

    def _caption(self, task_id: str, said: TaskProgress) -> str:
        message = " ".join(escape(said.message).split())
        return message or "running" if self._is_alone else f"{task_id} {message}".rstrip()


class _CountColumn(ProgressColumn):
    """``3/10``; ``3`` of a task that does not say how many there are; nothing before it says anything."""

    def render(self, task: Task) -> Text:
        if task.total is None:
            return Text(f"{task.completed:,.0f}" if task.completed else "")
        return Text(f"{task.completed:,.0f}/{task.total:,.0f}")
