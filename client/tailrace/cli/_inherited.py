"""Groups that list when no command follows, and hand their own options down to the command that does."""

import click


def hand_down(context: click.Context, *, as_json: bool, address: str | None) -> None:
    """Let ``tailrace queues --address X pause NAME`` mean what it says."""
    assert isinstance(context.command, click.Group)
    given = {"as_json": as_json, "address": address}
    context.default_map = dict.fromkeys(context.command.commands, given)
