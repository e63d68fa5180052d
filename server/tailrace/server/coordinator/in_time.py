"""The deadline of store calls that are made one by one."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from tailrace.server.coordinator.batcher import CALL_DEADLINE_S
from tailrace.server.domain.errors import StoreUnavailableError

Outcome = TypeVar("Outcome")


async def in_time(call: Awaitable[Outcome]) -> Outcome:
    """Wait for a store call, and not for longer than any may take.

    Raises:
        StoreUnavailableError: It took too long; whether it took effect is unknown.
    """
    try:
        async with asyncio.timeout(CALL_DEADLINE_S):
            return await call
    except TimeoutError:
        raise StoreUnavailableError(f"the store did not answer within {CALL_DEADLINE_S:.0f} s") from None
