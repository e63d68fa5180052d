"""How late the event loop is: all that a server does waits for its turn on it."""

import asyncio
from typing import Final

from tailrace.server.metrics.histogram import CALL_BOUNDS, Histograms

STEP_S: Final = 0.5


class LoopLag:
    """Sleeps, and measures by how much longer it slept than it meant to."""

    def __init__(self) -> None:
        self.lag_s: Histograms[None] = Histograms(CALL_BOUNDS)

    async def run(self) -> None:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due_at = loop.time() + STEP_S
            await asyncio.sleep(STEP_S)
            self.lag_s.add(None, loop.time() - due_at)
