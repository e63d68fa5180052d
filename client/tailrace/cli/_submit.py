"""``tailrace submit``."""

import json
from datetime import timedelta
from functools import partial
from typing import Any, Unpack

import click

from tailrace.cli._bars import Bars, has_audience
from tailrace.cli._exit_code import EPILOG, ExitCode
from tailrace.cli._options import (
    address_option,
    connect,
    json_option,
    read_json,
    read_label,
    read_member,
    read_moment,
    read_span,
    timeout_option,
)
from tailrace.cli._report import echo_end, exit_code_of, json_line
from tailrace.client import AsyncResult, Options


def _as_dict(_context: click.Context, _option: click.Parameter, pairs: tuple[tuple[str, str], ...]) -> dict[str, str]:
    return dict(pairs)


# ignore_unknown_options: -1 is an argument.
@click.command("submit", epilog=EPILOG, context_settings={"ignore_unknown_options": True})
@click.argument("task_type")
@click.argument("args", metavar="[ARG]...", nargs=-1, type=read_json)
@click.option(
    "--kwarg",
    "kwargs",
    metavar="NAME=JSON",
    multiple=True,
    type=read_member,
    help="A keyword argument; may be given again.",
)
@click.option("--queue", metavar="NAME", help="Default: default.")
@click.option("--priority", metavar="N", type=click.IntRange(0, 9), help="0, the default, to 9; larger runs sooner.")
@click.option("--delay", metavar="SPAN", type=read_span, help="Start no sooner than this from now: 90s, 1.5m, 2h.")
@click.option(
    "--at",
    "schedule_time",
    metavar="TIME",
    type=read_moment,
    help="Start no sooner than then: 2030-01-31T09:00:00Z; local time where no zone is said.",
)
@click.option(
    "--start-within",
    metavar="SPAN",
    type=read_span,
    help="Revoke the task unless it has started so long from now, or from its start time.",
)
@click.option("--execution-timeout", metavar="SPAN", type=read_span, help="How long one attempt may run.")
@click.option(
    "--total-timeout", metavar="SPAN", type=read_span, help="How long from now it must be done, retries and all."
)
@click.option(
    "--label",
    "labels",
    metavar="KEY=VALUE",
    multiple=True,
    type=read_label,
    callback=_as_dict,
    help="What the task can be found by; may be given again.",
)
@click.option("--task-id", metavar="ID", help="Default: a new one. The same task under the same id is submitted once.")
@click.option("--wait", "is_waited_for", is_flag=True, help="Wait for the task, and write what it returned.")
@timeout_option
@json_option
@address_option
def submit(
    *,
    task_type: str,
    args: tuple[Any, ...],
    kwargs: tuple[tuple[str, Any], ...],
    is_waited_for: bool,
    timeout: timedelta | None,
    as_json: bool,
    address: str | None,
    **options: Unpack[Options],
) -> int:
    """Submit a task of TASK_TYPE and write its id.

    Each ARG is a JSON value: 10, true, '"text"', '[1, 2]', '{"x": 1}'.
    """
    if options.get("delay") is not None and options.get("schedule_time") is not None:
        raise click.UsageError("--delay and --at exclude each other")
    with connect(address) as client:
        result = client.options(**options).submit(task_type, *args, **dict(kwargs))
        if not is_waited_for:
            click.echo(json.dumps({"task_id": result.id}) if as_json else result.id)
            return ExitCode.OK
        if not as_json:
            click.echo(f"submitted {result.id}", err=True)
        return _wait_for(result, timeout, as_json)


def _wait_for(result: AsyncResult, timeout: timedelta | None, as_json: bool) -> int:
    if has_audience(as_json=as_json):
        with Bars([result.id]) as bars:
            state = result.wait(timeout, on_progress=partial(bars.advance, result.id))
    else:
        state = result.wait(timeout)
    if as_json:
        click.echo(json_line(result, state))
    else:
        echo_end(result, state)
    return exit_code_of(state)
