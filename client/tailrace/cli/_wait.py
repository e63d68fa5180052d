"""``tailrace wait``."""

import json
from collections.abc import Iterator
from datetime import timedelta

import click

from tailrace.cli._bars import Bars, has_audience
from tailrace.cli._exit_code import EPILOG, ExitCode
from tailrace.cli._following import Following
from tailrace.cli._options import address_option, json_option, timeout_option
from tailrace.cli._report import exit_code_of, failure_line, is_failure, json_line
from tailrace.client import AsyncResult, TaskNotFoundError
from tailrace.client._waiting import Advanced


@click.command("wait", epilog=EPILOG)
@click.argument("task_ids", metavar="TASK_ID...", nargs=-1, required=True)
@timeout_option
@json_option
@address_option
def wait(task_ids: tuple[str, ...], timeout: timedelta | None, as_json: bool, address: str | None) -> int:
    """Wait until tasks are done, and write a line for each as it is.

    On a terminal, bars show how far they are.
    """
    # Each id once, whatever a shell's expansion came to.
    awaited = list(dict.fromkeys(task_ids))
    with Following(address, awaited) as following:
        if has_audience(as_json=as_json):
            with Bars(awaited) as bars:
                return _tell(following.news(timeout, with_progress=True), as_json, bars)
        return _tell(following.news(timeout, with_progress=False), as_json, None)


def _tell(news: Iterator[AsyncResult | Advanced], as_json: bool, bars: Bars | None) -> int:
    worst = ExitCode.OK
    for each in news:
        if isinstance(each, Advanced):
            if bars is not None:
                bars.advance(each.task_id, each.progress)
            continue
        line, exit_code = _end(each, as_json)
        worst = max(worst, exit_code)
        if bars is None:
            click.echo(line)
        else:
            bars.end(each.id, line)
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
