"""The operators' half of the Store protocol on Redis."""

import asyncio
from collections.abc import Coroutine, Sequence
from functools import cached_property
from typing import Any, TypeVar

from tailrace.server.domain.detail import TaskDetail
from tailrace.server.domain.errors import StoreUnavailableError
from tailrace.server.store.changes import DrainRequested
from tailrace.server.store.operators import Audited, Listed, Purged, QueueStats, WorkerPresence
from tailrace.server.store.redis import operator_arguments as arguments
from tailrace.server.store.redis import operator_replies as replies
from tailrace.server.store.redis.engine import RedisEngine
from tailrace.server.store.redis.errors import CallFailedError
from tailrace.server.store.redis.operator_arguments import MAX_STEP
from tailrace.server.store.redis.presence import Presence

T = TypeVar("T")


class RedisOperatorCalls(RedisEngine):
    """See OperatorStore."""

    async def read_details(self, partition: int, task_ids: Sequence[str]) -> list[TaskDetail | None]:
        """Read whole records."""
        return await self._perform(
            "read_details", partition, arguments.detail_arguments(task_ids), parse=replies.parse_details
        )

    async def list_tasks(self, partition: int, cursor: str, limit: int, *, with_payloads: bool) -> Listed:
        """Look through the tasks of a partition, 500 a call at most."""
        return await self._perform(
            "list_tasks",
            partition,
            arguments.list_arguments(cursor, limit, with_payloads=with_payloads),
            parse=replies.parse_listed,
        )

    async def delete_tasks(self, partition: int, task_ids: Sequence[str]) -> list[bool | None]:
        """Remove records of tasks that are done."""
        return await self._perform("delete_tasks", partition, task_ids, parse=replies.parse_deleted)

    async def list_queues(self, partition: int, after: str, limit: int) -> list[QueueStats]:
        """Tell of queues by name."""
        return await self._perform("list_queues", partition, (after, limit), parse=replies.parse_queues)

    async def pause_queue(self, partition: int, queue: str, *, is_paused: bool) -> QueueStats:
        """Stop deliveries from a queue, or let them go on."""
        return await self._perform("pause_queue", partition, (queue, f"{is_paused:d}"), parse=replies.parse_paused)

    async def purge_queue(self, partition: int, queue: str, cursor: str, limit: int, failure: bytes) -> Purged:
        """Revoke tasks of a queue that are ready or on the schedule, looking at 500 a call at most."""
        return await self._perform(
            "purge_queue",
            partition,
            arguments.purge_arguments(queue, cursor, limit, failure),
            parse=replies.parse_purged,
            in_doubt=None,
        )

    async def audit_tasks(self, partition: int, cursor: str, limit: int) -> Audited:
        """Compare about ``limit`` records with the indexes that should hold them.

        SCAN goes through all of a server's keys: where several partitions share it, most calls find nothing to do.
        """
        task_ids, next_cursor = await self._ask(self._scan(partition, arguments.scan_cursor(cursor), limit))
        repairs: dict[str, int] = {}
        for first in range(0, len(task_ids), MAX_STEP):
            found = await self._perform(
                "audit_tasks", partition, task_ids[first : first + MAX_STEP], parse=replies.parse_repairs
            )
            repairs = {name: repairs.get(name, 0) + found.get(name, 0) for name in repairs | found}
        return Audited(repairs=repairs, cursor=next_cursor)

    async def announce_workers(self, workers: Sequence[WorkerPresence]) -> None:
        """Say which workers are connected to this process."""
        await self._ask(self._presence.announce(workers))

    async def list_workers(self) -> list[WorkerPresence]:
        """Tell which workers are connected to any process."""
        return await self._ask(self._presence.list())

    async def drain_worker(self, worker_id: str) -> None:
        """Have every process told of a DrainRequested."""
        await self._ask(self._presence.drain(worker_id))
        self._tell([DrainRequested(worker_id)])

    @cached_property
    def _presence(self) -> Presence:
        return Presence(self._client, self._keyspace, self._replica_id)

    async def _scan(self, partition: int, cursor: str, limit: int) -> tuple[list[str], str]:
        """Find ids of a partition's records, and where to go on, which is empty at the end."""
        keys = self._partitions[partition]
        records = f"{keys.prefix}t:"
        command = ("SCAN", cursor, "MATCH", f"{records}*", "COUNT", min(limit, MAX_STEP))
        next_cursor, names = await self._client.call_near(keys.lease, *command)
        task_ids = [name.decode().removeprefix(records) for name in names]
        return task_ids, "" if next_cursor == b"0" else next_cursor.decode()

    async def _ask(self, commands: Coroutine[Any, Any, T]) -> T:
        """Run commands that are no script; they change no task, so there is nothing to tell."""
        if self._is_closed or not self._partitions:
            commands.close()
            raise StoreUnavailableError("the store is not open")
        call = asyncio.create_task(commands, name="redis-operator-call")
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        try:
            return await call
        except CallFailedError as error:
            raise StoreUnavailableError(f"the server's Redis {error}") from error
