"""What an operator can set, checked once at the start."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tailrace.server.domain.limits import DEFAULT_MAX_PAYLOAD_BYTES, PAYLOAD_BYTES_CEILING, QUEUE_DEPTH_CEILING

DEFAULT_LISTEN = "127.0.0.1:7440"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """The settings of one server process.

    Raises:
        ValueError: A setting is out of its bounds; the text names it.
    """

    listen: str = DEFAULT_LISTEN
    """HOST:PORT; port 0 picks a free one."""
    store: str | None = None
    """URL of the store: ``sqlite:///path``, ``redis://`` or ``rediss://``, with ``+cluster`` for a Redis Cluster; None
    is the embedded store in the user's state directory."""
    max_payload_bytes: int = DEFAULT_MAX_PAYLOAD_BYTES
    """Largest input and largest result; at most 3 MiB."""
    max_queue_depth: int | None = None
    """How many tasks may wait in one queue before more are refused; None, or 0: no limit."""
    stop_on_empty_store: bool = False
    """Stop, instead of going on, when the store came back without its data."""
    metrics: str | None = None
    """HOST:PORT on which metrics are served over HTTP; port 0 picks a free one; None: nowhere."""
    grace_s: float = 10.0
    """How long a stopping server goes on serving the streams that are open; 0 to 3600."""
    log_level: str = "info"
    """debug, info, warning or error."""
    log_format: str = "auto"
    """``console`` for people, ``json`` for machines, ``auto``: console on a terminal."""

    def __post_init__(self) -> None:
        """Check the bounds."""
        _check_address("listen", self.listen)
        if self.metrics is not None:
            _check_address("metrics", self.metrics)
        if not 1 <= self.max_payload_bytes <= PAYLOAD_BYTES_CEILING:
            raise ValueError(f"max_payload_bytes: {self.max_payload_bytes} is not from 1 to {PAYLOAD_BYTES_CEILING}")
        if self.max_queue_depth is not None and not 0 <= self.max_queue_depth <= QUEUE_DEPTH_CEILING:
            raise ValueError(f"max_queue_depth: {self.max_queue_depth} is not from 0 to {QUEUE_DEPTH_CEILING}")
        if not 0 <= self.grace_s <= 3600:  # noqa: PLR2004
            raise ValueError(f"grace_s: {self.grace_s} is not from 0 to 3600")
        if self.log_level not in {"debug", "info", "warning", "error"}:
            raise ValueError(f"log_level: {self.log_level!r} is not debug, info, warning or error")
        if self.log_format not in {"auto", "console", "json"}:
            raise ValueError(f"log_format: {self.log_format!r} is not auto, console or json")


def _check_address(name: str, address: str) -> None:
    host, separator, port = address.rpartition(":")
    if not (separator and host and port.isdecimal() and int(port) <= 65_535):  # noqa: PLR2004
        raise ValueError(f"{name}: {address!r} is not HOST:PORT")


_FLAGS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


def _flag(text: str) -> bool:
    if text.lower() not in _FLAGS:
        raise ValueError
    return _FLAGS[text.lower()]


_VARIABLES: Mapping[str, tuple[str, Callable[[str], object]]] = {
    "TAILRACE_LISTEN": ("listen", str),
    "TAILRACE_STORE": ("store", str),
    "TAILRACE_MAX_PAYLOAD_BYTES": ("max_payload_bytes", int),
    "TAILRACE_MAX_QUEUE_DEPTH": ("max_queue_depth", int),
    "TAILRACE_STOP_ON_EMPTY_STORE": ("stop_on_empty_store", _flag),
    "TAILRACE_METRICS": ("metrics", str),
    "TAILRACE_GRACE": ("grace_s", float),
    "TAILRACE_LOG_LEVEL": ("log_level", str),
    "TAILRACE_LOG_FORMAT": ("log_format", str),
}


def from_environment(environment: Mapping[str, str]) -> ServerConfig:
    """Read the settings from ``TAILRACE_*`` variables; what is not set, or empty, has its default.

    Raises:
        ValueError: A value cannot be read or is out of bounds; the text names it.
    """
    settings: dict[str, Any] = {}
    for variable, (field, read) in _VARIABLES.items():
        if text := environment.get(variable):
            try:
                settings[field] = read(text)
            except ValueError:
                kind = "1 or 0" if read is _flag else "a number"
                raise ValueError(f"{variable}: {text!r} is not {kind}") from None
    return ServerConfig(**settings)
