"""What every operation of the store on Redis needs: opened and closed, scripts run, changes told of."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeVar

import structlog

from tailrace.server.domain.errors import StoreFullError, StoreUnavailableError
from tailrace.server.domain.transition import Observer
from tailrace.server.store.changes import Change, EpochBreak, StoreEmptied, TaskChanged
from tailrace.server.store.feed import ChangeFeed
from tailrace.server.store.redis.boot import (
    DEFAULT_CLUSTER_PARTITIONS,
    DEFAULT_PARTITIONS,
    Deployment,
    Server,
    check_servers,
    checked_partitions,
    join_deployment,
)
from tailrace.server.store.redis.cluster import SCHEMES, ClusterClient
from tailrace.server.store.redis.connection import Argument, Client, RedisClient
from tailrace.server.store.redis.epoch_watch import EpochWatch
from tailrace.server.store.redis.errors import CallFailedError
from tailrace.server.store.redis.keys import Keyspace, PartitionKeys
from tailrace.server.store.redis.notifications import Notifications
from tailrace.server.store.redis.replies import Reply
from tailrace.server.store.redis.scripts import ScriptRunner

OPEN_PATIENCE_S = 10.0
OPEN_PAUSE_S = 0.25
CLOSE_DEADLINE_S = 6.0
"""A little more than one call can take."""
EMPTIED_TOLD_S = 6.0
"""How long an answer may be held back to make sure that it is not for want of all data."""
_REPLICA_ID = re.compile(r"[A-Za-z0-9_-]{1,20}")

T = TypeVar("T")
logger = structlog.get_logger(__name__)


class RedisEngine:
    """Reaches one Redis, or a cluster; any number of server processes may share it.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``; ``redis+cluster://`` or ``rediss+cluster://`` for a cluster.
        replica_id: Names this process where tasks are told of; unique, at most 20 of ``A-Z a-z 0-9 _ -``.
        namespace: Keeps several deployments on one Redis apart.
        partitions: How many there have to be; None takes what is there, and where nothing is, 1 or, in a cluster, 32.
        clock: A Lua snippet with another ``now()``, for tests.

    Raises:
        ValueError: One of them is malformed.
    """

    def __init__(
        self,
        url: str,
        *,
        replica_id: str,
        namespace: str = "default",
        partitions: int | None = None,
        clock: str | None = None,
    ) -> None:
        if not _REPLICA_ID.fullmatch(replica_id):
            raise ValueError(f"replica id {replica_id!r} must be 1 to 20 of A-Z a-z 0-9 _ -")
        self._replica_id = replica_id
        self._wanted_partitions = checked_partitions(partitions)
        self._feed = ChangeFeed()
        self._observer: Observer | None = None
        self._is_cluster = url.partition(":")[0] in SCHEMES
        # Where slots have another primary, registrations may be lost: whoever waits registers anew.
        self._client: Client = (
            ClusterClient(url, lambda: self._feed.put(EpochBreak())) if self._is_cluster else RedisClient(url)
        )
        self._keyspace = Keyspace(namespace, database=self._client.database)
        self._scripts = ScriptRunner(
            self._client, channel_prefix=self._keyspace.channel_prefix, replica_id=replica_id, clock=clock
        )
        self._epoch_watch = EpochWatch(
            self._client,
            self._keyspace,
            on_emptied=self._tell_of_emptiness,
            on_unusable=self._give_up,
        )
        self._notifications = Notifications(
            self._client, self._keyspace, replica_id, self._feed.put, before_break=self._epoch_watch.check
        )
        self._emptiness_told = asyncio.Event()
        self._emptiness_told.set()
        self._gave_up = ""
        self._calls: set[asyncio.Task[Any]] = set()
        self._server: Server | None = None
        self._deployment: Deployment | None = None
        self._partitions: list[PartitionKeys] = []
        self._is_closed = False

    @property
    def description(self) -> str:
        """Say for people what is used and how durable it is, without passwords."""
        if self._server is None or self._deployment is None:
            return f"Redis at {self._client.address}, not open"
        durability = "with" if self._server.has_append_only_file else "WITHOUT"
        kind = "Redis Cluster" if self._is_cluster else "Redis"
        return f"{kind} {self._server.version} at {self._client.address}, {durability} append-only file"

    @property
    def partitions(self) -> int:
        """How many partitions there are."""
        if not self._partitions:
            raise RuntimeError("the store is not open")
        return len(self._partitions)

    async def open(self) -> None:
        """Connect, check Redis, create or join the deployment; back once changes by others are heard of.

        A Redis that is not there yet, or still loading, is waited for, 10 s in all.

        Raises:
            StoreUnavailableError: Redis cannot be reached, or must not be used; the text says what to mend.
        """
        try:
            async with asyncio.timeout(OPEN_PATIENCE_S + CLOSE_DEADLINE_S):
                self._epoch_watch.start(await self._boot())
                await self._notifications.start()
        except (CallFailedError, TimeoutError) as error:
            await self.close()
            what = str(error) or "does not let us subscribe"
            why = f" ({error.__cause__}); is it running, and is the URL right?" if error.__cause__ else ""
            raise StoreUnavailableError(f"Redis at {self._client.address} {what}{why}") from error
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Let calls under way end, disconnect, and end ``changes``. A second call does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._calls:
            await asyncio.wait(self._calls, timeout=CLOSE_DEADLINE_S)
        await self._epoch_watch.stop()
        await self._notifications.stop()
        self._feed.close()
        await self._client.close()

    def observe(self, observer: Observer) -> None:
        """Have the transitions that calls of this process make told; see Store."""
        self._observer = observer

    def changes(self) -> AsyncIterator[Change]:
        """Iterate over changes made by this process and, for registered tasks, by all others."""
        return self._feed.changes()

    async def _boot(self) -> Deployment:
        patience_ends = time.monotonic() + OPEN_PATIENCE_S
        while True:
            try:
                return await self._join()
            except CallFailedError as error:
                if not error.is_passing or time.monotonic() > patience_ends:
                    raise
                logger.info("store_awaited", address=self._client.address, error=f"Redis {error}")
            await asyncio.sleep(OPEN_PAUSE_S)

    async def _join(self) -> Deployment:
        default = DEFAULT_CLUSTER_PARTITIONS if self._is_cluster else DEFAULT_PARTITIONS
        self._server = await check_servers(self._client, is_cluster=self._is_cluster)
        self._deployment = await join_deployment(
            self._client, self._keyspace, self._wanted_partitions, default_partitions=default
        )
        await self._scripts.load()
        count = self._deployment.partitions
        self._partitions = [self._keyspace.partition(partition, count) for partition in range(count)]
        return self._deployment

    def _give_up(self, why: str) -> None:
        logger.error("store_unusable", address=self._client.address, error=f"Redis {why}")
        self._gave_up = why

    def _tell_of_emptiness(self) -> None:
        self._feed.put(StoreEmptied())
        self._emptiness_told = self._feed.mark()

    async def _tell_if_emptied(self) -> None:
        """Before saying that a task does not exist: it may have existed until Redis lost it.

        Back once whoever listens to the changes has heard of it.
        """
        try:
            async with asyncio.timeout(EMPTIED_TOLD_S):
                await self._epoch_watch.check()
                await self._emptiness_told.wait()
        except TimeoutError:
            logger.warning("emptiness_not_checked", address=self._client.address)
        except CallFailedError as error:
            raise StoreUnavailableError(f"the server's Redis {error}") from error

    async def _perform(
        self,
        script: str,
        partition: int,
        script_arguments: Sequence[Argument],
        *,
        parse: Callable[[Any], Reply[T]],
        in_doubt: Sequence[str] | None = (),
    ) -> T:
        """Run a script, tell of what it changed, and return what it brought.

        A caller that goes away leaves the call running: what it changes has to be told of all the same.
        ``in_doubt`` are the tasks that may have changed when no answer comes; None when nobody can say which.
        """
        if self._is_closed or not self._partitions:
            raise StoreUnavailableError("the store is not open")
        if self._gave_up:
            raise StoreUnavailableError(f"the server's Redis {self._gave_up}")
        call = asyncio.create_task(self._run(script, partition, script_arguments, parse, in_doubt))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        return await asyncio.shield(call)

    async def _run(
        self,
        script: str,
        partition: int,
        script_arguments: Sequence[Argument],
        parse: Callable[[Any], Reply[T]],
        in_doubt: Sequence[str] | None,
    ) -> T:
        try:
            reply = parse(await self._scripts.run(script, self._partitions[partition], *script_arguments))
        except CallFailedError as error:
            if error.may_have_run:
                self._tell(_doubts(in_doubt))
            if error.is_full:
                raise StoreFullError(f"the server's Redis {error}") from error
            raise StoreUnavailableError(f"the server's Redis {error}") from error
        except Exception:
            self._tell(_doubts(in_doubt))
            raise
        self._tell(reply.changes)
        if reply.transitions is not None and self._observer is not None:
            self._observer(reply.transitions)
        return reply.value

    def _tell(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self._feed.put(change)


def _doubts(task_ids: Sequence[str] | None) -> list[Change]:
    return [EpochBreak()] if task_ids is None else [TaskChanged(task_id=task_id) for task_id in task_ids]
