"""Outcomes for people and for programs."""

from typing import Any

import click

from tailrace.cli._exit_code import ExitCode
from tailrace.cli._json import json_text
from tailrace.cli._table import escape
from tailrace.client import AsyncResult, TaskFailedError, TaskRevokedError, TaskState


def json_line(result: AsyncResult, state: TaskState) -> str:
    """Return one line that tells all about a task in the state it was last seen in."""
    fields: dict[str, Any] = {"task_id": result.id, "state": state}
    if state is TaskState.SUCCESS:
        fields["result"] = result.result
    elif (error := _error(result, state)) is not None:
        fields["error"] = _error_fields(error)
    return json_text(fields)


def failure_line(result: AsyncResult, state: TaskState) -> str:
    """Return what a task that did not succeed raised, in one line."""
    error = _error(result, state)
    remote = error if isinstance(error, TaskFailedError | TaskRevokedError) or error is None else error.__cause__
    return escape(" ".join(str(remote).split()))


def value_text(result: AsyncResult) -> str:
    """Return what a task returned, as JSON."""
    return json_text(result.result)


def exit_code_of(state: TaskState) -> ExitCode:
    """Return how a command about one task ends."""
    return ExitCode.TASK_FAILED if is_failure(state) else ExitCode.OK


def is_failure(state: TaskState) -> bool:
    """Tell whether a task ended without success."""
    return state in {TaskState.FAILURE, TaskState.REVOKED}


def echo_end(result: AsyncResult, state: TaskState) -> None:
    """Write a task's value to stdout, or its traceback and failure to stderr."""
    if not is_failure(state):
        click.echo(value_text(result))
        return
    if result.traceback:
        click.echo(escape(result.traceback.rstrip()), err=True)
    click.echo(f"tailrace: task {result.id} ended in {state}: {failure_line(result, state)}", err=True)


def _error(result: AsyncResult, state: TaskState) -> BaseException | None:
    return result.result if is_failure(state) else None


def _error_fields(error: BaseException) -> dict[str, str | None]:
    if isinstance(error, TaskRevokedError):
        return {"type": None, "message": str(error), "kind": error.kind, "traceback": None}
    remote = error if isinstance(error, TaskFailedError) else error.__cause__
    assert isinstance(remote, TaskFailedError)
    return {
        "type": remote.remote_type,
        "message": remote.message,
        "kind": remote.kind,
        "traceback": remote.traceback,
    }
