"""``tailrace worker``."""

import click

from tailrace.cli._delegate import PASS_THROUGH, delegate


@click.command(
    "worker",
    context_settings=PASS_THROUGH,
    add_help_option=False,
    short_help="Run a worker, MODULE:NAME; see its own --help.",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def worker(arguments: tuple[str, ...]) -> int:
    """Run a worker: MODULE:NAME, and more that its own --help explains."""
    return delegate("tailrace.worker.__main__", arguments, extra="cli")
