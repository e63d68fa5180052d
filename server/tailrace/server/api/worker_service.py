"""WorkerService: for programs that run tasks."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial

from tailrace.server.api import render
from tailrace.server.api.attempts import Attempts, is_final, is_lost
from tailrace.server.api.handler import Context, OpenCalls
from tailrace.server.api.parse_fields import check_count, check_size, span_ms
from tailrace.server.api.parse_work import check_worker, check_worker_id, parse_attempt_result, parse_release_delay
from tailrace.server.api.violations import Violations, invalid
from tailrace.server.api.work_stream import WorkStream, WorkStreams
from tailrace.server.coordinator.coordinator import Coordinator
from tailrace.server.dispatch.dispatcher import Dispatcher
from tailrace.server.dispatch.presence import Presence
from tailrace.server.dispatch.session import count_that_fits
from tailrace.server.dispatch.take import give_back
from tailrace.server.domain import limits
from tailrace.server.domain.errors import LimitExceededError, StoreUnavailableError, TailraceError
from tailrace.server.store.values import Delivery
from tailrace.v1 import worker_service_pb2 as pb
from tailrace.v1.worker_service_pb2_grpc import WorkerServiceServicer


class WorkerService(WorkerServiceServicer):
    """Parses, calls, renders."""

    def __init__(
        self,
        coordinator: Coordinator,
        dispatcher: Dispatcher,
        presence: Presence,
        calls: OpenCalls,
        *,
        max_payload_bytes: int,
    ) -> None:
        self._coordinator = coordinator
        self._dispatcher = dispatcher
        self._presence = presence
        self._calls = calls
        self._max_payload_bytes = max_payload_bytes
        self._attempts = Attempts(coordinator, max_payload_bytes=max_payload_bytes)
        self._streams = WorkStreams()

    async def Work(self, requests: AsyncIterator[tuple[pb.WorkRequest, int]], context: Context) -> None:  # type: ignore[override]  # frames with their size in, writes to the context instead of yielding
        """Serve one worker for as long as its stream lives."""
        stream = WorkStream(
            coordinator=self._coordinator,
            dispatcher=self._dispatcher,
            attempts=self._attempts,
            streams=self._streams,
            presence=self._presence,
            draining=self._calls.draining,
            write=context.write,
        )
        await stream.run(requests)

    async def LeaseTasks(self, request: pb.LeaseTasksRequest, context: Context) -> pb.LeaseTasksResponse:
        """Take some tasks, waiting for the first one."""
        check_worker(request.worker, "worker")
        violations = Violations()
        if request.max_tasks < 1:
            violations.add("max_tasks", "must be at least 1")
        wait_ms = span_ms(violations, "wait_timeout", request.wait_timeout, maximum_ms=limits.MAX_WAIT_TIMEOUT_MS)
        violations.raise_if_any()
        if request.max_tasks > limits.MAX_LEASE_TASKS:
            raise LimitExceededError("max_tasks", limit=limits.MAX_LEASE_TASKS, actual=request.max_tasks)
        deliveries = await self._cut_to_fit(await self._lease(request, wait_ms))
        return pb.LeaseTasksResponse(
            assignments=[render.assignment(d, start_immediately=request.start_immediately) for d in deliveries]
        )

    async def Heartbeat(self, request: pb.HeartbeatRequest, context: Context) -> pb.HeartbeatResponse:
        """Extend leases and confirm starts."""
        violations = Violations()
        check_worker_id(violations, "worker_id", request.worker_id)
        violations.raise_if_any()
        check_count("beats", request.beats, limit=limits.MAX_BATCH_ITEMS)
        statuses = await self._attempts.beat(request.beats, worker_id=request.worker_id)
        for status in statuses:
            self._dispatcher.mentioned((status.task_id, status.lease_token), is_over=is_lost(status))
        return pb.HeartbeatResponse(
            leases=statuses,
            heartbeat_interval=render.duration_ms(limits.HEARTBEAT_INTERVAL_MS),
        )

    async def StoreResult(self, request: pb.StoreResultRequest, context: Context) -> pb.StoreResultResponse:
        """End one attempt."""
        if not request.HasField("result"):
            raise invalid("result", "is required")
        end = parse_attempt_result(request.result, max_payload_bytes=self._max_payload_bytes, path="result")
        outcome = (await self._coordinator.store_results([end]))[0]
        is_unknown = isinstance(outcome, StoreUnavailableError)
        self._dispatcher.mentioned((end.task_id, end.lease_token), is_over=not is_unknown)
        if isinstance(outcome, TailraceError):
            raise outcome
        return pb.StoreResultResponse(state=render.STATES[outcome.state], duplicate=outcome.is_duplicate)

    async def BatchStoreResults(
        self, request: pb.BatchStoreResultsRequest, context: Context
    ) -> pb.BatchStoreResultsResponse:
        """End many attempts, each by itself."""
        check_count("results", request.results, limit=limits.MAX_BATCH_ITEMS, minimum=1)
        if len(request.results) > 1:
            # One that is too large to be kept ends its task all the same, whichever way it comes in.
            check_size("results", request.ByteSize())
        acks = await self._attempts.end(request.results)
        for ack in acks:
            self._dispatcher.mentioned((ack.task_id, ack.lease_token), is_over=is_final(ack.error))
        return pb.BatchStoreResultsResponse(acks=acks)

    async def ReleaseTasks(self, request: pb.ReleaseTasksRequest, context: Context) -> pb.ReleaseTasksResponse:
        """Give leases back."""
        check_count("leases", request.leases, limit=limits.MAX_BATCH_ITEMS, minimum=1)
        delay_ms = parse_release_delay(request, "delay")
        items = await self._attempts.release(request.leases, delay_ms)
        for item in items:
            self._dispatcher.mentioned((item.task_id, item.lease_token), is_over=is_final(item.error))
        return pb.ReleaseTasksResponse(items=items)

    async def _lease(self, request: pb.LeaseTasksRequest, wait_ms: int) -> Sequence[Delivery]:
        worker_id = request.worker.worker_id
        call = _LeaseCall(
            worker_id,
            tuple(request.worker.queues),
            request.max_tasks,
            start_immediately=request.start_immediately,
            is_drained=partial(self._presence.is_drained, worker_id),
        )
        if not wait_ms:
            return await self._dispatcher.take(call)
        drained = asyncio.create_task(self._calls.draining.wait())
        drained.add_done_callback(lambda _: call.arrived.set())
        self._dispatcher.join(call)
        try:
            async with asyncio.timeout(wait_ms / 1_000):
                await call.arrived.wait()
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            self._dispatcher.leave(call)
            await give_back(self._coordinator, call.deliveries)
            raise
        finally:
            drained.cancel()
            self._dispatcher.leave(call)
        return call.deliveries

    async def _cut_to_fit(self, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        """Give back what one message cannot hold."""
        count = count_that_fits(deliveries, limits.FILL_MESSAGE_BYTES)
        if count < len(deliveries):
            await give_back(self._coordinator, deliveries[count:])
        return deliveries[:count]


class _LeaseCall:
    """A call that waits for its first tasks; it takes whatever comes then, and no more."""

    room_bytes = None
    holds_nothing = True

    def __init__(
        self,
        worker_id: str,
        queues: tuple[str, ...],
        max_tasks: int,
        *,
        start_immediately: bool,
        is_drained: Callable[[], bool],
    ) -> None:
        self.worker_id = worker_id
        self.queues = queues
        self.start_immediately = start_immediately
        self.arrived = asyncio.Event()
        self.deliveries: Sequence[Delivery] = ()
        self._max_tasks = max_tasks
        self._is_drained = is_drained

    @property
    def room(self) -> int:
        """How many more tasks it takes right now."""
        return 0 if self.arrived.is_set() or self._is_drained() else self._max_tasks

    def assign(self, deliveries: Sequence[Delivery]) -> None:
        """Take tasks; the call then answers."""
        self.deliveries = deliveries
        self.arrived.set()
