"""Which workers are connected to which server process: each says so of itself, or is forgotten after a while."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from tailrace.server.store.operators import PRESENCE_MS, WorkerPresence
from tailrace.server.store.redis.connection import Client
from tailrace.server.store.redis.keys import Keyspace
from tailrace.server.store.redis.replies import drain_line

REPLICA_MEMORY_MS = 3_600_000
"""How long a process that fell silent is still looked for, by the clock of Redis. Far longer than it is silent while it
lives, as nodes of a cluster have clocks of their own."""
_NAMES = tuple(field.name for field in fields(WorkerPresence))


class Presence:
    """Speaks for one process. What it does raises CallFailedError when Redis does not answer."""

    def __init__(self, client: Client, keyspace: Keyspace, replica_id: str) -> None:
        self._client = client
        self._keyspace = keyspace
        self._replica_id = replica_id

    async def announce(self, workers: Sequence[WorkerPresence]) -> None:
        """Say which workers are connected to this process."""
        key, replicas = self._keyspace.workers_of(self._replica_id), self._keyspace.replicas
        if not workers:
            await self._client.call("UNLINK", key)
            await self._client.call("ZREM", replicas, self._replica_id)
            return
        seconds, microseconds = await self._client.call("TIME")
        now_ms = int(seconds) * 1000 + int(microseconds) // 1000
        await self._client.call("SET", key, json.dumps(list(map(asdict, workers))), "PX", PRESENCE_MS)
        await self._client.call("ZADD", replicas, now_ms, self._replica_id)
        await self._client.call("ZREMRANGEBYSCORE", replicas, "-inf", now_ms - REPLICA_MEMORY_MS)

    async def list(self) -> list[WorkerPresence]:
        """Tell which workers are connected to any process, by worker_id, then session_id."""
        replicas = await self._client.call("ZRANGE", self._keyspace.replicas, 0, -1)
        keys = [self._keyspace.workers_of(replica.decode()) for replica in replicas]
        texts = await asyncio.gather(*(self._client.call("GET", key) for key in keys))
        workers = [_worker(values) for text in texts if text is not None for values in json.loads(text)]
        return sorted(workers, key=lambda worker: (worker.worker_id, worker.session_id))

    async def drain(self, worker_id: str) -> None:
        """Tell all other processes that an operator wants a worker to get nothing more."""
        line = drain_line(worker_id)
        await self._client.call("PUBLISH", self._keyspace.broadcast_channel, f"{self._replica_id}\n{line}")


def _worker(values: Mapping[str, Any]) -> WorkerPresence:
    """Read one worker; a newer release may say more of it."""
    known: dict[str, Any] = {name: values[name] for name in _NAMES}
    known["queues"] = tuple(known["queues"])
    return WorkerPresence(**known)
