"""Where the client's settings come from: keyword arguments, then TAILRACE_* variables, then defaults."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from tailrace.client import _spans

ADDRESS_VARIABLE = "TAILRACE_ADDRESS"
DEFAULT_ADDRESS = "localhost:7440"
DEFAULT_CALL_TIMEOUT = timedelta(seconds=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """What a client runs with."""

    address: str
    """The server's ``host:port``, or any other target that gRPC can name."""
    call_timeout_s: float
    """How long a call that does not wait for a task may take, all tries together."""

    def __post_init__(self) -> None:
        if not self.address:
            raise ValueError("the server's address is empty")
        if not self.call_timeout_s > 0:
            raise ValueError(f"call_timeout must be more than 0 s, not {self.call_timeout_s:g} s")


def resolve_settings(
    address: str | None, call_timeout: float | timedelta | None, environ: Mapping[str, str] = os.environ
) -> ClientSettings:
    """Fill in what the caller left out.

    Raises:
        TypeError, ValueError: A setting is of the wrong kind or out of bounds.
    """
    timeout = DEFAULT_CALL_TIMEOUT if call_timeout is None else call_timeout
    return ClientSettings(
        address=address or environ.get(ADDRESS_VARIABLE) or DEFAULT_ADDRESS,
        call_timeout_s=_spans.to_seconds(timeout),
    )
