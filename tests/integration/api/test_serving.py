"""A server as operators see it: health, reflection, a graceful stop, and what happens when it cannot start."""

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tailrace.server import Server, ServerConfig
from tailrace.server import process as process_module
from tailrace.server.domain.errors import StoreUnavailableError
from tailrace.server.store.sqlite.store import SqliteStore
from tailrace.testing import run_server_async
from tailrace.v1 import task_service_pb2 as task_pb
from tailrace.v1 import worker_service_pb2 as pb
from tailrace.v1.task_service_pb2_grpc import TaskServiceStub
from tests.integration.api.serving import CALL_S, Api, Refusal, a_request, a_success, refused, seconds
from tests.integration.api.work_peer import WorkPeer
from tests.wait import eventually_async

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

SERVICES = ["", "tailrace.v1.TaskService", "tailrace.v1.WorkerService", "tailrace.v1.AdminService"]
LONG = timedelta(seconds=20)


async def health(api: Api, service: str) -> str:
    request = health_pb2.HealthCheckRequest(service=service)
    response = await health_pb2_grpc.HealthStub(api.channel).Check(request, timeout=CALL_S)
    name: str = health_pb2.HealthCheckResponse.ServingStatus.Name(response.status)
    return name


async def working_peer(api: Api) -> tuple[WorkPeer, pb.LeaseRef]:
    """Open a stream whose worker is busy with a task."""
    await api.submit("busy")
    peer = WorkPeer(api)
    await peer.hello()
    (assignment,) = await peer.assigned()
    await peer.start(assignment.lease)
    return peer, assignment.lease


async def begin_stop(api: Api) -> tuple[asyncio.Task[None], WorkPeer]:
    """Begin to stop a server that a busy worker keeps from ending."""
    peer, _ = await working_peer(api)
    stopping = asyncio.create_task(api.server.stop(LONG))
    await peer.expect("server_drain")
    return stopping, peer


@pytest.mark.parametrize("service", SERVICES)
async def test_health_tells_that_it_serves_and_that_it_stops(lone_api: Api, service: str) -> None:
    before = await health(lone_api, service)
    stopping, peer = await begin_stop(lone_api)
    during = await health(lone_api, service)
    await peer.close()
    await stopping

    assert (before, during) == ("SERVING", "NOT_SERVING")


async def test_health_of_an_unknown_service_is_not_found(lone_api: Api) -> None:
    assert (await refused(health(lone_api, "tailrace.v1.Nothing"))).code is grpc.StatusCode.NOT_FOUND


async def test_reflection_lists_the_services_and_describes_them(lone_api: Api) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(lone_api.channel)
    call = stub.ServerReflectionInfo(timeout=CALL_S)
    await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    listed = await call.read()
    await call.write(reflection_pb2.ServerReflectionRequest(file_containing_symbol="tailrace.v1.TaskService"))
    described = await call.read()
    await call.done_writing()

    names = {service.name for service in listed.list_services_response.service}
    assert names == {*SERVICES[1:], "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
    assert described.file_descriptor_response.file_descriptor_proto


async def test_calls_that_are_on_their_way_when_the_server_stops_hear_why(lone_api: Api) -> None:
    async def call_until_refused() -> Refusal:
        async def call_again_and_again() -> None:
            while True:
                await lone_api.tasks.GetServerInfo(task_pb.GetServerInfoRequest(), timeout=CALL_S)

        return await refused(call_again_and_again())

    callers = [asyncio.create_task(call_until_refused()) for _ in range(1000)]
    await asyncio.wait(callers, timeout=0.1)

    await lone_api.server.stop(LONG)

    refusals = [await caller for caller in callers]
    assert {(refusal.code, refusal.reason) for refusal in refusals} == {
        (grpc.StatusCode.UNAVAILABLE, "SERVER_DRAINING")
    }


async def test_draining_server_refuses_every_new_call_by_name(lone_api: Api) -> None:
    stopping, peer = await begin_stop(lone_api)
    tasks, workers = lone_api.tasks, lone_api.workers
    lease = pb.LeaseRef(task_id="a", lease_token=b"t")
    info = pb.WorkerInfo(worker_id="w", queues=["q"])
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: tasks.Submit(a_request(), timeout=CALL_S),
        lambda: tasks.BatchSubmit(task_pb.BatchSubmitRequest(requests=[a_request()]), timeout=CALL_S),
        lambda: tasks.GetResult(task_pb.GetResultRequest(task_id="a"), timeout=CALL_S),
        lambda: tasks.BatchGetResults(task_pb.BatchGetResultsRequest(task_ids=["a"]), timeout=CALL_S),
        lambda: tasks.WaitFor(task_pb.WaitForRequest(targets=[task_pb.WaitTarget(task_id="a")]), timeout=CALL_S).read(),
        lambda: tasks.GetServerInfo(task_pb.GetServerInfoRequest(), timeout=CALL_S),
        lambda: workers.Work(timeout=CALL_S).read(),
        lambda: workers.LeaseTasks(pb.LeaseTasksRequest(worker=info, max_tasks=1), timeout=CALL_S),
        lambda: workers.Heartbeat(pb.HeartbeatRequest(worker_id="w"), timeout=CALL_S),
        lambda: workers.StoreResult(pb.StoreResultRequest(result=a_success(lease)), timeout=CALL_S),
        lambda: workers.BatchStoreResults(pb.BatchStoreResultsRequest(results=[a_success(lease)]), timeout=CALL_S),
        lambda: workers.ReleaseTasks(pb.ReleaseTasksRequest(leases=[lease]), timeout=CALL_S),
    ]

    refusals = [await refused(call()) for call in calls]

    assert {(refusal.code, refusal.reason) for refusal in refusals} == {
        (grpc.StatusCode.UNAVAILABLE, "SERVER_DRAINING")
    }
    assert all("grpc-retry-pushback-ms" in refusal.trailers for refusal in refusals)
    await peer.close()
    await stopping


async def test_stopping_server_answers_who_waits_with_what_is(lone_api: Api) -> None:
    await lone_api.submit()
    request = task_pb.GetResultRequest(task_id="task-1", wait_timeout=seconds(60))
    polling = asyncio.ensure_future(lone_api.tasks.GetResult(request, timeout=CALL_S))
    leasing = asyncio.create_task(lone_api.lease_many(wait_s=60, queues=("other",)))
    await eventually_async(
        lambda: lone_api.server.waiting.task_count == lone_api.server.dispatcher.consumer_count == 1, "both wait"
    )

    await lone_api.server.stop(LONG)

    assert (await polling).task.task_id == "task-1"
    assert await leasing == []


async def test_stop_cuts_short_who_does_not_leave(lone_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_module, "STOP_S", 0.1)
    peer, _ = await working_peer(lone_api)

    async with asyncio.timeout(CALL_S):
        await lone_api.server.stop(timedelta(seconds=0.1))

    assert (await peer.refusal()).code is grpc.StatusCode.UNAVAILABLE


async def test_stopping_server_lets_idle_workers_go_at_once(lone_api: Api) -> None:
    peer = WorkPeer(lone_api)
    await peer.hello()

    async with asyncio.timeout(CALL_S):
        await lone_api.server.stop(LONG)

    await peer.expect("server_drain")
    await peer.ended()


async def test_second_stop_waits_for_the_first(lone_api: Api) -> None:
    await asyncio.gather(lone_api.server.stop(LONG), lone_api.server.stop(LONG))
    await lone_api.server.stop(LONG)

    with pytest.raises(grpc.aio.AioRpcError):
        await lone_api.result()


async def test_port_in_use_is_an_error_that_says_so_and_nothing_goes_on_behind_it(
    lone_api: Api, tmp_path_factory: pytest.TempPathFactory
) -> None:
    before = asyncio.all_tasks()
    store = SqliteStore(tmp_path_factory.mktemp("second") / "tailrace.db")
    server = Server(ServerConfig(listen=lone_api.server.address), store=store)

    with pytest.raises(OSError, match="another server"):
        await server.start()

    assert asyncio.all_tasks() == before
    await lone_api.check_unharmed()


async def test_file_in_use_is_an_error_that_says_so(lone_api: Api, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("shared") / "tailrace.db"
    first = SqliteStore(path)
    await first.open()
    server = Server(ServerConfig(listen="127.0.0.1:0"), store=SqliteStore(path))

    with pytest.raises(StoreUnavailableError, match="in use"):
        await server.start()
    await first.close()


async def test_server_of_tailrace_testing_is_a_whole_one() -> None:
    async with run_server_async() as running, grpc.aio.insecure_channel(running.address) as channel:
        response = await TaskServiceStub(channel).Submit(a_request("a"), timeout=CALL_S)

    assert response.created
