"""Whole records onto the wire."""

from tailrace.server.api import render
from tailrace.server.domain.detail import TaskDetail
from tailrace.v1 import task_pb2, task_service_pb2


def task(detail: TaskDetail, *, is_full: bool) -> task_pb2.Task:
    """Render a record; one that is not full comes without input, result, and details of progress and failures."""
    request = task_service_pb2.SubmitRequest.FromString(detail.request)
    outcome = render.task_result(detail.snapshot, omit_results=not is_full)
    if not is_full:
        request.spec.ClearField("input")
        if outcome.HasField("progress"):
            outcome.progress.ClearField("details")
    rendered = task_pb2.Task(
        task_id=detail.snapshot.task_id,
        spec=request.spec,
        outcome=outcome,
        create_time=render.timestamp(detail.create_ms),
        worker_id=detail.worker_id,
        delivery_count=detail.delivery_count,
        revoke_requested=detail.is_revoke_requested,
        parent_task_id=request.parent_task_id,
    )
    if detail.start_ms is not None:
        rendered.start_time.CopyFrom(render.timestamp(detail.start_ms))
    if detail.snapshot.is_done:
        # Its last change of state was its end.
        rendered.end_time.CopyFrom(render.timestamp(detail.snapshot.update_ms))
    if detail.lease_expire_ms is not None:
        rendered.lease_expire_time.CopyFrom(render.timestamp(detail.lease_expire_ms))
    return rendered
