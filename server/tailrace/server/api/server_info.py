"""What the server says of itself."""

from importlib.metadata import version

from tailrace.server.api.render import duration_ms, duration_s
from tailrace.server.domain import limits
from tailrace.server.domain.lease import MAX_LEASE_MS, MIN_LEASE_MS
from tailrace.server.domain.task import DEFAULT_RESULT_TTL_MS
from tailrace.v1 import task_service_pb2

SERVER_VERSION = version("tailrace")


def server_info(*, max_payload_bytes: int) -> task_service_pb2.GetServerInfoResponse:
    """Render version and limits."""
    return task_service_pb2.GetServerInfoResponse(
        server_version=SERVER_VERSION,
        min_protocol_version=limits.MIN_PROTOCOL_VERSION,
        max_protocol_version=limits.MAX_PROTOCOL_VERSION,
        max_payload_bytes=max_payload_bytes,
        max_request_bytes=limits.MAX_BATCH_BYTES,
        max_batch_size=limits.MAX_BATCH_ITEMS,
        max_wait_targets=limits.MAX_WAIT_TARGETS,
        max_watch_targets=limits.MAX_WATCH_TARGETS,
        max_wait_timeout=duration_ms(limits.MAX_WAIT_TIMEOUT_MS),
        max_stream_duration=duration_s(limits.WAIT_STREAM_LIFE_S),
        min_lease_duration=duration_ms(MIN_LEASE_MS),
        max_lease_duration=duration_ms(MAX_LEASE_MS),
        default_result_ttl=duration_ms(DEFAULT_RESULT_TTL_MS),
        max_result_ttl=duration_ms(limits.MAX_RESULT_TTL_MS),
    )
