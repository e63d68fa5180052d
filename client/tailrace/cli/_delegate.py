"""Commands that another package of this distribution carries out."""

import importlib
from collections.abc import Sequence

import click

from tailrace.cli._exit_code import ExitCode

PASS_THROUGH = {"ignore_unknown_options": True, "allow_extra_args": True}
"""Context settings of a command that reads its own arguments, ``--help`` included."""


def delegate(module_name: str, arguments: Sequence[str], *, extra: str) -> int:
    """Call a module's ``main`` with the arguments.

    Args:
        module_name: It is imported only now: what it needs may be missing where nobody asked for it.
        arguments: Unread.
        extra: What to install when something it needs is missing.

    Returns:
        Its exit code.
    """
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        click.echo(f"tailrace: {error.name} is missing: pip install 'tailrace[{extra}]'", err=True)
        return ExitCode.USAGE
    return int(module.main(list(arguments)))
