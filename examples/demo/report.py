"""What the demo shows: a bar while it runs, a table when it is over."""

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from examples.demo.jobs import Job

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How one task came out."""

    job: Job
    state: str
    value: Any
    attempts: int
    latency_s: float
    """From its submit to the moment this process was told of its end."""

    @property
    def is_expected(self) -> bool:
        return (self.state, self.value, self.attempts) == (self.job.state, self.job.value, self.job.attempts)


def show_progress(console: Console, items: Iterable[T], total: int) -> Iterator[T]:
    """Pass items through, counting them on a bar, or on a line for every tenth part where there is no terminal."""
    if not console.is_terminal:
        for count, item in enumerate(items, start=1):
            yield item
            if count == total or count % max(1, total // 10) == 0:
                console.print(f"{count} of {total} tasks are done")
        return
    columns = (TextColumn("waiting, by push"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("", total=total)
        for item in items:
            yield item
            progress.advance(bar)


def table_of(endings: Iterable[Ending]) -> Table:
    """Sum up by task type."""
    by_type: dict[str, list[Ending]] = defaultdict(list)
    for ending in endings:
        by_type[ending.job.task_type].append(ending)

    table = Table(title="What happened")
    table.add_column("task", no_wrap=True)
    for heading in ("tasks", "attempts", "p50", "p95", "as expected"):
        table.add_column(heading, justify="right")
    table.add_column("ended as", no_wrap=True)
    for task_type, group in by_type.items():
        latencies_s = [ending.latency_s for ending in group]
        p95_s = statistics.quantiles(latencies_s, n=20, method="inclusive")[-1] if len(group) > 1 else latencies_s[0]
        states = Counter(ending.state for ending in group)
        table.add_row(
            task_type,
            str(len(group)),
            str(sum(ending.attempts for ending in group)),
            f"{statistics.median(latencies_s) * 1000:.0f} ms",
            f"{p95_s * 1000:.0f} ms",
            str(sum(ending.is_expected for ending in group)),
            ", ".join(f"{state} {count}" for state, count in states.items()),
        )
    return table
