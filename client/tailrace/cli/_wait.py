"""``tailrace wait``."""

import json
import sys
from collections.abc import Iterator
from datetime import timedelta

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from tailrace.cli._exit_code import EPILOG, ExitCode
from tailrace.cli._options import address_option, connect, json_option, timeout_option
from tailrace.cli._report import exit_code_of, failure_line, is_failure, json_line
from tailrace.client import AsyncResult, TaskNotFoundError


@click.command("wait", epilog=EPILOG)
@click.argument("task_ids", metavar="TASK_ID...", nargs=-1, required=True)
@timeout_option
@json_option
@address_option
def wait(task_ids: tuple[str, ...], timeout: timedelta | None, as_json: bool, address: str | None) -> int:
    """Wait until tasks are done, and write a line for each as it is."""
    with connect(address) as client:
        # Each id once, whatever a shell's expansion came to.
        results = [client.result(task_id) for task_id in dict.fromkeys(task_ids)]
        ends = (_end(result, as_json) for result in client.as_completed(results, timeout))
        if sys.stdout.isatty() and not as_json:
            return _show_live(ends, len(results))
        return _show_plain(ends)


def _show_plain(ends: Iterator[tuple[str, ExitCode]]) -> int:
    worst = ExitCode.OK
    for line, exit_code in ends:
        click.echo(line)
        worst = max(worst, exit_code)
    return worst


def _show_live(ends: Iterator[tuple[str, ExitCode]], total: int) -> int:
    worst = ExitCode.OK
    columns = (SpinnerColumn(), TextColumn("waiting"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(highlight=False), transient=True) as progress:
        bar = progress.add_task("waiting", total=total)
        for line, exit_code in ends:
            progress.console.print(line, markup=False, soft_wrap=True)
            progress.advance(bar)
            worst = max(worst, exit_code)
    return worst


def _end(result: AsyncResult, as_json: bool) -> tuple[str, ExitCode]:
    """Return the line for a task that need not be waited for any more, and how it counts."""
    try:
        state = result.state
    except TaskNotFoundError:
        unknown = json.dumps({"task_id": result.id, "state": None}) if as_json else f"{result.id} not found"
        return unknown, ExitCode.NOT_FOUND
    if as_json:
        return json_line(result, state), exit_code_of(state)
    line = f"{result.id} {state}"
    return (f"{line} {failure_line(result, state)}" if is_failure(state) else line), exit_code_of(state)
