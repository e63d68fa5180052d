"""What ``tailrace top`` shows, as lines that fit a screen."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from rich.text import Text

from tailrace.cli._columns import Column, fitted_lines
from tailrace.cli._complaint import plain_text
from tailrace.cli._looks import Look, Trouble, task_count
from tailrace.cli._moments import age_text, iso_text, moment_in, span_in, span_text
from tailrace.cli._queues import queue_fields
from tailrace.cli._table import Cell, escape
from tailrace.cli._workers import worker_fields
from tailrace.v1.admin_service_pb2 import Queue, Worker

_QUEUE_COLUMNS: Final = (
    Column(title="QUEUE", least=16),
    Column(title="QUEUED", is_number=True),
    Column(title="DELAYED", is_number=True, leaves=3),
    Column(title="RUNNING", is_number=True, leaves=5),
    Column(title="NET/S", is_number=True, leaves=4),
    Column(title="OLDEST", is_number=True, leaves=2),
    Column(title="LIMIT", is_number=True, leaves=1),
    Column(title="", leaves=6),
)
_WORKER_COLUMNS: Final = (
    Column(title="WORKER", least=16),
    Column(title="TASKS", is_number=True),
    Column(title="QUEUES", least=10, leaves=3),
    Column(title="CONNECTED", is_number=True, leaves=2),
    Column(title="HEARD OF", is_number=True, leaves=4),
    Column(title="SDK", leaves=1),
    Column(title="", leaves=5),
)
_A_TABLES_OWN_LINES = 2  # an empty one and the titles
_LEAST_ROWS = 2  # of each table, before the other one has more

_LATE = timedelta(seconds=2)
"""An answer that takes longer is told of."""

_SILENT_AFTER = timedelta(seconds=50)
"""Workers and servers speak every 20 s; a stream that is silent for so long is given up."""

ItemT = TypeVar("ItemT")


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What there is to show."""

    address: str
    interval_s: float
    began: datetime
    """When the first look began."""
    now: datetime
    """Of this machine's clock, with the zone to tell the time in."""
    look: Look | None = None
    """The last one that came to something."""
    trouble: Trouble | None = None
    """Why there was none since; None when all is well."""


def screen(view: View, width: int, height: int | None = None) -> Text:
    """Return the lines of a screen.

    Args:
        view: What it shows.
        width: Of the longest line, in characters of a terminal.
        height: At most so many lines; None: as many as it takes.
    """
    head = _head(view)
    if view.look is not None:
        queue_rows, worker_rows = _share(view.look, None if height is None else height - len(head))
        queues, workers = view.look.queues, view.look.workers
        shown_queues = _heaviest(queues, queue_rows, _queue_weight)
        shown_workers = _heaviest(workers, worker_rows, lambda worker: worker.outstanding_count)
        head += _table(_QUEUE_COLUMNS, [_queue_row(each, view.look) for each in shown_queues], width)
        head += _rest(len(queues) - len(shown_queues), "queue", "no queue has had a task yet", shown_queues)
        head += _table(_WORKER_COLUMNS, [_worker_row(each, view.look) for each in shown_workers], width)
        head += _rest(len(workers) - len(shown_workers), "worker", "no worker is connected", shown_workers)
    for line in head:
        line.truncate(width, overflow="ellipsis")
    return Text("\n", no_wrap=True, end="").join(head[:height])


def look_fields(look: Look) -> dict[str, Any]:
    """Return a look as an object of JSON."""
    return {
        "time": iso_text(look.moment),
        "since_s": None if look.since_s is None else round(look.since_s, 3),
        "queues": [
            {**queue_fields(queue), "net_per_s": _rounded(look.net_per_s.get(queue.queue))} for queue in look.queues
        ],
        "workers": [worker_fields(worker) for worker in look.workers],
        "error": None,
    }


def trouble_fields(trouble: Trouble) -> dict[str, Any]:
    """Return a look in vain as an object of JSON."""
    nothing = dict.fromkeys(("since_s", "queues", "workers"))
    return {"time": iso_text(trouble.moment), **nothing, "error": plain_text(trouble.error)}


def rate_text(per_s: float | None) -> str:
    """Return a rate with its sign, to two digits or so: ``+0.05``, ``-3.2``, ``+1,250``."""
    if per_s is None:
        return "-"
    digits = 2 if abs(per_s) < 1 else 1 if abs(per_s) < 10 else 0  # noqa: PLR2004
    return f"{per_s:+,.{digits}f}" if round(per_s, digits) else "0"


def _head(view: View) -> list[Text]:
    title = f"  {escape(view.address)}  {view.now:%H:%M:%S}  every {view.interval_s:g} s"
    lines = [Text.assemble(("tailrace top", "bold"), title)]
    last = view.began if view.look is None else view.look.moment
    if view.trouble is not None:
        cause = escape(plain_text(view.trouble.error))
        lines.append(Text(f"no answer for {age_text(last, view.now)}, asking again: {cause}", "bold red"))
    elif view.now - last > timedelta(seconds=view.interval_s) + _LATE:
        lines.append(Text(f"no answer for {age_text(last, view.now)}", "yellow"))
    return [*lines, _totals(view.look)] if view.look else lines


def _totals(look: Look) -> Text:
    queued = sum(queue.queued_count for queue in look.queues)
    delayed = sum(queue.delayed_count for queue in look.queues)
    running = sum(queue.leased_count for queue in look.queues)
    rates = [rate for rate in look.net_per_s.values() if rate is not None]
    net = f" ({rate_text(sum(rates))}/s)" if look.since_s is not None else ""
    tasks = sum(worker.outstanding_count for worker in look.workers)
    room = sum(worker.max_outstanding_tasks for worker in look.workers)
    text = f"{queued + delayed + running:,} tasks{net}: {queued:,} queued, {delayed:,} delayed, {running:,} running"
    return Text(f"{text}; {_counted(len(look.workers), 'worker')} {tasks:,}/{room:,}")


def _share(look: Look, height: int | None) -> tuple[int, int]:
    """Return how many rows queues and workers get: each what it needs, or else half, or what the other leaves."""
    wanted = max(len(look.queues), 1), max(len(look.workers), 1)
    if height is None:
        return wanted
    room = max(0, height - 2 * _A_TABLES_OWN_LINES)
    if sum(wanted) <= room:
        return wanted
    # A table that is cut says so in a line of its own.
    queues = min(wanted[0], max(_LEAST_ROWS, room - wanted[1], room // 2))
    workers = max(0, min(wanted[1], room - queues))
    return queues - (queues < wanted[0]), max(0, workers - (workers < wanted[1]))


def _heaviest(items: Sequence[ItemT], count: int, weight: Callable[[ItemT], Any]) -> list[ItemT]:
    """Return as many as there is room for, those that matter most, in the order that they came in."""
    heaviest = sorted(range(len(items)), key=lambda index: weight(items[index]), reverse=True)[:count]
    return [items[index] for index in sorted(heaviest)]


def _queue_weight(queue: Queue) -> tuple[int, bool]:
    return task_count(queue), queue.paused


def _table(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int) -> list[Text]:
    return [Text(), *fitted_lines(columns, rows, width)] if rows else []


def _rest(count: int, noun: str, nothing: str, shown: Sequence[object]) -> list[Text]:
    if count:
        return [Text(f"and {_counted(count, f'more {noun}')}", "bright_black")]
    return [] if shown else [Text(), Text(nothing, "bright_black")]


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _queue_row(queue: Queue, look: Look) -> list[Cell]:
    return [
        Cell(queue.queue),
        Cell(f"{queue.queued_count:,}"),
        Cell(f"{queue.delayed_count:,}"),
        Cell(f"{queue.leased_count:,}"),
        Cell(rate_text(look.net_per_s.get(queue.queue))),
        Cell(span_text(span_in(queue, "oldest_queued_age"))),
        Cell(f"{queue.max_depth:,}" if queue.max_depth else "-"),
        Cell("paused", "yellow") if queue.paused else Cell(""),
    ]


def _worker_row(worker: Worker, look: Look) -> list[Cell]:
    heard_of = moment_in(worker, "last_seen_time")
    is_silent = heard_of is not None and look.moment - heard_of > _SILENT_AFTER
    return [
        Cell(worker.worker_id),
        Cell(f"{worker.outstanding_count:,}/{worker.max_outstanding_tasks:,}"),
        Cell(", ".join(worker.queues)),
        Cell(age_text(moment_in(worker, "connect_time"), look.moment)),
        Cell(age_text(heard_of, look.moment), "yellow" if is_silent else ""),
        Cell(escape(worker.sdk)),
        Cell("draining", "yellow") if worker.draining else Cell(""),
    ]


def _rounded(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 3)
