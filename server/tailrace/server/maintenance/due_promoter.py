"""Puts tasks whose time has come on their queue."""

from tailrace.server.maintenance.duty import Duty
from tailrace.server.store.base import Store
from tailrace.server.store.values import Tick

LIMIT = 200


def due_promoter(store: Store) -> Duty:
    """Make the duty that ends delays and retry backoffs."""

    async def tick(partition: int) -> Tick:
        return await store.promote_due(partition, LIMIT)

    return Duty(name="due_tasks_promoted", tick=tick)
