"""``tailrace result``."""

import click

from tailrace.cli._exit_code import EPILOG
from tailrace.cli._options import address_option, connect, json_option
from tailrace.cli._report import exit_code_of, failure_line, is_failure, json_line, value_text
from tailrace.cli._table import escape
from tailrace.client import AsyncResult, TaskState


@click.command("result", epilog=EPILOG, short_help="Write the state of a task, and its value or traceback.")
@click.argument("task_id")
@json_option
@address_option
def result(task_id: str, as_json: bool, address: str | None) -> int:
    """Write the state of a task; with it what it returned, or its traceback."""
    with connect(address) as client:
        looked_up = client.result(task_id)
        state = looked_up.state
        click.echo(json_line(looked_up, state) if as_json else _text(looked_up, state))
        return exit_code_of(state)


def _text(result: AsyncResult, state: TaskState) -> str:
    lines = [f"state: {state}"]
    if state is TaskState.SUCCESS:
        lines.append(f"result: {value_text(result)}")
    if is_failure(state):
        lines.append(f"error: {failure_line(result, state)}")
        if result.traceback:
            lines.append(escape(result.traceback.rstrip()))
    return "\n".join(lines)
