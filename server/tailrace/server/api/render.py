"""Domain values onto the wire."""

from collections.abc import Mapping

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from tailrace.server.api.status import code_and_reason, message_of
from tailrace.server.coordinator.failures import reason_of
from tailrace.server.domain.errors import TailraceError
from tailrace.server.domain.lease import DELIVERY_LEASE_MS
from tailrace.server.domain.limits import MAX_ECHO_BYTES
from tailrace.server.domain.task import Place, TaskSnapshot, TaskState
from tailrace.server.store.changes import LeaseNews
from tailrace.server.store.values import Delivery
from tailrace.v1 import task_pb2, task_service_pb2, worker_service_pb2

STATES: Mapping[TaskState, "task_pb2.TaskState.ValueType"] = {
    state: task_pb2.TaskState.Value(f"TASK_STATE_{state.value}") for state in TaskState
}
PENDING_REASONS: Mapping[Place, "task_pb2.PendingReason.ValueType"] = {
    Place.READY: task_pb2.PENDING_REASON_QUEUED,
    Place.SCHEDULE: task_pb2.PENDING_REASON_DELAYED,
    Place.LEASE: task_pb2.PENDING_REASON_DISPATCHED,
}


def task_result(snapshot: TaskSnapshot, *, omit_results: bool = False) -> task_pb2.TaskResult:
    """Render an outcome; without results, a failure keeps its kind, type and message only."""
    rendered = task_pb2.TaskResult(
        task_id=snapshot.task_id,
        state=STATES[snapshot.state],
        done=snapshot.is_done,
        revision=snapshot.revision,
        attempt=snapshot.attempt,
        update_time=timestamp(snapshot.update_ms),
    )
    if snapshot.state in {TaskState.PENDING, TaskState.RETRY}:
        is_paused = snapshot.is_queue_paused and snapshot.place is Place.READY
        rendered.pending_reason = task_pb2.PENDING_REASON_QUEUE_PAUSED if is_paused else PENDING_REASONS[snapshot.place]
    if snapshot.expire_ms is not None:
        rendered.expire_time.CopyFrom(timestamp(snapshot.expire_ms))
    if snapshot.result is not None and not omit_results:
        rendered.result.ParseFromString(snapshot.result)
    if snapshot.failure is not None:
        _fill_failure(rendered.failure, snapshot.failure, omit_details=omit_results)
    if snapshot.last_failure is not None:
        _fill_failure(rendered.last_failure, snapshot.last_failure, omit_details=omit_results)
    if snapshot.progress is not None:
        rendered.progress.ParseFromString(snapshot.progress)
    return rendered


def assignment(delivery: Delivery, *, start_immediately: bool = False) -> worker_service_pb2.Assignment:
    """Render a delivery."""
    request = task_service_pb2.SubmitRequest.FromString(delivery.request)
    rendered = worker_service_pb2.Assignment(
        lease=worker_service_pb2.LeaseRef(task_id=delivery.task_id, lease_token=delivery.lease_token),
        spec=request.spec,
        attempt=delivery.attempt,
        start_expire_time=timestamp(delivery.lease_expire_ms),
        start_timeout=duration_ms(delivery.lease_ms if start_immediately else DELIVERY_LEASE_MS),
        lease_duration=duration_ms(delivery.lease_ms),
        parent_task_id=request.parent_task_id,
        create_time=timestamp(delivery.create_ms),
    )
    if delivery.last_failure is not None:
        rendered.last_failure.ParseFromString(delivery.last_failure)
    if delivery.progress is not None:
        rendered.last_progress.ParseFromString(delivery.progress)
    return rendered


def lease_news(news: LeaseNews) -> worker_service_pb2.LeaseStatus:
    """Render what the holder of a lease is told without having asked."""
    status = worker_service_pb2.LeaseStatus(
        task_id=news.task_id, lease_token=news.lease_token, held=news.revocation is not None
    )
    fill_revocation(status, news.revocation)
    return status


def fill_revocation(status: worker_service_pb2.LeaseStatus, revocation: bytes | None) -> None:
    """Say in a status whether the task is to stop, and why."""
    if revocation is not None:
        status.revoke_requested = True
        status.revoke_reason = reason_of(revocation)


def item_error(error: TailraceError) -> task_pb2.ItemError:
    """Render what a call with only this item would have answered."""
    code, reason = code_and_reason(error)
    number: int = code.value[0]
    return task_pb2.ItemError(code=number, reason=reason, message=message_of(error), metadata=error.metadata)


def echo(name: str) -> str:
    """Repeat a name to who sent it, cut to what names can have, so that no answer grows with what was asked."""
    if name.isascii() and len(name) <= MAX_ECHO_BYTES:
        return name
    return name.encode()[:MAX_ECHO_BYTES].decode(errors="ignore")


def timestamp(time_ms: int) -> Timestamp:
    """Render a point in time."""
    return Timestamp(seconds=time_ms // 1_000, nanos=time_ms % 1_000 * 1_000_000)


def duration_ms(span_ms: int) -> Duration:
    """Render a span that is not negative."""
    return Duration(seconds=span_ms // 1_000, nanos=span_ms % 1_000 * 1_000_000)


def duration_s(span_s: float) -> Duration:
    """Render a span of seconds, to the millisecond."""
    return duration_ms(round(span_s * 1_000))


def _fill_failure(target: task_pb2.Failure, serialized: bytes, *, omit_details: bool) -> None:
    target.ParseFromString(serialized)
    if omit_details:
        for field in ("traceback", "details", "cause"):
            target.ClearField(field)
