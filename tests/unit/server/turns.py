"""Letting an event loop get on with what it has to do."""

import asyncio

TURNS = 10


async def other_tasks_ran() -> None:
    """Return after everything that could run without waiting for the outside has run, a few steps deep."""
    loop = asyncio.get_running_loop()
    for _ in range(TURNS):
        turn = loop.create_future()
        loop.call_soon(turn.set_result, None)
        await turn
