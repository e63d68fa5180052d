"""The worker of the fault tests: ``python -m tailrace.worker tests.faults.tasks:worker``."""

import logging
import os
import threading
import time
from datetime import timedelta
from typing import TypedDict

from tailrace.worker import Worker, current_task
from tests.faults import journal
from tests.faults.gates import pass_gate

worker = Worker(grace_period=timedelta(seconds=20))
logger = logging.getLogger(__name__)

LIFE_AFTER_DELIVERY_S = 0.05
HEED_AT_MOST_S = 60.0


class Square(TypedDict):
    """What ``square`` returns: the truth, and which execution tells it."""

    value: int
    execution_id: str


@worker.task()
def square(number: int) -> Square:
    return Square(value=number * number, execution_id=_begin().execution_id)


@worker.task()
def linger(gate: str) -> str:
    """Wait at the gate of this attempt, ``<gate>-<attempt>``; returns the execution's id."""
    execution = _begin()
    logger.info("execution_began: attempt %d", execution.attempt)
    pass_gate(f"{gate}-{execution.attempt}")
    logger.info("execution_ended: attempt %d", execution.attempt)
    return execution.execution_id


@worker.task()
def heed() -> None:
    """Run until it is revoked, and say when that was, on the clock that all processes of a machine share."""
    task = current_task()
    _begin()
    logger.info("execution_began: task %s", task.id)
    if task.revoked.wait(HEED_AT_MOST_S):
        logger.info("revocation_heard: task %s at %.6f s", task.id, time.monotonic())
        raise RuntimeError("stopped as asked")


@worker.task()
def kill_worker() -> None:
    _begin()
    # No event could tell this process that its time has come: it is the fault itself that takes this long.
    threading.Event().wait(LIFE_AFTER_DELIVERY_S)
    os._exit(1)


def _begin() -> journal.Execution:
    task = current_task()
    return journal.begin(task.id, task.attempt)
