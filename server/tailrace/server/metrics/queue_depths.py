"""What stands in the queues of the store, read now and then so that nobody can make it a burden by asking often."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from tailrace.server.coordinator.operators import Operators
from tailrace.server.coordinator.queue_stats import QueueTotals
from tailrace.server.domain.errors import TailraceError

READ_EVERY_S: Final = 5.0
DEADLINE_S: Final = 1.0
"""How long whoever asks waits for the store; what comes later is for the next one."""
PAGE: Final = 1_000
MAX_PAGES: Final = 20
"""Of a store with more queues than this, the others are left out."""

logger = structlog.get_logger(__name__)


class QueueDepths:
    """The latest reading, no older than READ_EVERY_S and a second."""

    def __init__(self, operators: Operators, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._operators = operators
        self._clock_s = clock_s
        self._began_at = 0.0
        self._reading: asyncio.Task[Sequence[QueueTotals] | None] | None = None

    async def latest(self) -> Sequence[QueueTotals] | None:
        """Tell of every queue; None while the store does not answer."""
        if self._reading is None or (self._reading.done() and self._clock_s() >= self._began_at + READ_EVERY_S):
            self._began_at = self._clock_s()
            self._reading = asyncio.create_task(self._read())
        reading = self._reading
        await asyncio.wait([reading], timeout=max(0.0, self._began_at + DEADLINE_S - self._clock_s()))
        return reading.result() if reading.done() and not reading.cancelled() else None

    async def stop(self) -> None:
        """Leave off whatever is being read. A second call does nothing."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])

    async def _read(self) -> Sequence[QueueTotals] | None:
        queues: list[QueueTotals] = []
        try:
            for _ in range(MAX_PAGES):
                page = await self._operators.list_queues(queues[-1].queue if queues else "", PAGE)
                queues.extend(page)
                if len(page) < PAGE:
                    break
        except TailraceError as error:
            logger.warning("queues_not_read", error=str(error))
            return None
        except Exception:  # the other numbers are wanted all the more
            logger.exception("queues_not_read")
            return None
        return queues
