"""Revocations off the wire."""

from tailrace.server.api.parse_fields import check_count, check_size, check_text, is_task_id
from tailrace.server.api.violations import Violations
from tailrace.server.coordinator.failures import revoked
from tailrace.server.domain import limits
from tailrace.server.store.values import Revocation
from tailrace.v1 import task_service_pb2 as pb


def parse_revocations(request: pb.RevokeRequest) -> list[Revocation]:
    """Read which tasks to revoke, each once and without those whose id is none.

    Raises:
        InvalidRequestError: There are no ids, the mode is not known, or the reason is too long.
        LimitExceededError: There are too many ids.
    """
    check_count("task_ids", request.task_ids, limit=limits.MAX_BATCH_ITEMS, minimum=1)
    check_size("task_ids", request.ByteSize(), limit=limits.MAX_TASK_IDS_BYTES)
    violations = Violations()
    # What a newer client means is unknown, and a guess would either end too much or too little.
    if request.mode not in pb.RevokeMode.values():
        violations.add("mode", "must be REQUEST or FORCE")
    check_text(violations, "reason", request.reason, max_bytes=limits.MAX_REVOKE_REASON_BYTES)
    violations.raise_if_any()
    failure = revoked(request.reason)
    is_forced = request.mode == pb.REVOKE_MODE_FORCE
    task_ids = dict.fromkeys(filter(is_task_id, request.task_ids))
    return [Revocation(task_id=task_id, failure=failure, is_forced=is_forced) for task_id in task_ids]
