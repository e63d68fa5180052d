"""The server's address, checked before seconds are spent on one that can be none."""

import re
from datetime import timedelta

import click

from tailrace.client._settings import ClientSettings, resolve_settings

CALL_TIMEOUT = timedelta(seconds=5)
"""Shorter than a program's: somebody sits and waits."""

_HOST_AND_PORT = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\s\[\]/:@]+):(\d{1,5})", re.ASCII)
_OF_GRPC = re.compile(r"(dns|ipv4|ipv6|unix|unix-abstract|vsock|xds):\S+")
_MAX_PORT = 65_535


def settings_for(address: str | None) -> ClientSettings:
    """Return where a command's server is.

    Args:
        address: What ``--address`` says; None, or empty: TAILRACE_ADDRESS, then localhost:7440.

    Raises:
        click.UsageError: That names no server.
    """
    settings = resolve_settings(address, CALL_TIMEOUT)
    check_address(settings.address, "--address" if address else "TAILRACE_ADDRESS")
    return settings


def check_address(address: str, source: str) -> None:
    """Refuse what is neither HOST:PORT nor another target that gRPC knows.

    Raises:
        click.UsageError: It names ``source`` as where to mend it.
    """
    if _OF_GRPC.fullmatch(address):
        return
    match = _HOST_AND_PORT.fullmatch(address)
    if match is None or not 0 < int(match[2]) <= _MAX_PORT:
        raise click.UsageError(f"{source}: {address!r} is not HOST:PORT, such as localhost:7440")
