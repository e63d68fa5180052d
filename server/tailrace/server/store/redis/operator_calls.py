"""The operators' half of the Store protocol on Redis."""

import asyncio
from collections import Counter
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

MAX_SCANS = 10
"""How often one step of an audit goes on looking for records."""

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
        """Revoke tasks of a queue that are ready or on the schedule, looking at 500 and revoking 150 a call at most."""
        return await self._perform(
            "purge_queue",
            partition,
            arguments.purge_arguments(queue, cursor, limit, failure),
            parse=replies.parse_purged,
            in_doubt=None,
        )

    async def audit_tasks(self, partition: int, cursor: str, limit: int) -> Audited:
        """Compare about ``limit`` records with the indexes that should hold them."""
        task_ids, next_cursor = await self._ask(self._find_records(partition, arguments.scan_cursor(cursor), limit))
        repairs = Counter[str]()
        for first in range(0, len(task_ids), MAX_STEP):
            some_ids = task_ids[first : first + MAX_STEP]
            repairs.update(await self._perform("audit_tasks", partition, some_ids, parse=replies.parse_repairs))
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

    async def _find_records(self, partition: int, cursor: str, limit: int) -> tuple[list[str], str]:
        """Find ids of a partition's records, each once, and where to go on, which is empty at the end.

        SCAN goes through all that a server holds: other keys of the partition, and other partitions too.
        """
        keys = self._partitions[partition]
        records = f"{keys.prefix}s:"
        task_ids: dict[str, None] = {}
        for _ in range(MAX_SCANS):
            command = ("SCAN", cursor, "MATCH", f"{records}*", "COUNT", min(limit, MAX_STEP))
            next_cursor, names = await self._client.call_near(keys.lease, *command)
            cursor = next_cursor.decode()
            task_ids.update(dict.fromkeys(name.decode().removeprefix(records) for name in names))
            if cursor == "0" or len(task_ids) >= limit:
                break
        return list(task_ids), "" if cursor == "0" else cursor

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
