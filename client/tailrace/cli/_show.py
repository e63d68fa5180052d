"""``tailrace show``."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import click

from tailrace.cli._exit_code import EPILOG, ExitCode
from tailrace.cli._json import json_text
from tailrace.cli._moments import age_text, iso_text, moment_in, span_in
from tailrace.cli._operator import Operator
from tailrace.cli._options import address_option, json_option
from tailrace.cli._table import escape
from tailrace.cli._task_fields import (
    MOMENTS,
    SPANS,
    failure_fields,
    full_fields,
    payload_fields,
    pending_reason_of,
    state_of,
)
from tailrace.cli._words import STATE_STYLES, waits_for
from tailrace.v1.task_pb2 import Failure, Payload, Progress, Task


@click.command("show", epilog=EPILOG, short_help="Write all that is known of a task.")
@click.argument("task_id")
@json_option
@address_option
def show(task_id: str, as_json: bool, address: str | None) -> int:
    """Write all that is known of a task: what was submitted, where it is, and what became of it."""
    with Operator(address) as operator:
        task = operator.get_task(task_id)
    if as_json:
        click.echo(json_text(full_fields(task)))
    else:
        for name, value in _lines(task, datetime.now(UTC)):
            click.echo(f"{click.style(name, bold=True)}: {value}")
    return ExitCode.OK


def _lines(task: Task, now: datetime) -> Iterator[tuple[str, str]]:
    state = state_of(task)
    colour = STATE_STYLES.get(state)
    yield "task", task.task_id
    yield "type", task.spec.task_type
    yield "queue", task.spec.queue
    yield "state", click.style(state, fg=colour)
    if (reason := pending_reason_of(task)) is not None:
        yield "waits for", waits_for(reason)
    if task.revoke_requested:
        yield "revoke", "asked for, not done yet"
    yield "attempt", f"{task.outcome.attempt} (deliveries: {task.delivery_count})"
    yield "priority", str(task.spec.priority)
    yield from _origins(task)
    yield from _times(task, now)
    yield from _ends(task)


def _origins(task: Task) -> Iterator[tuple[str, str]]:
    if task.worker_id:
        yield "worker", escape(task.worker_id)
    if task.parent_task_id:
        yield "parent", task.parent_task_id
    for key, value in sorted(task.spec.labels.items()):
        yield "label", escape(f"{key}={value}")
    for key, value in sorted(task.spec.headers.items()):
        yield "header", escape(f"{key}={value}")


def _times(task: Task, now: datetime) -> Iterator[tuple[str, str]]:
    for name, field in (("accepted", "create_time"), ("started", "start_time"), ("ended", "end_time")):
        if (moment := moment_in(task, field)) is not None:
            yield name, f"{iso_text(moment)} ({age_text(moment, now)} ago)"
    if (expiry := moment_in(task.outcome, "expire_time")) is not None:
        yield "kept until", str(iso_text(expiry))
    if (lease_end := moment_in(task, "lease_expire_time")) is not None:
        yield "lease until", str(iso_text(lease_end))
    for field in MOMENTS:
        if (moment := moment_in(task.spec, field)) is not None:
            yield field.replace("_", " "), str(iso_text(moment))
    for field in SPANS:
        if (span := span_in(task.spec, field)) is not None:
            yield field.replace("_", " "), f"{span.total_seconds():g}s"


def _ends(task: Task) -> Iterator[tuple[str, str]]:
    outcome = task.outcome
    if outcome.HasField("progress"):
        yield "progress", _progress(outcome.progress)
    if task.spec.HasField("input"):
        yield "input", _payload(task.spec.input)
    if outcome.HasField("result"):
        yield "result", _payload(outcome.result)
    if outcome.HasField("last_failure"):
        yield "last error", _failure(outcome.last_failure)
    if outcome.HasField("failure"):
        yield "error", _failure(outcome.failure)


def _progress(progress: Progress) -> str:
    of_all = f"/{progress.total}" if progress.total else ""
    return escape(f"{progress.current}{of_all} {progress.message}".rstrip())


def _payload(payload: Payload) -> str:
    fields: dict[str, Any] = payload_fields(payload)
    if "value" in fields:
        return escape(json_text(fields["value"]))
    return escape(f"{len(payload.data)} bytes of {payload.content_type}")


def _failure(failure: Failure) -> str:
    fields = failure_fields(failure)
    what = ": ".join(part for part in (fields["type"], fields["message"]) if part)
    line = f"{what or 'no message'} ({fields['kind']})"
    return escape(f"{line}\n{failure.traceback.rstrip()}" if failure.traceback else line)
