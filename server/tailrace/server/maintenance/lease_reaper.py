"""Takes tasks from workers that stopped extending their lease."""

from tailrace.server.coordinator.failures import LEASE_EXPIRED
from tailrace.server.maintenance.duty import Duty
from tailrace.server.store.base import Store
from tailrace.server.store.values import Tick

LIMIT = 200


def lease_reaper(store: Store) -> Duty:
    """Make the duty that hands lost leases to other workers."""

    async def tick(partition: int) -> Tick:
        return await store.reap_leases(partition, LIMIT, LEASE_EXPIRED)

    return Duty(name="leases_reaped", tick=tick)
