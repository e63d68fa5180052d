"""``tailrace delete``."""

from typing import Any

import click

from tailrace.cli._each import do_each
from tailrace.cli._exit_code import EPILOG
from tailrace.cli._operator import Operator
from tailrace.cli._options import address_option, json_option


@click.command("delete", epilog=EPILOG, short_help="Delete the records of tasks that are done.")
@click.argument("task_ids", metavar="TASK_ID...", nargs=-1, required=True)
@json_option
@address_option
def delete(task_ids: tuple[str, ...], *, as_json: bool, address: str | None) -> int:
    """Delete the records of tasks that are done, before their time is up. Their results are gone for good."""
    with Operator(address) as operator:

        def delete_one(task_id: str) -> dict[str, Any]:
            operator.delete(task_id)
            return {"deleted": True}

        return do_each(task_ids, delete_one, text=lambda fields: f"{fields['task_id']} deleted", as_json=as_json)
