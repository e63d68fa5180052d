"""Tasks for workers that tests start as processes of their own."""

import asyncio
import logging
import os
import time
from datetime import timedelta

from tailrace.worker import Worker

logger = logging.getLogger(__name__)

worker = Worker(["default"], concurrency=4, grace_period=timedelta(seconds=10))
impatient = Worker(["default"], concurrency=4, grace_period=timedelta(0))
bare = Worker()
not_a_worker = "tasks"


@worker.task
def add(x: int, y: int) -> int:
    return x + y


@worker.task
def die() -> None:
    """Take the whole process along, before anything else can happen in it."""
    os._exit(3)


@worker.task
def take(seconds: float) -> str:
    logger.info("task_begun")
    time.sleep(seconds)  # a signal arrives meanwhile
    return "taken"


@worker.task
async def take_on_loop(seconds: float) -> str:
    logger.info("task_begun")
    await asyncio.sleep(seconds)
    return "taken"


bare.task(take)
impatient.task(take)
impatient.task(take_on_loop)
