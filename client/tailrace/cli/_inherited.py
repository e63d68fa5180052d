"""Groups that list when no command follows, and hand their own options down to the command that does."""

import click


def hand_down(context: click.Context, *, as_json: bool, address: str | None) -> None:
    """Let ``tailrace queues --address X pause NAME`` mean what it says.

    Args:
        context: Of the group.
        as_json: As given to the group; commands may say it too.
        address: As given to the group; what a command says goes before it.
    """
    assert isinstance(context.command, click.Group)
    given = {"as_json": as_json, "address": address}
    context.default_map = dict.fromkeys(context.command.commands, given)
