"""Options and kinds of argument that several commands share."""

import json
import logging
import re
import shlex
from datetime import datetime, timedelta
from typing import Any, Never

import click

from tailrace.cli._address import CALL_TIMEOUT, settings_for
from tailrace.client import Client

_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", re.ASCII)


def connect(address: str | None) -> Client:
    """Return a client with little patience for a server that is not there, whose warnings are seen."""
    show_warnings()
    return Client(settings_for(address).address, call_timeout=CALL_TIMEOUT)


def show_warnings() -> None:
    """Have what the client warns of written to stderr. Harmless to repeat."""
    logging.basicConfig(level=logging.WARNING, format="tailrace: %(message)s")


def read_span(text: str) -> timedelta:
    """Read a span of time: ``250ms``, ``10s``, ``1.5m``, ``2h`` or ``1d``.

    Raises:
        click.BadParameter: It is none.
    """
    match = _SPAN.fullmatch(text)
    if match is None:
        raise click.BadParameter(f"{text!r} is no span of time; write a number and ms, s, m, h or d, such as 10s")
    try:
        return float(match[1]) * _UNITS[match[2]]
    except OverflowError as error:
        raise click.BadParameter(f"{text!r} is too long a time") from error


def read_moment(text: str) -> datetime:
    """Read a point in time as ISO 8601 writes it; one without a zone is local time.

    Raises:
        click.BadParameter: It is none.
    """
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(f"{text!r} is no time; write it like 2030-01-31T09:00:00Z") from error


def read_json(text: str) -> Any:
    """Read an argument of a task.

    Raises:
        click.BadParameter: It is not JSON.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        if text.startswith("--"):
            raise click.BadParameter(f"there is no option {text}") from error
        raise click.BadParameter(f"{text} is not JSON; a text is written {shlex.quote(json.dumps(text))}") from error


def read_member(text: str) -> tuple[str, Any]:
    """Read a keyword argument of a task, NAME=JSON.

    Raises:
        click.BadParameter: It is none.
    """
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise click.BadParameter(f"{text!r} is not of the form NAME=JSON")
    return name, read_json(value)


def read_label(text: str) -> tuple[str, str]:
    """Read a label, KEY=VALUE.

    Raises:
        click.BadParameter: It is none.
    """
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise click.BadParameter(f"{text!r} is not of the form KEY=VALUE")
    return key, value


def _refuse_constant(name: str) -> Never:
    raise ValueError(name)


address_option = click.option(
    "--address", metavar="HOST:PORT", help="The server. Default: TAILRACE_ADDRESS, then localhost:7440."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON, one object a line.")
timeout_option = click.option(
    "--timeout", metavar="SPAN", type=read_span, help="How long to wait: 10s, 1.5m, 2h. Default: for ever."
)
