"""A server on the test's own loop, and raw generated stubs to call it with."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.duration_pb2 import Duration

from tailrace.server import Server, ServerConfig
from tailrace.server.coordinator.failures import DEADLINES, LEASE_EXPIRED
from tailrace.server.store.base import Store
from tailrace.v1 import task_pb2, task_service_pb2, worker_service_pb2
from tailrace.v1.admin_service_pb2_grpc import AdminServiceStub
from tailrace.v1.task_service_pb2_grpc import TaskServiceStub
from tailrace.v1.worker_service_pb2_grpc import WorkerServiceStub
from tests.store.harness import Harness
from tests.wait import eventually_async

if TYPE_CHECKING:
    # These exist for type checkers only.
    from tailrace.v1.admin_service_pb2_grpc import AdminServiceAsyncStub
    from tailrace.v1.task_service_pb2_grpc import TaskServiceAsyncStub
    from tailrace.v1.worker_service_pb2_grpc import WorkerServiceAsyncStub

CALL_S = 10.0
JSON = "application/json"
MIB = 1 << 20
# What gRPC libraries take by default; the server promises never to send more.
CLIENT_OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", 4 * MIB))
REAP_STEP_MS = 4_000
"""A clock that moves further than REAP_GAP_MS at once looks like an outage, after which nothing is reaped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A status other than OK, as a program sees it that has nothing but its gRPC library."""

    code: grpc.StatusCode
    reason: str | None
    message: str
    trailers: dict[str, Any]

    @property
    def outcome(self) -> tuple[grpc.StatusCode, str | None]:
        return self.code, self.reason


async def refused(call: Awaitable[object]) -> Refusal:
    """Make a call that must not be OK."""
    try:
        answer = await call
    except grpc.aio.AioRpcError as error:
        return refusal_of(error)
    raise AssertionError(f"was not refused: {answer}")


def refusal_of(error: grpc.aio.AioRpcError) -> Refusal:
    trailers = {key: value for key, value in error.trailing_metadata() or ()}  # noqa: C416 - Metadata.items groups
    reason = trailers.get("tailrace-reason")
    assert reason is None or isinstance(reason, str)
    return Refusal(code=error.code(), reason=reason, message=error.details() or "", trailers=trailers)


def seconds(value: float) -> Duration:
    span = Duration()
    span.FromTimedelta(timedelta(seconds=value))
    return span


def a_spec(task_type: str = "add", *, data: bytes = b"[1, 2]", **fields: Any) -> task_pb2.TaskSpec:
    return task_pb2.TaskSpec(
        task_type=task_type, input=task_pb2.Payload(content_type=JSON, data=data), **{"queue": "default", **fields}
    )


def a_request(task_id: str = "task-1", **fields: Any) -> task_service_pb2.SubmitRequest:
    return task_service_pb2.SubmitRequest(task_id=task_id, spec=a_spec(**fields))


def a_worker(*queues: str) -> worker_service_pb2.WorkerInfo:
    return worker_service_pb2.WorkerInfo(worker_id="worker-1", queues=queues or ("default",))


def a_success(lease: worker_service_pb2.LeaseRef, data: bytes = b"3") -> worker_service_pb2.AttemptResult:
    payload = task_pb2.Payload(content_type=JSON, data=data)
    return worker_service_pb2.AttemptResult(lease=lease, success=payload)


def a_failure(lease: worker_service_pb2.LeaseRef, **fields: Any) -> worker_service_pb2.AttemptResult:
    failure = task_pb2.Failure(kind=task_pb2.FAILURE_KIND_APPLICATION, type="ValueError", message="no", **fields)
    return worker_service_pb2.AttemptResult(lease=lease, failure=failure)


class Api:
    """Short words for calls that a test makes on its way to what it is about."""

    def __init__(self, server: Server, harness: Harness, channel: grpc.aio.Channel) -> None:
        self.server = server
        self.harness = harness
        self.channel = channel
        self.tasks: TaskServiceAsyncStub = TaskServiceStub(channel)
        self.workers: WorkerServiceAsyncStub = WorkerServiceStub(channel)
        self.admin: AdminServiceAsyncStub = AdminServiceStub(channel)

    async def submit(self, task_id: str = "task-1", **fields: Any) -> task_pb2.TaskResult:
        response = await self.tasks.Submit(a_request(task_id, **fields), timeout=CALL_S)
        assert response.created
        return response.task

    async def submit_many(self, *task_ids: str, **fields: Any) -> None:
        for begin in range(0, len(task_ids), 500):
            requests = [a_request(task_id, **fields) for task_id in task_ids[begin : begin + 500]]
            response = await self.tasks.BatchSubmit(
                task_service_pb2.BatchSubmitRequest(requests=requests), timeout=CALL_S
            )
            assert all(item.submitted.created for item in response.items)

    async def result(self, task_id: str = "task-1") -> task_pb2.TaskResult:
        request = task_service_pb2.GetResultRequest(task_id=task_id)
        return (await self.tasks.GetResult(request, timeout=CALL_S)).task

    async def state(self, task_id: str = "task-1") -> str:
        """Name the state and, while it waits, what for: ``PENDING/QUEUED``."""
        task = await self.result(task_id)
        state = task_pb2.TaskState.Name(task.state).removeprefix("TASK_STATE_")
        if task.pending_reason == task_pb2.PENDING_REASON_UNSPECIFIED:
            return state
        return f"{state}/{task_pb2.PendingReason.Name(task.pending_reason).removeprefix('PENDING_REASON_')}"

    async def lease_many(
        self, max_tasks: int = 1, *, wait_s: float = 0, start: bool = False, queues: tuple[str, ...] = ("default",)
    ) -> list[worker_service_pb2.Assignment]:
        request = worker_service_pb2.LeaseTasksRequest(
            worker=a_worker(*queues), max_tasks=max_tasks, wait_timeout=seconds(wait_s), start_immediately=start
        )
        return list((await self.workers.LeaseTasks(request, timeout=CALL_S + wait_s)).assignments)

    async def lease(self, *, start: bool = False, queue: str = "default") -> worker_service_pb2.Assignment:
        (assignment,) = await self.lease_many(start=start, queues=(queue,))
        return assignment

    async def beat(
        self, lease: worker_service_pb2.LeaseRef, *, waiting: bool = False
    ) -> worker_service_pb2.LeaseStatus:
        beats = [worker_service_pb2.LeaseBeat(lease=lease, waiting=waiting)]
        request = worker_service_pb2.HeartbeatRequest(worker_id="worker-1", beats=beats)
        return (await self.workers.Heartbeat(request, timeout=CALL_S)).leases[0]

    async def store(self, result: worker_service_pb2.AttemptResult) -> worker_service_pb2.StoreResultResponse:
        return await self.workers.StoreResult(worker_service_pb2.StoreResultRequest(result=result), timeout=CALL_S)

    async def store_many(self, *results: worker_service_pb2.AttemptResult) -> list[worker_service_pb2.AttemptResultAck]:
        request = worker_service_pb2.BatchStoreResultsRequest(results=results)
        return list((await self.workers.BatchStoreResults(request, timeout=CALL_S)).acks)

    async def run(self, task_id: str = "task-1", data: bytes = b"3") -> None:
        """Lease the next task, which must be this one, and end it with a success."""
        assignment = await self.lease(start=True)
        assert assignment.lease.task_id == task_id, "tasks come in the order of their submission"
        await self.store(a_success(assignment.lease, data))

    async def check_unharmed(self) -> None:
        """Show that a whole task still goes through, on a new connection."""
        async with grpc.aio.insecure_channel(self.server.address, options=CLIENT_OPTIONS) as channel:
            other = Api(self.server, self.harness, channel)
            await other.submit("unharmed", queue="unharmed")
            assignment = await other.lease(start=True, queue="unharmed")
            await other.store(a_success(assignment.lease))
            assert await other.state("unharmed") == "SUCCESS"

    async def pass_time(self, ms: int) -> None:
        """Move the store's clock and have done what is due by then, as the server's duties do."""
        while ms > 0:
            step_ms = min(ms, REAP_STEP_MS)
            await self.harness.advance(step_ms)
            for partition in range(self.harness.store.partitions):
                await self.harness.store.reap_leases(partition, 1000, LEASE_EXPIRED)
                await self.harness.store.promote_due(partition, 1000)
                await self.harness.store.end_overdue(partition, DEADLINES, [0] * 200)
            ms -= step_ms


@asynccontextmanager
async def serving(harness: Harness, store: Store | None = None, **settings: Any) -> AsyncIterator[Api]:
    """Run a server on the store of a harness, or another one of its; not open yet; and a channel to it.

    Whatever a test does, no wait outlives its call and nothing breaks unseen.
    """
    loop = asyncio.get_running_loop()
    unseen: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: unseen.append(context))
    server = Server(ServerConfig(listen="127.0.0.1:0", **settings), store=store or harness.store)
    await server.start()
    try:
        async with grpc.aio.insecure_channel(server.address, options=CLIENT_OPTIONS) as channel:
            yield Api(server, harness, channel)
        await eventually_async(lambda: server.waiting.task_count == 0, "nobody waits any more")
        assert server.waiting.kept_bytes == 0
    finally:
        await server.stop(timedelta(0))
    gc.collect()
    assert unseen == [], unseen
