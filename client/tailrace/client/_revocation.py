"""Revoking one task: the request, and the answer to it."""

import grpc

from tailrace.client._outcome import Outcome
from tailrace.client._status import CallStatus, status_of_item
from tailrace.v1.task_service_pb2 import REVOKE_MODE_FORCE, REVOKE_MODE_REQUEST, RevokeRequest, RevokeResponse


def revoke_request(task_id: str, *, force: bool, reason: str) -> RevokeRequest:
    """Build the request for one task."""
    mode = REVOKE_MODE_FORCE if force else REVOKE_MODE_REQUEST
    return RevokeRequest(task_ids=[task_id], mode=mode, reason=reason)


def status_in(response: RevokeResponse) -> CallStatus | None:
    """Tell why the one task could not be revoked; None when it was answered for."""
    if len(response.items) != 1:
        return CallStatus(code=grpc.StatusCode.UNKNOWN, message="the server left the task unanswered")
    item = response.items[0]
    return status_of_item(item.error) if item.WhichOneof("outcome") == "error" else None


def outcome_in(response: RevokeResponse) -> Outcome:
    """Read how the task is now; the answer has neither its result nor its failure."""
    return Outcome(response.items[0].task)
