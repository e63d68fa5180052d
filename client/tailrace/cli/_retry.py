"""``tailrace retry``."""

from typing import Any

import click

from tailrace.cli._each import do_each
from tailrace.cli._exit_code import EPILOG
from tailrace.cli._operator import Operator
from tailrace.cli._options import address_option, json_option
from tailrace.client._outcome import Outcome


@click.command("retry", epilog=EPILOG, short_help="Run failed or revoked tasks again, as new tasks.")
@click.argument("task_ids", metavar="TASK_ID...", nargs=-1, required=True)
@json_option
@address_option
def retry(task_ids: tuple[str, ...], *, as_json: bool, address: str | None) -> int:
    """Run failed or revoked tasks again, each as a new task, and write the new ids.

    The new task is submitted as the old one was, but for points in time; the old one stays as it is, and is the new
    one's parent.
    """
    with Operator(address) as operator:

        def resubmit(task_id: str) -> dict[str, Any]:
            outcome = Outcome(operator.resubmit(task_id))
            return {"new_task_id": outcome.task_id, "state": outcome.state}

        return do_each(task_ids, resubmit, text=lambda fields: str(fields["new_task_id"]), as_json=as_json)
