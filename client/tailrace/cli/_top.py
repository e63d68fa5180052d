"""``tailrace top``."""

import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice

import click
from rich.console import Console

from tailrace.cli._complaint import complain_of
from tailrace.cli._exit_code import EPILOG, ExitCode
from tailrace.cli._json import json_text
from tailrace.cli._keyboard import HAS_TERMINALS
from tailrace.cli._live_screen import LiveScreen
from tailrace.cli._looks import Look, Trouble, looks
from tailrace.cli._operator import Operator
from tailrace.cli._options import address_option, json_option, read_span
from tailrace.cli._top_screen import View, look_fields, screen, trouble_fields

_LEAST_INTERVAL = timedelta(milliseconds=100)
_ANY_WIDTH = 1000
"""Of what is no terminal: nothing is cut."""


def _read_interval(_context: click.Context, _option: click.Parameter, span: timedelta) -> timedelta:
    if span < _LEAST_INTERVAL:
        raise click.BadParameter("at least 100ms")
    return span


@click.command("top", epilog=EPILOG, short_help="Watch queues and workers on a live screen.")
@click.option(
    "--interval",
    metavar="SPAN",
    type=read_span,
    callback=_read_interval,
    default="2s",
    show_default=True,
    help="From one look to the next; at least 100ms.",
)
@click.option(
    "--once", is_flag=True, help="Write one screen and end: two looks, an interval apart, so that it has rates."
)
@click.option("--count", metavar="N", type=click.IntRange(min=1), help="End after so many looks. Default: never.")
@json_option
@address_option
def top(*, interval: timedelta, once: bool, count: int | None, as_json: bool, address: str | None) -> int:
    """Watch queues and workers on a live screen; q or Ctrl-C leaves it.

    The columns are those of `tailrace queues` and `tailrace workers`. NET/S is by how many tasks a second a queue
    became fuller since the look before: tasks submitted less tasks ended. A server that went away is asked again until
    it is back. With --json, a line for each look.
    """
    if once and count is not None:
        raise click.UsageError("--once and --count exclude each other")
    interval_s = interval.total_seconds()
    with Operator(address) as operator:
        if once:
            return _show_once(operator, interval_s, as_json=as_json)
        if as_json:
            return _write_lines(looks(operator, interval_s, time.sleep), count)
        if not sys.stdout.isatty() or not HAS_TERMINALS:
            raise click.UsageError(
                "this is no terminal to show a live screen on; --once writes one screen, --json lines"
            )
        return LiveScreen(operator, interval_s, count).show()


def _show_once(operator: Operator, interval_s: float, *, as_json: bool) -> int:
    for seen in islice(looks(operator, interval_s, time.sleep), 2):
        if isinstance(seen, Trouble):
            raise seen.error
        if seen.since_s is None:
            continue
        if as_json:
            click.echo(json_text(look_fields(seen)))
        else:
            _write_screen(operator.address, interval_s, seen)
    return ExitCode.OK


def _write_lines(seen: Iterator[Look | Trouble], count: int | None) -> int:
    exit_code = ExitCode.OK
    for each in islice(seen, count):
        if isinstance(each, Trouble):
            exit_code = complain_of(each.error)
            click.echo(json_text(trouble_fields(each)))
        else:
            exit_code = ExitCode.OK
            click.echo(json_text(look_fields(each)))
    return exit_code


def _write_screen(address: str, interval_s: float, seen: Look) -> None:
    now = datetime.now().astimezone()
    view = View(address=address, interval_s=interval_s, began=now, now=now, look=seen)
    console = Console(highlight=False)
    width = console.width if sys.stdout.isatty() else _ANY_WIDTH
    console.print(screen(view, width), soft_wrap=True)
