"""The loop that every maintenance duty runs in."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from tailrace.server.domain.errors import StoreFullError, StoreUnavailableError
from tailrace.server.store.values import Tick

LONGEST_REST_S = 1.0
SHORTEST_REST_S = 0.01
CALL_DEADLINE_S = 10.0

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """One thing to be done again and again in each partition."""

    name: str
    """The event logged when it did something: a fact, such as ``leases_reaped``."""
    tick: Callable[[int], Awaitable[Tick]]
    """Does some of it in one partition. Every server process ticks; the store makes that harmless."""
    longest_rest_s: float = LONGEST_REST_S


async def keep_up(duty: Duty, partition: int) -> None:
    """Tick until cancelled: at once while there is more to do, else when the next one is due.

    A store that does not answer is tried again after the longest rest; it never ends the loop.
    """
    while True:
        rest_s = duty.longest_rest_s
        try:
            async with asyncio.timeout(CALL_DEADLINE_S):
                tick = await duty.tick(partition)
        except (StoreUnavailableError, StoreFullError, TimeoutError) as error:
            logger.warning("duty_failed", duty=duty.name, partition=partition, error=str(error))
        except Exception:
            logger.exception("duty_failed", duty=duty.name, partition=partition)
        else:
            if tick.count:
                logger.info(duty.name, partition=partition, count=tick.count)
            if tick.next_due_ms is not None:
                rest_s = min(rest_s, max(SHORTEST_REST_S, tick.next_due_ms / 1000))
        # The spread keeps several server processes from ticking in step.
        await asyncio.sleep(rest_s * random.uniform(0.9, 1.0) if rest_s == duty.longest_rest_s else rest_s)
