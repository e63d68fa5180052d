"""AdminService: for operators."""

from collections.abc import Sequence

from tailrace.server.api.handler import Context
from tailrace.server.api.looking import check_page_size
from tailrace.server.api.page_token import page_size_of, read_page_token, write_page_token
from tailrace.server.api.parse_fields import QUEUE, check_name
from tailrace.server.api.parse_work import check_worker_id
from tailrace.server.api.render import duration_ms, timestamp
from tailrace.server.api.violations import Violations
from tailrace.server.coordinator.operators import Operators
from tailrace.server.coordinator.queue_stats import QueueTotals
from tailrace.server.domain import limits
from tailrace.server.domain.errors import PageTokenInvalidError
from tailrace.server.store.operators import WorkerPresence
from tailrace.v1 import admin_service_pb2 as pb
from tailrace.v1.admin_service_pb2_grpc import AdminServiceServicer


class AdminService(AdminServiceServicer):
    """Parses, calls, renders."""

    def __init__(self, operators: Operators, *, max_queue_depth: int | None) -> None:
        self._operators = operators
        self._max_queue_depth = max_queue_depth

    async def ListQueues(self, request: pb.ListQueuesRequest, context: Context) -> pb.ListQueuesResponse:
        """Tell of queues, a page at a time."""
        size = _page_size(request.page_size)
        after = read_page_token("ListQueues", request.page_token)
        if after and QUEUE.fullmatch(after) is None:
            raise PageTokenInvalidError
        # One more than is told shows whether there is another page.
        queues = await self._operators.list_queues(after, size + 1)
        return pb.ListQueuesResponse(
            queues=[self._queue(totals) for totals in queues[:size]],
            next_page_token=write_page_token("ListQueues", queues[size - 1].queue) if len(queues) > size else "",
        )

    async def PauseQueue(self, request: pb.PauseQueueRequest, context: Context) -> pb.PauseQueueResponse:
        """Stop deliveries from a queue."""
        _check_queue(request.queue)
        return pb.PauseQueueResponse(
            queue=self._queue(await self._operators.pause_queue(request.queue, is_paused=True))
        )

    async def ResumeQueue(self, request: pb.ResumeQueueRequest, context: Context) -> pb.ResumeQueueResponse:
        """Let deliveries go on."""
        _check_queue(request.queue)
        return pb.ResumeQueueResponse(
            queue=self._queue(await self._operators.pause_queue(request.queue, is_paused=False))
        )

    async def PurgeQueue(self, request: pb.PurgeQueueRequest, context: Context) -> pb.PurgeQueueResponse:
        """Revoke what waits in a queue."""
        _check_queue(request.queue)
        purged = await self._operators.purge_queue(request.queue, is_forced=request.force)
        return pb.PurgeQueueResponse(purge_count=purged.count, remaining_count=purged.remaining)

    async def ListWorkers(self, request: pb.ListWorkersRequest, context: Context) -> pb.ListWorkersResponse:
        """Tell of workers, a page at a time."""
        size = _page_size(request.page_size)
        after = read_page_token("ListWorkers", request.page_token)
        workers = await self._operators.list_workers(after, size + 1)
        page = _fitting([_worker(presence) for presence in workers[:size]])
        return pb.ListWorkersResponse(
            workers=page,
            next_page_token=write_page_token("ListWorkers", page[-1].worker_id) if len(workers) > len(page) else "",
        )

    async def DrainWorker(self, request: pb.DrainWorkerRequest, context: Context) -> pb.DrainWorkerResponse:
        """Have a worker get no more tasks."""
        violations = Violations()
        check_worker_id(violations, "worker_id", request.worker_id)
        violations.raise_if_any()
        return pb.DrainWorkerResponse(worker=_worker(await self._operators.drain_worker(request.worker_id)))

    def _queue(self, totals: QueueTotals) -> pb.Queue:
        queue = pb.Queue(
            queue=totals.queue,
            paused=totals.is_paused,
            queued_count=totals.ready_count,
            delayed_count=totals.schedule_count,
            leased_count=totals.lease_count,
            max_depth=self._max_queue_depth or 0,
        )
        if totals.oldest_age_ms is not None:
            # Where the store's clock was set back, an age can be less than nothing.
            queue.oldest_queued_age.CopyFrom(duration_ms(max(0, totals.oldest_age_ms)))
        return queue


def _page_size(asked: int) -> int:
    violations = Violations()
    check_page_size(violations, asked)
    violations.raise_if_any()
    return page_size_of(asked)


def _check_queue(queue: str) -> None:
    violations = Violations()
    check_name(violations, "queue", queue, QUEUE)
    violations.raise_if_any()


def _fitting(workers: Sequence[pb.Worker]) -> Sequence[pb.Worker]:
    """Cut to what one message holds: a worker may name many queues. One always goes."""
    size_bytes = 0
    for count, worker in enumerate(workers):
        size_bytes += worker.ByteSize()
        if count and size_bytes > limits.FILL_MESSAGE_BYTES:
            return workers[:count]
    return workers


def _worker(presence: WorkerPresence) -> pb.Worker:
    return pb.Worker(
        worker_id=presence.worker_id,
        session_id=presence.session_id,
        queues=presence.queues,
        sdk=presence.sdk,
        outstanding_count=presence.outstanding_count,
        max_outstanding_tasks=presence.max_outstanding_tasks,
        draining=presence.is_draining,
        connect_time=timestamp(presence.connect_ms),
        last_seen_time=timestamp(presence.last_seen_ms),
    )
