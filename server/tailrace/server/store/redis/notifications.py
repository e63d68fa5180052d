"""Hearing from other server processes: a connection of its own that is never trusted in silence.

Messages are lost while the connection is down, and a connection can be down without either end being told. So Redis is
asked for a PONG after some silence, and every new subscription is announced as an EpochBreak: whoever waits reads anew.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence

import structlog
from redis.exceptions import RedisError

from tailrace.server.store.changes import Change, EpochBreak, QueueReady
from tailrace.server.store.redis.connection import Client, RawConnection
from tailrace.server.store.redis.errors import CallFailedError, call_failed
from tailrace.server.store.redis.keys import Keyspace
from tailrace.server.store.redis.replies import change_in

SILENCE_S = 5.0
"""After so much of it Redis is asked for a PONG; after as much again the connection counts as broken."""
CONFIRMATION_DEADLINE_S = 5.0
SHORTEST_BACKOFF_S = 0.05
LONGEST_BACKOFF_S = 1.0
CANCEL_AGAIN_S = 0.2

logger = structlog.get_logger(__name__)


class Notifications:
    """Keeps one subscription up and passes on what it brings.

    ``before_break`` is awaited between a new subscription and its EpochBreak.
    """

    def __init__(
        self,
        client: Client,
        keyspace: Keyspace,
        replica_id: str,
        on_change: Callable[[Change], None],
        *,
        before_break: Callable[[], Awaitable[None]],
    ) -> None:
        self._client = client
        self._replica_id = replica_id
        self._on_change = on_change
        self._before_break = before_break
        self._wake_channel = keyspace.wake_channel.encode()
        self._channels = (keyspace.replica_channel(replica_id), keyspace.broadcast_channel, keyspace.wake_channel)
        self._has_subscribed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Subscribe; returns once Redis has confirmed it. From then on nothing is missed unannounced."""
        self._task = asyncio.create_task(self._run(), name="redis-notifications")
        await self._has_subscribed.wait()

    async def stop(self) -> None:
        """Unsubscribe. A second call does nothing."""
        task, self._task = self._task, None
        while task is not None and not task.done():
            # Once need not be enough: until Python 3.12, asyncio.wait_for can swallow a cancellation.
            task.cancel()
            await asyncio.wait({task}, timeout=CANCEL_AGAIN_S)

    async def _run(self) -> None:
        backoff_s = SHORTEST_BACKOFF_S
        while True:
            connection, is_subscribed = self._client.new_connection(), False
            try:
                await self._subscribe(connection)
                backoff_s, is_subscribed = SHORTEST_BACKOFF_S, True
                await self._listen(connection)
            except (RedisError, OSError) as error:
                failed = call_failed(error, was_sent=is_subscribed) or error
                logger.warning("notifications_interrupted", address=self._client.address, error=f"Redis {failed}")
            except Exception:
                logger.exception("notifications_interrupted")
            finally:
                await connection.disconnect(nowait=True)
            await asyncio.sleep(backoff_s * random.uniform(0.5, 1.0))
            backoff_s = min(2 * backoff_s, LONGEST_BACKOFF_S)

    async def _subscribe(self, connection: RawConnection) -> None:
        async with asyncio.timeout(CONFIRMATION_DEADLINE_S):
            await connection.connect()
            await connection.send_command("SUBSCRIBE", *self._channels)
            unconfirmed = {channel.encode() for channel in self._channels}
            while unconfirmed:
                kind, channel, payload = await connection.read_response()
                if kind == b"subscribe":
                    unconfirmed.discard(channel)
                else:
                    self._take(channel, payload)
        if self._has_subscribed.is_set():
            await self._announce_break()
        self._has_subscribed.set()

    async def _announce_break(self) -> None:
        try:
            await self._before_break()
        except CallFailedError as error:
            logger.warning("notifications_unchecked", address=self._client.address, error=f"Redis {error}")
        self._on_change(EpochBreak())

    async def _listen(self, connection: RawConnection) -> None:
        """Pass on messages until the connection breaks."""
        is_pong_due = False
        while True:
            message = await connection.read_response(timeout=SILENCE_S, disconnect_on_error=False)
            if message is not None:
                is_pong_due = False
                if message[0] == b"message":
                    self._take(message[1], message[2])
            elif is_pong_due:
                raise TimeoutError
            else:
                is_pong_due = True
                await connection.send_command("PING", check_health=False)

    def _take(self, channel: bytes, payload: bytes) -> None:
        """Pass on one message: who says so, then what. What this process did itself it knows already."""
        try:
            changes: Sequence[Change]
            if channel == self._wake_channel:
                queue, origin = payload.decode().split(" ")
                changes = [QueueReady(queue)]
            else:
                first, line, *more = payload.split(b"\n")
                origin, changes = first.decode(), [change_in(line) for line in (line, *more)]
        except ValueError:
            # Only a newer release, or a stranger, writes like this: whatever it said, it is not to be missed.
            logger.warning("notification_not_understood", channel=channel.decode())
            origin, changes = "", [EpochBreak()]
        if origin != self._replica_id:
            for change in changes:
                self._on_change(change)
