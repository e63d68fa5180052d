"""``tailrace server``."""

import click

from tailrace.cli._delegate import PASS_THROUGH, delegate


@click.command(
    "server", context_settings=PASS_THROUGH, add_help_option=False, short_help="Run a server; see its own --help."
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def server(arguments: tuple[str, ...]) -> int:
    """Run a server: [--listen HOST:PORT] [--store URL] [--max-queue-depth N], and more that its own --help explains."""
    return delegate("tailrace.server.__main__", arguments, extra="server")
