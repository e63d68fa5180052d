"""``tailrace queues``, with ``pause``, ``resume`` and ``purge``."""

import json
import sys
from collections.abc import Iterator
from typing import Any

import click

from tailrace.cli._exit_code import EPILOG, ExitCode
from tailrace.cli._inherited import hand_down
from tailrace.cli._moments import seconds_of, span_in, span_text
from tailrace.cli._operator import Operator
from tailrace.cli._options import address_option, json_option
from tailrace.cli._table import Cell, echo_table
from tailrace.v1.admin_service_pb2 import Queue

_TITLES = ("QUEUE", "QUEUED", "DELAYED", "RUNNING", "OLDEST", "LIMIT", "PAUSED")


@click.group(
    "queues", epilog=EPILOG, invoke_without_command=True, short_help="List queues; pause, resume or purge one."
)
@json_option
@address_option
@click.pass_context
def queues(context: click.Context, *, as_json: bool, address: str | None) -> int:
    """List queues with what is in them; or pause, resume or purge one.

    QUEUED tasks wait for a worker, DELAYED ones for their time; RUNNING ones a worker has. OLDEST is the age of what is
    next in line, LIMIT how many may wait.
    """
    hand_down(context, as_json=as_json, address=address)
    if context.invoked_subcommand is None:
        with Operator(address) as operator:
            _echo(operator.list_queues(), as_json=as_json)
    return ExitCode.OK


@queues.command("pause", epilog=EPILOG)
@click.argument("queue", metavar="NAME")
@json_option
@address_option
def pause(queue: str, *, as_json: bool, address: str | None) -> int:
    """Deliver nothing more from a queue. What runs goes on, and time limits hold."""
    with Operator(address) as operator:
        paused = operator.pause_queue(queue)
    click.echo(json.dumps(queue_fields(paused)) if as_json else f"{queue} paused")
    return ExitCode.OK


@queues.command("resume", epilog=EPILOG)
@click.argument("queue", metavar="NAME")
@json_option
@address_option
def resume(queue: str, *, as_json: bool, address: str | None) -> int:
    """Deliver from a queue again."""
    with Operator(address) as operator:
        resumed = operator.resume_queue(queue)
    click.echo(json.dumps(queue_fields(resumed)) if as_json else f"{queue} resumed")
    return ExitCode.OK


@queues.command("purge", epilog=EPILOG)
@click.argument("queue", metavar="NAME")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@address_option
def purge(queue: str, *, yes: bool, as_json: bool, address: str | None) -> int:
    """Revoke all that waits in a queue, delayed tasks included. What a worker has goes on.

    Tasks that are submitted meanwhile are revoked too: pause what submits them first.
    """
    with Operator(address) as operator:
        # Asked even if the answer does not matter: it takes little time to find out that no server is there.
        count = operator.count_waiting(queue)
        if not yes:
            _confirm(count, queue)
        revoked = _purge(operator, queue)
    click.echo(json.dumps({"queue": queue, "purge_count": revoked}) if as_json else f"{queue}: {revoked} tasks revoked")
    return ExitCode.OK


def _confirm(count: int, queue: str) -> None:
    if not sys.stdin.isatty():
        raise click.UsageError(f"this would revoke {count} tasks, and there is no terminal to ask on; --yes does it")
    click.confirm(f"Revoke the {count} tasks that wait in {queue}?", abort=True, err=True)


def _purge(operator: Operator, queue: str) -> int:
    """Purge until nothing is left, and return how many tasks were revoked."""
    revoked = 0
    while True:
        answer = operator.purge_queue(queue)
        revoked += answer.purge_count
        if answer.remaining_count == 0:
            return revoked
        click.echo(f"{queue}: {revoked} revoked, {answer.remaining_count} to go", err=True)


def _echo(found: Iterator[Queue], *, as_json: bool) -> None:
    if as_json:
        for queue in found:
            click.echo(json.dumps(queue_fields(queue)))
        return
    rows = [_row(queue) for queue in found]
    if rows:
        echo_table(_TITLES, rows)
    else:
        click.echo("no queue has had a task yet", err=True)


def _row(queue: Queue) -> list[Cell]:
    return [
        Cell(queue.queue),
        Cell(str(queue.queued_count)),
        Cell(str(queue.delayed_count)),
        Cell(str(queue.leased_count)),
        Cell(span_text(span_in(queue, "oldest_queued_age"))),
        Cell(str(queue.max_depth or "-")),
        Cell("paused", "yellow") if queue.paused else Cell("-"),
    ]


def queue_fields(queue: Queue) -> dict[str, Any]:
    """Return a queue as an object of JSON; null stands for what does not apply."""
    return {
        "queue": queue.queue,
        "paused": queue.paused,
        "queued_count": queue.queued_count,
        "delayed_count": queue.delayed_count,
        "leased_count": queue.leased_count,
        "oldest_queued_age_s": seconds_of(span_in(queue, "oldest_queued_age")),
        "max_depth": queue.max_depth or None,
    }
