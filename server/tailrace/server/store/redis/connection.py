"""Connections to one Redis server: how long anything may take, and what to make of a failure."""

import asyncio
import random
import re
import time
from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias, cast

from redis.asyncio.connection import AbstractConnection, BlockingConnectionPool, Connection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from tailrace.server.store.redis.errors import NO_ANSWER, CallFailedError, call_failed

CALL_DEADLINE_S = 5.0
CONNECT_DEADLINE_S = 2.0
HEALTH_CHECK_S = 15.0
"""A connection that was idle for longer is asked for a PONG before it is trusted with a command."""
MAX_CONNECTIONS = 8
UNSENT_PATIENCE_S = 0.5
"""How long a command that was certainly not executed is tried again: it spans the blink of a restart."""
UNSENT_PAUSE_S = 0.05

Argument: TypeAlias = str | bytes | int
Address: TypeAlias = tuple[str, int]
"""Host and port."""
_URL_OPTION = re.compile(r"host|port|db|username|password|path|connection_class|ssl_\w+")


class RawConnection(Protocol):
    """What is used of a connection of redis-py, with types."""

    async def connect(self) -> None:
        """Connect and authenticate."""

    async def check_health(self) -> None:
        """Have a PING answered when the connection was idle for long."""

    async def send_command(self, *args: Argument, check_health: bool = True) -> None:
        """Send a command."""

    async def read_response(self, *, timeout: float | None = None, disconnect_on_error: bool = True) -> Any:
        """Read an answer; with a timeout, None when none came in time."""
        ...

    async def disconnect(self, nowait: bool = False) -> None:
        """Let go."""


class Client(Protocol):
    """How the store reaches Redis, be it one server or a cluster."""

    @property
    def address(self) -> str:
        """Where Redis is, for people."""
        ...

    @property
    def database(self) -> int:
        """Which of its databases is used."""
        ...

    async def call(self, *command: Argument) -> Any:
        """Run one command, where the key is that it names.

        Raises:
            CallFailedError: No answer, or a refusal.
            RedisError: Redis says that the command itself is wrong.
        """
        ...

    async def call_near(self, key: str, *command: Argument) -> Any:
        """Run, as ``call`` does, a command that names no key on the server that has this one."""
        ...

    async def primaries(self) -> "Sequence[RedisClient]":
        """Find all servers that take writes.

        Raises:
            CallFailedError: No answer, or a refusal.
        """
        ...

    def new_connection(self) -> RawConnection:
        """Make a connection for oneself, not yet connected; another call may lead to another server."""
        ...

    async def close(self) -> None:
        """Disconnect."""


class RedisClient:
    """Runs commands, each under a deadline, on a few connections to one server.

    redis-py's own retries are off: it would send a command again of which it cannot know whether it was executed.

    Args:
        url: Where Redis is and who we are.
        node: Another place, where the same credentials hold.

    Raises:
        ValueError: The URL is malformed.
    """

    def __init__(self, url: str, node: Address | None = None) -> None:
        self._settings = _connection_settings(url)
        if node is not None:
            self._settings |= dict(zip(("host", "port"), node, strict=True))
        self._connection_class: type[AbstractConnection] = self._settings.pop("connection_class", Connection)
        self._pool = BlockingConnectionPool(
            max_connections=MAX_CONNECTIONS,
            timeout=CALL_DEADLINE_S,
            connection_class=self._connection_class,
            **self._settings,
        )
        self.address = _address(self._settings)
        """Where Redis is, for people."""
        self.database = int(self._settings.get("db") or 0)
        """Which of its databases is used."""

    async def call(self, *command: Argument) -> Any:
        """Run one command.

        Raises:
            CallFailedError: No answer, or a refusal.
            RedisError: Redis says that the command itself is wrong.
        """
        patience_ends = time.monotonic() + UNSENT_PATIENCE_S
        while True:
            try:
                return await self.attempt(command, CALL_DEADLINE_S)
            except CallFailedError as error:
                if error.may_have_run or not error.is_passing or time.monotonic() > patience_ends:
                    raise
            await asyncio.sleep(UNSENT_PAUSE_S * random.uniform(0.5, 1.5))

    async def call_near(self, key: str, *command: Argument) -> Any:
        """Run a command that names no key."""
        return await self.call(*command)

    async def primaries(self) -> "Sequence[RedisClient]":
        """Find all servers that take writes: this one."""
        return (self,)

    async def attempt(self, command: Sequence[Argument], deadline_s: float, *, is_asking: bool = False) -> Any:
        """Run one command, once.

        Args:
            command: The command and its arguments.
            deadline_s: How long it may take, finding a connection included.
            is_asking: Ask a node of a cluster for what is on its way to it.

        Raises:
            CallFailedError: No answer, or a refusal.
            RedisError: Redis says that the command itself is wrong, or belongs elsewhere.
        """
        try:
            async with asyncio.timeout(deadline_s):
                return await self._attempt(command, is_asking=is_asking)
        except TimeoutError as error:
            raise CallFailedError(NO_ANSWER, may_have_run=True) from error

    def new_connection(self) -> RawConnection:
        """Make a connection outside the pool, not yet connected."""
        return cast("RawConnection", self._connection_class(**self._settings))

    async def close(self) -> None:
        """Disconnect."""
        await self._pool.aclose()

    async def _attempt(self, command: Sequence[Argument], *, is_asking: bool) -> Any:
        was_sent = False
        try:
            connection = cast("RawConnection", await self._pool.get_connection())  # type: ignore[no-untyped-call]
            try:
                await connection.check_health()
                if is_asking:
                    await connection.send_command("ASKING", check_health=False)
                    await connection.read_response()
                was_sent = True
                await connection.send_command(*command, check_health=False)
                return await connection.read_response()
            finally:
                await self._pool.release(cast("AbstractConnection", connection))
        except (RedisError, OSError) as error:
            failed = call_failed(error, was_sent=was_sent)
            if failed is None:
                raise
            raise failed from error


def _connection_settings(url: str) -> dict[str, Any]:
    """Take from the URL where Redis is and who we are; how it is talked to is not the URL's to say."""
    try:
        settings: dict[str, Any] = dict(parse_url(url))
    except ValueError:
        # The error's own text may quote a part of the password.
        message = "the Redis URL is malformed, it should look like redis://[user:password@]host:6379/0"
        raise ValueError(message) from None
    unknown = [name for name in settings if not _URL_OPTION.fullmatch(name)]
    if unknown:
        raise ValueError(f"the Redis URL has an option that is not for it to set: {unknown[0]}")
    return settings | {
        # Every use is under a deadline here; redis-py's own would go through asyncio.wait_for, which until Python 3.12
        # can swallow a cancellation.
        "socket_timeout": None,
        "socket_connect_timeout": CONNECT_DEADLINE_S,
        "health_check_interval": HEALTH_CHECK_S,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "decode_responses": False,
        "driver_info": None,
    }


def _address(settings: dict[str, Any]) -> str:
    place = settings.get("path") or f"{settings.get('host', 'localhost')}:{settings.get('port', 6379)}"
    return f"{place}/{settings['db']}" if settings.get("db") else str(place)
