"""Running a task again, and forgetting one: the requests."""

from tailrace.client._options import MAX_REPEAT_S
from tailrace.client._task_id import new_task_id as make_task_id
from tailrace.v1.task_service_pb2 import DeleteTaskRequest, ResubmitTaskRequest

RESUBMIT_REPEAT_FOR_S = MAX_REPEAT_S
"""How long a resubmit may be repeated. The new task keeps the old one's result_ttl, which is not known here: one of a
few seconds could be gone by then, and the repetition would run the task once more."""


def resubmit_request(task_id: str, new_task_id: str | None) -> ResubmitTaskRequest:
    """Build the request. The new id is made here, before the first try, unless the caller brings one."""
    return ResubmitTaskRequest(task_id=task_id, new_task_id=new_task_id or make_task_id())


def forget_request(task_id: str) -> DeleteTaskRequest:
    """Build the request. A record that is gone will do: perhaps an earlier try, whose answer was lost, deleted it."""
    return DeleteTaskRequest(task_id=task_id, allow_missing=True)
