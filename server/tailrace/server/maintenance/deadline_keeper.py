"""Acts on tasks whose time is over: not started, not ended or not done by when they had to be."""

import random

from tailrace.server.coordinator.failures import DEADLINES
from tailrace.server.domain.retry import JITTER_STEPS
from tailrace.server.maintenance.duty import Duty
from tailrace.server.store.base import Store
from tailrace.server.store.values import Tick

LIMIT = 200


def deadline_keeper(store: Store) -> Duty:
    """Make the duty that holds tasks to ``start_deadline``, ``execution_timeout`` and ``total_timeout``."""

    async def tick(partition: int) -> Tick:
        jitters = [random.randint(0, JITTER_STEPS) for _ in range(LIMIT)]
        return await store.end_overdue(partition, DEADLINES, jitters)

    return Duty(name="deadlines_enforced", tick=tick)
