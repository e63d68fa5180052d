"""``tailrace revoke``."""

import json

import click

from tailrace.cli._exit_code import EPILOG, ExitCode
from tailrace.cli._options import address_option, connect, json_option
from tailrace.client import AsyncResult, TaskNotFoundError


@click.command("revoke", epilog=EPILOG, short_help="Ask for tasks not to run, or to stop.")
@click.argument("task_ids", metavar="TASK_ID...", nargs=-1, required=True)
@click.option("--force", is_flag=True, help="End running tasks at once; what they still come to is refused.")
@click.option("--reason", metavar="TEXT", default="", help="Why; shown to whoever asks for the result.")
@json_option
@address_option
def revoke(task_ids: tuple[str, ...], *, force: bool, reason: str, as_json: bool, address: str | None) -> int:
    """Ask for tasks not to run, or to stop, and write the state of each after that.

    STARTED means that a worker runs the task and is told to stop it. A task that is done stays as it is.
    """
    worst = ExitCode.OK
    with connect(address) as client:
        for task_id in dict.fromkeys(task_ids):
            line, exit_code = _revoke(client.result(task_id), force=force, reason=reason, as_json=as_json)
            click.echo(line)
            worst = max(worst, exit_code)
    return worst


def _revoke(result: AsyncResult, *, force: bool, reason: str, as_json: bool) -> tuple[str, ExitCode]:
    try:
        state = result.revoke(force=force, reason=reason)
    except TaskNotFoundError:
        unknown = json.dumps({"task_id": result.id, "state": None}) if as_json else f"{result.id} not found"
        return unknown, ExitCode.NOT_FOUND
    return json.dumps({"task_id": result.id, "state": state}) if as_json else f"{result.id} {state}", ExitCode.OK
