"""What operators ask of a server: tasks, queues and workers, by the same rules as the client's own calls."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import grpc

from tailrace.cli._address import settings_for
from tailrace.cli._options import show_warnings
from tailrace.client._channel import call_channel_options
from tailrace.client._resubmission import resubmit_request
from tailrace.client._sync_calls import SyncCalls
from tailrace.v1 import admin_service_pb2 as admin_pb
from tailrace.v1 import task_service_pb2 as pb
from tailrace.v1.admin_service_pb2_grpc import AdminServiceStub
from tailrace.v1.task_pb2 import TASK_VIEW_FULL, Task, TaskResult

MAX_PAGE_SIZE = 1000

PURGE_TIMEOUT = timedelta(seconds=30)
"""A server may be at work on one call of a purge for more than five seconds."""


class _Page(Protocol):
    @property
    def next_page_token(self) -> str: ...


PageT = TypeVar("PageT", bound=_Page)


class Operator:
    """One connection. Every call is repeated for some seconds while that can help, as each of them is idempotent."""

    def __init__(self, address: str | None) -> None:
        show_warnings()
        settings = settings_for(address)
        self.address = settings.address
        """Where it asks."""
        self._calls = SyncCalls(settings)
        self._patient_calls = SyncCalls(replace(settings, call_timeout_s=PURGE_TIMEOUT.total_seconds()))
        self._channel = grpc.insecure_channel(settings.address, options=call_channel_options())
        self._admin = AdminServiceStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End what is under way, and close the connection. From any thread; again: no effect."""
        # The calls first: what their channels cancel must find them closed, so as not to be repeated.
        self._calls.close()
        self._patient_calls.close()
        self._channel.close()

    def list_tasks(self, filter_text: str, page_size: int) -> Iterator[Task]:
        """Yield tasks that fit, page by page as they are wanted.

        A task that moves meanwhile may come twice, or not at all.
        """
        request = pb.ListTasksRequest(filter=filter_text, page_size=min(page_size, MAX_PAGE_SIZE))
        for page in self._pages(self._calls.stub.ListTasks, request):
            yield from page.tasks

    def get_task(self, task_id: str) -> Task:
        """Read the whole record.

        Raises:
            TaskNotFoundError: There is none.
        """
        request = pb.GetTaskRequest(task_id=task_id, view=TASK_VIEW_FULL)
        return self._calls.call(self._calls.stub.GetTask, request, task_id=task_id).task

    def resubmit(self, task_id: str) -> TaskResult:
        """Run a task again, and return the new one.

        Raises:
            TaskNotFoundError: There is no such task.
            TaskNotResubmittableError: It is neither in FAILURE nor in REVOKED.
        """
        request = resubmit_request(task_id, None)
        return self._calls.call(self._calls.stub.ResubmitTask, request, task_id=task_id).task

    def delete(self, task_id: str) -> None:
        """Delete the record of a task that is done.

        Raises:
            TaskNotFoundError: There is none.
            TaskNotTerminalError: It is not done.
        """
        self._calls.call(self._calls.stub.DeleteTask, pb.DeleteTaskRequest(task_id=task_id), task_id=task_id)

    def list_queues(self) -> Iterator[admin_pb.Queue]:
        """Yield every queue, by name."""
        for page in self._pages(self._admin.ListQueues, admin_pb.ListQueuesRequest(page_size=MAX_PAGE_SIZE)):
            yield from page.queues

    def pause_queue(self, queue: str) -> admin_pb.Queue:
        """Stop deliveries from a queue, and return it."""
        return self._calls.call(self._admin.PauseQueue, admin_pb.PauseQueueRequest(queue=queue)).queue

    def resume_queue(self, queue: str) -> admin_pb.Queue:
        """Let deliveries from a queue go on, and return it."""
        return self._calls.call(self._admin.ResumeQueue, admin_pb.ResumeQueueRequest(queue=queue)).queue

    def count_waiting(self, queue: str) -> int:
        """Return how many tasks a purge of a queue would revoke."""
        return self._calls.call(self._admin.PurgeQueue, admin_pb.PurgeQueueRequest(queue=queue)).purge_count

    def purge_queue(self, queue: str) -> admin_pb.PurgeQueueResponse:
        """Revoke as many of a queue's waiting tasks as one call does, and return how many are left."""
        request = admin_pb.PurgeQueueRequest(queue=queue, force=True)
        return self._patient_calls.call(self._admin.PurgeQueue, request)

    def list_workers(self) -> Iterator[admin_pb.Worker]:
        """Yield every connected worker, by worker_id."""
        for page in self._pages(self._admin.ListWorkers, admin_pb.ListWorkersRequest(page_size=MAX_PAGE_SIZE)):
            yield from page.workers

    def drain_worker(self, worker_id: str) -> admin_pb.Worker:
        """Stop assignments to a worker, and return it.

        Raises:
            WorkerNotFoundError: No such worker is connected.
        """
        return self._calls.call(self._admin.DrainWorker, admin_pb.DrainWorkerRequest(worker_id=worker_id)).worker

    def _pages(self, method: Callable[..., PageT], request: Any) -> Iterator[PageT]:
        while True:
            page = self._calls.call(method, request)
            yield page
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token
