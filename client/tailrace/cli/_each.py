"""Doing the same to several tasks: what cannot be done to one does not keep the others from it."""

from collections.abc import Callable, Sequence
from typing import Any

import click

from tailrace.cli._complaint import complain_of
from tailrace.cli._exit_code import ExitCode
from tailrace.cli._json import json_text
from tailrace.client import InvalidRequestError, TaskNotFoundError, TaskNotResubmittableError, TaskNotTerminalError

_OF_ONE_TASK = (InvalidRequestError, TaskNotFoundError, TaskNotResubmittableError, TaskNotTerminalError)
"""Errors that say nothing about the next task."""


def do_each(
    task_ids: Sequence[str],
    act: Callable[[str], dict[str, Any]],
    *,
    text: Callable[[dict[str, Any]], str],
    as_json: bool,
) -> ExitCode:
    """Act on each task once, and write a line about it; one that fails has its complaint on stderr.

    Args:
        task_ids: Doubles count once.
        act: Does it, and returns what there is to tell beside the id.
        text: What people are told of that.
        as_json: Whether a program reads the lines; it is told of the tasks that failed too, with ``error``.

    Returns:
        The worst that happened.
    """
    worst = ExitCode.OK
    for task_id in dict.fromkeys(task_ids):
        try:
            fields = act(task_id)
        except _OF_ONE_TASK as error:
            worst = max(worst, complain_of(error))
            if as_json:
                click.echo(json_text({"task_id": task_id, "error": str(error)}))
            continue
        click.echo(json_text({"task_id": task_id, **fields}) if as_json else text({"task_id": task_id, **fields}))
    return worst
