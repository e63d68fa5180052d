"""Which workers are connected to this process, told to all others; and which of them an operator drains.

A worker is drained by its worker_id, wherever it is connected and until its process ends. So every process remembers
the drained ones, for when they reconnect: the latest of them, as nobody ever says that a process has ended.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from tailrace.server.coordinator.coordinator import Coordinator
from tailrace.server.coordinator.operators import Operators
from tailrace.server.dispatch.session import WorkerSession
from tailrace.server.dispatch.take import give_back
from tailrace.server.domain.errors import TailraceError
from tailrace.server.store.changes import Change, DrainRequested
from tailrace.server.store.operators import WorkerPresence
from tailrace.server.store.values import Delivery

ANNOUNCE_S = 5.0
"""How often the others are told anew; what is new is told at once."""
GATHER_S = 0.5
"""How far apart two announcements are at least, so that a crowd that connects costs a few and not one each."""
FAREWELL_S = 1.0
MAX_DRAINED = 10_000

logger = structlog.get_logger(__name__)


def now_ms() -> int:
    """Tell the time, for people to read."""
    return time.time_ns() // 1_000_000


@dataclass(slots=True, kw_only=True)
class _Connected:
    """One open Work stream."""

    session: WorkerSession
    sdk: str
    connect_ms: int
    last_seen_ms: int
    is_draining: bool = False


class Presence:
    """The connected workers of this process."""

    def __init__(self, operators: Operators, coordinator: Coordinator, *, clock_ms: Callable[[], int] = now_ms) -> None:
        self._operators = operators
        self._coordinator = coordinator
        self._clock_ms = clock_ms
        self._connected: dict[WorkerSession, _Connected] = {}
        self._drained: OrderedDict[str, None] = OrderedDict()
        self._to_give_back = list[Delivery]()
        self._has_news = asyncio.Event()
        self._is_announced = False

    def enter(self, session: WorkerSession, *, sdk: str) -> None:
        """List a session, from its hello on. That of a drained worker gets nothing."""
        now = self._clock_ms()
        connected = _Connected(session=session, sdk=sdk, connect_ms=now, last_seen_ms=now)
        self._connected[session] = connected
        if session.worker_id in self._drained:
            self._close_to_new(connected)
        self._has_news.set()

    def leave(self, session: WorkerSession) -> None:
        """List a session no longer. A second call does nothing."""
        if self._connected.pop(session, None) is not None:
            self._has_news.set()

    def heard_from(self, session: WorkerSession, *, is_draining: bool = False) -> None:
        """Note a sign of life of a worker, and whether it wants no more tasks."""
        if (connected := self._connected.get(session)) is None:
            return
        connected.last_seen_ms = self._clock_ms()
        if is_draining and not connected.is_draining:
            connected.is_draining = True
            self._has_news.set()

    def is_drained(self, worker_id: str) -> bool:
        """Tell whether an operator wants a worker to get nothing more."""
        return worker_id in self._drained

    def apply(self, change: Change) -> None:
        """Take in what the store says; never waits."""
        if not isinstance(change, DrainRequested):
            return
        self._drained[change.worker_id] = None
        self._drained.move_to_end(change.worker_id)
        while len(self._drained) > MAX_DRAINED:
            self._drained.popitem(last=False)
        for connected in self._connected.values():
            if connected.session.worker_id == change.worker_id:
                self._close_to_new(connected)

    def workers(self) -> list[WorkerPresence]:
        """Tell who is connected now."""
        return [
            WorkerPresence(
                worker_id=session.worker_id,
                session_id=session.session_id,
                queues=session.queues,
                sdk=connected.sdk,
                outstanding_count=session.outstanding_count,
                max_outstanding_tasks=session.max_outstanding,
                is_draining=connected.is_draining,
                connect_ms=connected.connect_ms,
                last_seen_ms=connected.last_seen_ms,
            )
            for session, connected in self._connected.items()
        ]

    async def run(self) -> None:
        """Keep the others told, until cancelled; then say goodbye, as far as the store answers at once.

        A store that does not answer is told later: what it was told before is kept for a minute.
        """
        try:
            while True:
                await self._wait_for_news()
                await self._give_back()
                await self._announce()
                await asyncio.sleep(GATHER_S)
        finally:
            if self._is_announced:
                await self._say_goodbye()

    def _close_to_new(self, connected: _Connected) -> None:
        connected.is_draining = True
        self._to_give_back.extend(connected.session.close_to_new())
        self._has_news.set()

    async def _wait_for_news(self) -> None:
        try:
            async with asyncio.timeout(ANNOUNCE_S):
                await self._has_news.wait()
        except TimeoutError:
            pass
        self._has_news.clear()

    async def _give_back(self) -> None:
        deliveries, self._to_give_back = self._to_give_back, list[Delivery]()
        if deliveries:
            await give_back(self._coordinator, deliveries)

    async def _announce(self) -> None:
        workers = self.workers()
        # While nobody is connected, silence says so: there is nothing to be forgotten.
        if not workers and not self._is_announced:
            return
        # Until the store has answered, what it was told is unknown.
        self._is_announced = True
        if await self._tell(workers):
            self._is_announced = bool(workers)

    async def _tell(self, workers: Sequence[WorkerPresence]) -> bool:
        try:
            await self._operators.announce_workers(workers)
        except TailraceError as error:
            logger.warning("announce_failed", workers=len(workers), error=str(error))
        except Exception:
            logger.exception("announce_failed", workers=len(workers))
        else:
            return True
        return False

    async def _say_goodbye(self) -> None:
        try:
            async with asyncio.timeout(FAREWELL_S):
                await self._tell([])
        except TimeoutError:
            pass
