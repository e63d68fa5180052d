"""``tailrace tasks``."""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice

import click

from tailrace.cli._exit_code import EPILOG, ExitCode
from tailrace.cli._json import json_text
from tailrace.cli._moments import age_text, moment_in
from tailrace.cli._operator import Operator
from tailrace.cli._options import address_option, json_option, read_label
from tailrace.cli._table import Cell, echo_table
from tailrace.cli._task_fields import basic_fields, pending_reason_of, state_of
from tailrace.cli._words import STATE_STYLES, waits_for
from tailrace.client import TaskState
from tailrace.v1.task_pb2 import Task

_TITLES = ("TASK", "TYPE", "QUEUE", "STATE", "ATTEMPT", "AGE", "WAITS FOR")
_PLAIN_KEY = re.compile(r"[\w./:-]+", re.ASCII)
_STATES = [state.value for state in TaskState if state is not TaskState.UNKNOWN]


@click.command("tasks", epilog=EPILOG, short_help="List tasks.")
@click.option("--state", type=click.Choice(_STATES, case_sensitive=False), help="Only tasks in this state.")
@click.option("--queue", metavar="NAME", help="Only tasks of this queue.")
@click.option("--type", "task_type", metavar="TASK_TYPE", help="Only tasks of this type.")
@click.option(
    "--label",
    "labels",
    metavar="KEY=VALUE",
    multiple=True,
    type=read_label,
    help="Only tasks with this label; may be given again: then with all of them.",
)
@click.option(
    "--limit", metavar="N", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many."
)
@json_option
@address_option
def tasks(
    *,
    state: str | None,
    queue: str | None,
    task_type: str | None,
    labels: tuple[tuple[str, str], ...],
    limit: int,
    as_json: bool,
    address: str | None,
) -> int:
    """List tasks: first those that a worker has, then those that wait, then those that are done."""
    wanted = [("state", state), ("queue", queue), ("task_type", task_type)]
    terms = [(name, value) for name, value in wanted if value is not None]
    terms += [(f"labels.{_key(key)}", value) for key, value in labels]
    with Operator(address) as operator:
        # One more than wanted tells whether there are more.
        found = islice(_once_each(operator.list_tasks(filter_text(terms), limit + 1)), limit + 1)
        shown = islice(found, limit)
        if as_json:
            for task in shown:
                click.echo(json_text(basic_fields(task)))
        else:
            _echo(list(shown))
        if next(found, None) is not None:
            click.echo(f"tailrace: these are the first {limit}; --limit shows more", err=True)
    return ExitCode.OK


def filter_text(terms: Sequence[tuple[str, str]]) -> str:
    """Return the filter that all the terms together make."""
    return " AND ".join(f"{name} = {_quoted(value)}" for name, value in terms)


def _key(key: str) -> str:
    return key if _PLAIN_KEY.fullmatch(key) else _quoted(key)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _once_each(tasks: Iterator[Task]) -> Iterator[Task]:
    seen: set[str] = set()
    for task in tasks:
        if task.task_id not in seen:
            seen.add(task.task_id)
            yield task


def _echo(tasks: Sequence[Task]) -> None:
    now = datetime.now(UTC)
    if tasks:
        echo_table(_TITLES, [_row(task, now) for task in tasks], cut=("TYPE", "QUEUE"))
    else:
        click.echo("no such tasks", err=True)


def _row(task: Task, now: datetime) -> list[Cell]:
    state = state_of(task)
    return [
        Cell(task.task_id),
        Cell(task.spec.task_type),
        Cell(task.spec.queue),
        Cell(state, STATE_STYLES.get(state, "")),
        Cell(str(task.outcome.attempt)),
        Cell(age_text(moment_in(task, "create_time"), now)),
        Cell(waits_for(pending_reason_of(task))),
    ]
