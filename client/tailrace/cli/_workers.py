"""``tailrace workers``, with ``drain``."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import click

from tailrace.cli._exit_code import EPILOG, ExitCode
from tailrace.cli._inherited import hand_down
from tailrace.cli._moments import age_text, iso_text, moment_in
from tailrace.cli._operator import Operator
from tailrace.cli._options import address_option, json_option
from tailrace.cli._table import Cell, echo_table, escape
from tailrace.v1.admin_service_pb2 import Worker

_TITLES = ("WORKER", "QUEUES", "TASKS", "CONNECTED", "HEARD OF", "SDK", "DRAINING")


@click.group("workers", epilog=EPILOG, invoke_without_command=True)
@json_option
@address_option
@click.pass_context
def workers(context: click.Context, *, as_json: bool, address: str | None) -> int:
    """List the workers that are connected; or drain one.

    TASKS is how many a worker has, and how many it takes at most; CONNECTED and HEARD OF are ages.
    """
    hand_down(context, as_json=as_json, address=address)
    if context.invoked_subcommand is None:
        with Operator(address) as operator:
            _echo(operator.list_workers(), as_json=as_json)
    return ExitCode.OK


@workers.command("drain", epilog=EPILOG)
@click.argument("worker_id")
@json_option
@address_option
def drain(worker_id: str, *, as_json: bool, address: str | None) -> int:
    """Assign nothing more to a worker until its process ends. What it has it finishes."""
    with Operator(address) as operator:
        draining = operator.drain_worker(worker_id)
    click.echo(json.dumps(worker_fields(draining)) if as_json else f"{worker_id} draining")
    return ExitCode.OK


def _echo(found: Iterator[Worker], *, as_json: bool) -> None:
    if as_json:
        for worker in found:
            click.echo(json.dumps(worker_fields(worker)))
        return
    now = datetime.now(UTC)
    rows = [_row(worker, now) for worker in found]
    if rows:
        echo_table(_TITLES, rows, cut=("QUEUES", "SDK"))
    else:
        click.echo("no worker is connected", err=True)


def _row(worker: Worker, now: datetime) -> list[Cell]:
    return [
        Cell(worker.worker_id),
        Cell(", ".join(worker.queues)),
        Cell(f"{worker.outstanding_count}/{worker.max_outstanding_tasks}"),
        Cell(age_text(moment_in(worker, "connect_time"), now)),
        Cell(age_text(moment_in(worker, "last_seen_time"), now)),
        Cell(escape(worker.sdk)),
        Cell("draining", "yellow") if worker.draining else Cell("-"),
    ]


def worker_fields(worker: Worker) -> dict[str, Any]:
    """Return a worker as an object of JSON."""
    return {
        "worker_id": worker.worker_id,
        "session_id": worker.session_id,
        "queues": list(worker.queues),
        "sdk": worker.sdk,
        "outstanding_count": worker.outstanding_count,
        "max_outstanding_tasks": worker.max_outstanding_tasks,
        "draining": worker.draining,
        "connect_time": iso_text(moment_in(worker, "connect_time")),
        "last_seen_time": iso_text(moment_in(worker, "last_seen_time")),
    }
