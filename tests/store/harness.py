"""What the conformance suite needs of a store under test: a clock that it moves, a restart, a second server.

For each kind of store there is one module with one function that opens a harness on new, empty data::

    sqlite_harness.open_sqlite(directory: Path, *, partitions: int = 1) -> AbstractAsyncContextManager[Harness]
    redis_harness.open_redis(url: str, *, partitions: int = 1) -> AbstractAsyncContextManager[Harness]
    cluster_harness.open_cluster(cluster: RedisCluster, *, partitions: int = 1) -> AbstractAsyncContextManager[Harness]

The session fixtures ``redis_url`` in ``redis_harness`` and ``cluster`` in ``cluster_harness`` start what these need.
"""

from typing import Protocol

from tailrace.server.store.base import Store

START_MS = 1_800_000_000_000
"""What the clock of every harness shows at first: the suite compares points in time across stores, to the ms."""

REPLICA_ID = "0a0a0a0a"
SECOND_REPLICA_ID = "0b0b0b0b"


class Harness(Protocol):
    """An open store on its own data, whose clock stands still unless it is moved."""

    @property
    def store(self) -> Store:
        """The store, open. Another object after ``reopen``."""

    @property
    def now_ms(self) -> int:
        """What the store's clock shows."""

    async def advance(self, ms: int) -> None:
        """Move the store's clock; backwards with a negative number."""

    async def reopen(self) -> None:
        """Close the store and open a new one on the same data, as a server does that starts again.

        The partitions are as many as at first, and the clock shows what it showed.
        """

    async def second_store(self) -> Store:
        """Open one more store on the same data, as a second server has it (``SECOND_REPLICA_ID``).

        Closed with the harness. At most once a harness, and only where the store serves several processes.
        """
