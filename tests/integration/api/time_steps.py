"""Steps that several tests of times take."""

from google.protobuf.timestamp_pb2 import Timestamp

from tailrace.v1 import admin_service_pb2, task_pb2
from tests.integration.api.serving import CALL_S, Api


def from_now(api: Api, ms: int) -> Timestamp:
    """Tell a point in time by the store's clock."""
    point = Timestamp()
    point.FromMilliseconds(api.harness.now_ms + ms)
    return point


async def pause(api: Api, queue: str = "default") -> None:
    await api.admin.PauseQueue(admin_service_pb2.PauseQueueRequest(queue=queue), timeout=CALL_S)


async def resume(api: Api, queue: str = "default") -> None:
    await api.admin.ResumeQueue(admin_service_pb2.ResumeQueueRequest(queue=queue), timeout=CALL_S)


async def end_of(api: Api, task_id: str = "task-1") -> tuple[str, str, str]:
    """Name the state of a task that is done without success, and the kind and type of its failure."""
    failure = (await api.result(task_id)).failure
    kind = task_pb2.FailureKind.Name(failure.kind).removeprefix("FAILURE_KIND_")
    return await api.state(task_id), kind, failure.type


async def last_failure_of(api: Api, task_id: str = "task-1") -> str:
    """Name the type of the latest failure of a task that goes on."""
    return (await api.result(task_id)).last_failure.type
