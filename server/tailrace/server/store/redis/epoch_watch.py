"""Noticing that Redis came back without its data: it was restarted without a file, or somebody emptied it.

Whatever is set up names its data by an epoch. When that is gone or another one, all tasks are gone too: whoever waits
for one is told, and the server goes on with what is there now.
"""

import asyncio
import random
from collections.abc import Callable

import structlog

from tailrace.server.store.redis.boot import Deployment, join_deployment, read_epoch
from tailrace.server.store.redis.connection import Client
from tailrace.server.store.redis.errors import CallFailedError
from tailrace.server.store.redis.keys import Keyspace

CHECK_S = 5.0

logger = structlog.get_logger(__name__)


class EpochWatch:
    """Looks at the epoch now and then, and whenever somebody asks.

    Args:
        client: How to reach Redis.
        keyspace: The names of the deployment.
        on_emptied: Called once for each time that the data was lost.
        on_unusable: Called with a text for people when what is there now is not for this process: it has to start anew.
    """

    def __init__(
        self,
        client: Client,
        keyspace: Keyspace,
        *,
        on_emptied: Callable[[], None],
        on_unusable: Callable[[str], None],
    ) -> None:
        self._client = client
        self._keyspace = keyspace
        self._on_emptied = on_emptied
        self._on_unusable = on_unusable
        self._deployment: Deployment | None = None
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    @property
    def epoch(self) -> str | None:
        """Names the data that is there as far as is known; None before the start."""
        return None if self._deployment is None else self._deployment.epoch

    def start(self, deployment: Deployment) -> None:
        """Begin to look; ``deployment`` is what should be there."""
        self._deployment = deployment
        self._task = asyncio.create_task(self._run(), name="redis-epoch")

    async def stop(self) -> None:
        """Look no more. A second call does nothing."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def check(self) -> None:
        """Look now. What is missing is set up again, with an epoch that all servers agree on.

        Raises:
            CallFailedError: Redis does not answer, or holds what this process cannot use.
        """
        async with self._lock:
            known = self._deployment
            if known is None or await read_epoch(self._client, self._keyspace) == known.epoch:
                return
            try:
                self._deployment = await join_deployment(self._client, self._keyspace, known.partitions)
            except CallFailedError as error:
                if not error.is_passing:
                    self._on_unusable(f"{error}; the server has to be started again")
                raise
            if self._deployment.epoch != known.epoch:
                logger.warning("store_set_up_anew", address=self._client.address, epoch=self._deployment.epoch)
                self._on_emptied()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(CHECK_S * random.uniform(0.8, 1.0))
            try:
                await self.check()
            except CallFailedError as error:
                logger.warning("epoch_not_checked", address=self._client.address, error=f"Redis {error}")
            except Exception:
                logger.exception("epoch_not_checked", address=self._client.address)
