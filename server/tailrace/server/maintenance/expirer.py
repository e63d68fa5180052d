"""Removes the records of tasks that are done and whose time is over."""

from tailrace.server.maintenance.duty import Duty
from tailrace.server.store.base import Store
from tailrace.server.store.values import Tick

LIMIT = 200
LONGEST_REST_S = 5.0


def expirer(store: Store) -> Duty:
    """Make the duty that frees room; readers treat an expired record as gone before it gets there."""

    async def tick(partition: int) -> Tick:
        return await store.expire_done(partition, LIMIT)

    return Duty(name="records_expired", tick=tick, longest_rest_s=LONGEST_REST_S)
