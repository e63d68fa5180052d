"""One server process: its parts put together, started in order and stopped in reverse."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import grpc
import structlog
from grpc_health.v1 import health, health_pb2
from grpc_health.v1._async import HealthServicer
from grpc_health.v1.health_pb2_grpc import (
    add_HealthServicer_to_server,  # pyright: ignore[reportUnknownVariableType]  # it has no types
)
from grpc_reflection.v1alpha import reflection

from tailrace.server.api.admin_service import AdminService
from tailrace.server.api.handler import OpenCalls, generic_handler
from tailrace.server.api.looking import Looking
from tailrace.server.api.server_info import SERVER_VERSION
from tailrace.server.api.task_service import TaskService
from tailrace.server.api.worker_service import WorkerService
from tailrace.server.config import ServerConfig
from tailrace.server.coordinator.coordinator import Coordinator
from tailrace.server.coordinator.operators import Operators
from tailrace.server.dispatch.dispatcher import Dispatcher
from tailrace.server.dispatch.presence import Presence
from tailrace.server.domain.ids import new_replica_id
from tailrace.server.domain.limits import MAX_RECEIVED_MESSAGE_BYTES
from tailrace.server.maintenance.auditor import Auditor
from tailrace.server.maintenance.deadline_keeper import deadline_keeper
from tailrace.server.maintenance.due_promoter import due_promoter
from tailrace.server.maintenance.duty import keep_up
from tailrace.server.maintenance.expirer import expirer
from tailrace.server.maintenance.lease_reaper import lease_reaper
from tailrace.server.metrics.metrics import Metrics
from tailrace.server.store.base import Store
from tailrace.server.store.by_url import store_for
from tailrace.server.store.changes import StoreEmptied
from tailrace.server.waiting.waiting import Waiting
from tailrace.v1 import admin_service_pb2, task_service_pb2, worker_service_pb2

SERVICES = (
    task_service_pb2.DESCRIPTOR.services_by_name["TaskService"],
    worker_service_pb2.DESCRIPTOR.services_by_name["WorkerService"],
    admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"],
)
STOP_S = 2.0
REFUSE_S = 2.0
"""How long a stopping server that nobody needs any more goes on telling new callers so, at most."""

CHANNEL_OPTIONS: Sequence[tuple[str, int]] = (
    ("grpc.max_receive_message_length", MAX_RECEIVED_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_RECEIVED_MESSAGE_BYTES),
    # A second server on a port in use must fail, not share it silently.
    ("grpc.so_reuseport", 0),
    # A call above this limit waits in the client without a word, so it must never be reached.
    ("grpc.max_concurrent_streams", 100_000),
    # Calls that arrive faster than the loop accepts them are cancelled at random beyond these.
    ("grpc.server.max_pending_requests", 100_000),
    ("grpc.server.max_pending_requests_hard_limit", 200_000),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.server_handshake_timeout_ms", 10_000),
)

logger = structlog.get_logger(__name__)


class Server:
    """A Tailrace server on the running event loop.

    ``start`` and ``stop`` are each called once by whoever owns it; a second ``stop`` waits for the first.
    """

    def __init__(self, config: ServerConfig, store: Store | None = None) -> None:
        self._config = config
        self.store = store or store_for(config.store, replica_id=new_replica_id())
        self.port = 0
        """The port that is listened on, once started."""
        self.metrics = Metrics(version=SERVER_VERSION) if config.metrics else None
        """What is counted; None where metrics are served nowhere."""
        self.metrics_port = 0
        """The port that metrics are served on, once started."""
        self._is_serving = False
        self.failed = asyncio.Event()
        """Set when a part of the server broke: the process should stop and be started anew."""
        self._grpc = grpc.aio.server(options=CHANNEL_OPTIONS)
        self._health = HealthServicer()
        self._background: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        """HOST:PORT to connect to, once started."""
        return f"{self._config.listen.rpartition(':')[0]}:{self.port}"

    @property
    def metrics_address(self) -> str | None:
        """HOST:PORT that metrics are served on, once started; None: nowhere."""
        return self._config.metrics and f"{self._config.metrics.rpartition(':')[0]}:{self.metrics_port}"

    async def start(self) -> None:
        """Open the store, begin the background work, then listen.

        Raises:
            StoreUnavailableError: The store cannot be used; the text says what to do.
            OSError: The address, or that for metrics, cannot be listened on.
        """
        store = self.store if self.metrics is None else self.metrics.watch(self.store)
        await store.open()
        try:
            self._assemble(store)
            self.port = self._listen()
            if self.metrics is not None and self._config.metrics is not None:
                self.metrics_port = await self.metrics.start(self._config.metrics, lambda: self._is_serving)
            await self._grpc.start()
        except BaseException:
            await self._let_go()
            raise
        self._is_serving = True
        await self._set_health(health_pb2.HealthCheckResponse.SERVING)
        logger.info("server_started", address=self.address, store=self.store.description)

    async def stop(self, grace: timedelta | None = None) -> None:
        """Say goodbye to every stream, wait for open calls (at most ``grace``), then let go of everything.

        Nothing accepted is lost by a stop: leases live on in the store.
        """
        if self._stopping is None:
            grace_s = self._config.grace_s if grace is None else grace.total_seconds()
            self._stopping = asyncio.create_task(self._stop(grace_s))
        await asyncio.shield(self._stopping)

    def _assemble(self, store: Store) -> None:
        coordinator = Coordinator(store, max_queue_depth=self._config.max_queue_depth or None)
        self.waiting = Waiting(coordinator)
        self.dispatcher = Dispatcher(coordinator)
        self.auditor = Auditor(store)
        self._calls = OpenCalls(None if self.metrics is None else self.metrics.calls)
        max_payload_bytes = self._config.max_payload_bytes
        operators = Operators(store, store.partitions)
        self.presence = Presence(operators, coordinator)
        if self.metrics is not None:
            self.metrics.look_at(operators=operators, presence=self.presence, repairs=self.auditor.audit_repairs)
        looking = Looking(operators, coordinator, max_payload_bytes=max_payload_bytes)
        services = (
            TaskService(coordinator, self.waiting, looking, self._calls, max_payload_bytes=max_payload_bytes),
            WorkerService(
                coordinator, self.dispatcher, self.presence, self._calls, max_payload_bytes=max_payload_bytes
            ),
            AdminService(operators, max_queue_depth=coordinator.max_queue_depth),
        )
        self._grpc.add_generic_rpc_handlers(
            [generic_handler(d, servicer, self._calls) for d, servicer in zip(SERVICES, services, strict=True)]
        )
        add_HealthServicer_to_server(self._health, self._grpc)
        names = [*(service.full_name for service in SERVICES), health.SERVICE_NAME, reflection.SERVICE_NAME]
        reflection.enable_server_reflection(names, self._grpc)
        self._background = asyncio.create_task(self._run_background(store))

    def _listen(self) -> int:
        try:
            return self._grpc.add_insecure_port(self._config.listen)
        except RuntimeError:
            raise OSError(
                f"cannot listen on {self._config.listen}: is another server using it? Choose another --listen HOST:PORT"
            ) from None

    async def _run_background(self, store: Store) -> None:
        makers = (lease_reaper, due_promoter, deadline_keeper, expirer)
        duties = [make(store) for make in makers]
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._route_changes())
                tasks.create_task(self.waiting.run())
                tasks.create_task(self.dispatcher.run())
                tasks.create_task(self.auditor.run())
                tasks.create_task(self.presence.run())
                if self.metrics is not None:
                    tasks.create_task(self.metrics.run())
                for partition in range(store.partitions):
                    for duty in duties:
                        tasks.create_task(keep_up(duty, partition))
        except Exception:
            logger.exception("background_failed")
            self.failed.set()

    async def _route_changes(self) -> None:
        async for change in self.store.changes():
            self.waiting.apply(change)
            self.dispatcher.apply(change)
            self.presence.apply(change)
            if isinstance(change, StoreEmptied) and self._config.stop_on_empty_store:
                logger.error("server_failed", why="the store came back without its data")
                self.failed.set()

    async def _set_health(self, status: "health_pb2.HealthCheckResponse.ServingStatus.ValueType") -> None:
        for name in ("", *(service.full_name for service in SERVICES)):
            await self._health.set(name, status)

    async def _stop(self, grace_s: float) -> None:
        self._is_serving = False
        logger.info("server_draining", grace_s=grace_s, open_calls=len(self._calls))
        await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        await self._calls.drain(grace_s)
        # What gRPC has received and not handed over by the time it stops is answered with a bare CANCELLED.
        await self._calls.refuse_rest(min(grace_s, REFUSE_S))
        await self._grpc.stop(STOP_S)
        await self._let_go()
        logger.info("server_stopped")

    async def _let_go(self) -> None:
        if self.metrics is not None:
            await self.metrics.stop()
        if self._background is not None:
            self._background.cancel()
            await asyncio.wait([self._background])
        await self.store.close()
