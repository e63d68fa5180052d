"""ServerInfo: what a server is and takes."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from tailrace.v1.task_service_pb2 import GetServerInfoResponse


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerInfo:
    """A server's version and limits."""

    server_version: str
    min_protocol_version: int
    """Of the worker protocol."""
    max_protocol_version: int
    max_payload_bytes: int
    """Of one task's arguments together, and of its result, encoded."""
    max_request_bytes: int
    """Of one batch call."""
    max_batch_size: int
    max_wait_targets: int
    """Tasks that one stream can wait for; the client opens as many as it takes."""
    max_wait_timeout: timedelta
    """Of one long poll."""
    max_stream_duration: timedelta
    """About how long a stream lives before the server asks for a new one."""
    min_lease_duration: timedelta
    max_lease_duration: timedelta
    default_result_ttl: timedelta
    max_result_ttl: timedelta
    features: frozenset[str]
    """What it can do beyond the first version, by name."""

    @classmethod
    def from_wire(cls, wire: GetServerInfoResponse) -> Self:
        """Read the contract's message."""
        return cls(
            server_version=wire.server_version,
            min_protocol_version=wire.min_protocol_version,
            max_protocol_version=wire.max_protocol_version,
            max_payload_bytes=wire.max_payload_bytes,
            max_request_bytes=wire.max_request_bytes,
            max_batch_size=wire.max_batch_size,
            max_wait_targets=wire.max_wait_targets,
            max_wait_timeout=wire.max_wait_timeout.ToTimedelta(),
            max_stream_duration=wire.max_stream_duration.ToTimedelta(),
            min_lease_duration=wire.min_lease_duration.ToTimedelta(),
            max_lease_duration=wire.max_lease_duration.ToTimedelta(),
            default_result_ttl=wire.default_result_ttl.ToTimedelta(),
            max_result_ttl=wire.max_result_ttl.ToTimedelta(),
            features=frozenset(wire.features),
        )
