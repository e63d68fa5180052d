"""Steps that several tests of looking at tasks and queues take."""

from typing import Any

from tailrace.v1 import admin_service_pb2, task_pb2
from tailrace.v1.task_service_pb2 import (
    DeleteTaskRequest,
    GetTaskRequest,
    ListTasksRequest,
    ListTasksResponse,
    ResubmitTaskRequest,
    ResubmitTaskResponse,
)
from tests.integration.api.serving import CALL_S, Api, a_failure

FULL = task_pb2.TASK_VIEW_FULL


async def task_of(api: Api, task_id: str = "task-1", **fields: Any) -> task_pb2.Task:
    return (await api.tasks.GetTask(GetTaskRequest(task_id=task_id, **fields), timeout=CALL_S)).task


async def page_of(api: Api, **fields: Any) -> ListTasksResponse:
    return await api.tasks.ListTasks(ListTasksRequest(**fields), timeout=CALL_S)


async def pages_of(api: Api, page_token: str = "", **fields: Any) -> list[ListTasksResponse]:
    """Read every page from one on, to the end."""
    pages = [await page_of(api, page_token=page_token, **fields)]
    while pages[-1].next_page_token:
        pages.append(await page_of(api, page_token=pages[-1].next_page_token, **fields))
    return pages


async def listed(api: Api, **fields: Any) -> list[str]:
    return [task.task_id for page in await pages_of(api, **fields) for task in page.tasks]


async def delete(api: Api, task_id: str = "task-1", *, allow_missing: bool = False) -> None:
    await api.tasks.DeleteTask(DeleteTaskRequest(task_id=task_id, allow_missing=allow_missing), timeout=CALL_S)


async def resubmit(api: Api, task_id: str = "task-1", new_task_id: str = "") -> ResubmitTaskResponse:
    return await api.tasks.ResubmitTask(ResubmitTaskRequest(task_id=task_id, new_task_id=new_task_id), timeout=CALL_S)


async def fail(api: Api, task_id: str = "task-1", **spec: Any) -> None:
    """Submit a task and have its only attempt fail."""
    await api.submit(task_id, **spec)
    lease = (await api.lease(start=True, queue=spec.get("queue", "default"))).lease
    assert lease.task_id == task_id, "nothing else is ready"
    await api.store(a_failure(lease, traceback="line 1"))


async def queue_of(api: Api, name: str = "default") -> admin_service_pb2.Queue:
    response = await api.admin.ListQueues(admin_service_pb2.ListQueuesRequest(page_size=1000), timeout=CALL_S)
    (queue,) = [queue for queue in response.queues if queue.queue == name]
    return queue


async def workers_of(api: Api) -> list[admin_service_pb2.Worker]:
    response = await api.admin.ListWorkers(admin_service_pb2.ListWorkersRequest(page_size=1000), timeout=CALL_S)
    return list(response.workers)
