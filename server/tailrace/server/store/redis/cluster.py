"""A cluster of Redis servers: every command goes to the node that has its key, through failovers and moves of slots.

Where a command belongs is known from the topology that one of the nodes tells; it is asked for anew whenever a node
could not be reached, did not answer, or said that the slot is elsewhere. What certainly was not executed is tried again
until the call's deadline; what may have been is left to the caller, as with one server.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit, urlunsplit

import structlog
from redis.exceptions import AskError, MovedError, RedisError, ResponseError, TryAgainError

from tailrace.server.store.redis import connection
from tailrace.server.store.redis.connection import Address, Argument, RawConnection, RedisClient
from tailrace.server.store.redis.errors import CallFailedError
from tailrace.server.store.redis.keys import slot_of
from tailrace.server.store.redis.topology import Topology, topology_in

SCHEMES = {"redis+cluster": "redis", "rediss+cluster": "rediss"}
DEFAULT_PORT = 6379
TOPOLOGY_DEADLINE_S = 1.0
"""How long one node may take to say what it knows; then the next is asked."""
TOPOLOGY_PATIENCE_S = 2.0
"""How long a call waits for what they say before it tries a node once more that has just failed."""
SHORTEST_PAUSE_S = 0.01
LONGEST_PAUSE_S = 0.4
SHORTEST_ATTEMPT_S = 0.3
"""With less time left nothing is tried again: it would end in doubt, and so far it was certainly not executed."""
_KEYLESS = frozenset({"INFO", "PING", "PUBLISH", "TIME"})
_SCRIPTS = frozenset({"EVAL", "EVALSHA"})

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Detour:
    """Where a node said that a command belongs."""

    address: Address
    is_asking: bool


class ClusterClient:
    """Runs commands on the nodes of a cluster.

    Args:
        url: ``redis+cluster://[user:password@]host:port[,host:port...]``, or ``rediss+cluster://``: some of the nodes.
        on_move: Called when slots have another primary than before: what was written last may be lost.

    Raises:
        ValueError: The URL is malformed.
    """

    def __init__(self, url: str, on_move: Callable[[], None]) -> None:
        self._url, self._seeds = _parse(url)
        self._on_move = on_move
        self._clients: dict[Address, RedisClient] = {}
        self._known: tuple[Address, ...] = self._seeds
        self._topology = Topology(())
        self._refresh: asyncio.Task[None] | None = None
        self._silent: set[Address] = set()
        """Nodes that failed since the topology was last told: perhaps others have their slots by now."""
        self._turn = random.randrange(len(self._seeds) + 1)
        self.address = ",".join(f"{host}:{port}" for host, port in self._seeds)
        """Where the cluster is looked for, for people."""
        self.database = 0
        """A cluster has but one."""

    async def call(self, *command: Argument) -> Any:
        """Run one command, where the first key is that it names; any node will do for one without.

        Raises:
            CallFailedError: No answer, or a refusal.
            RedisError: Redis says that the command itself is wrong.
        """
        name = command[0]
        if name in _KEYLESS:
            return await self._route(None, command)
        return await self._route(slot_of(str(command[3 if name in _SCRIPTS else 1])), command)

    async def call_near(self, key: str, *command: Argument) -> Any:
        """Run, as ``call`` does, a command that names no key on the node that has this one."""
        return await self._route(slot_of(key), command)

    async def primaries(self) -> Sequence[RedisClient]:
        """Find all nodes that have slots.

        Raises:
            CallFailedError: No node tells.
        """
        await self._look_anew()
        return [self._client(address) for address in self._topology.primaries]

    def new_connection(self) -> RawConnection:
        """Make a connection to one node, not yet connected; the next call leads to another."""
        nodes = self._topology.primaries or self._known
        self._turn += 1
        return self._client(nodes[self._turn % len(nodes)]).new_connection()

    async def close(self) -> None:
        """Disconnect."""
        if self._refresh is not None:
            self._refresh.cancel()
        clients = list(self._clients.values())
        self._clients.clear()
        await asyncio.gather(*(client.close() for client in clients))

    async def _route(self, slot: int | None, command: Sequence[Argument]) -> Any:
        ends_at = time.monotonic() + connection.CALL_DEADLINE_S
        detour: _Detour | None = None
        pauses = _pauses()
        while True:
            address = detour.address if detour else await self._settled_address_of(slot, ends_at)
            is_asking = detour is not None and detour.is_asking
            failed = CallFailedError("is moving this partition to another node", may_have_run=False)
            try:
                return await self._attempt(address, command, ends_at - time.monotonic(), is_asking=is_asking)
            except AskError as redirect:  # MovedError is one too
                detour = _detour(redirect, address)
                if not detour.is_asking:
                    self._look_soon()
            except TryAgainError:
                detour = None
            except CallFailedError as error:
                failed, detour = error, None
                if address is not None:
                    self._silent.add(address)
                self._look_soon()
                if error.may_have_run or not error.is_passing:
                    raise
            pause_s = next(pauses)
            if time.monotonic() + pause_s + SHORTEST_ATTEMPT_S > ends_at:
                raise failed
            await asyncio.sleep(pause_s)

    async def _settled_address_of(self, slot: int | None, ends_at: float) -> Address | None:
        """Find who has a slot; where that one has just failed, not before it is known whether it still does."""
        address = self._address_of(slot)
        if address not in self._silent or self._refresh is None or self._refresh.done():
            return address
        await asyncio.wait({self._refresh}, timeout=max(0.0, min(TOPOLOGY_PATIENCE_S, ends_at - time.monotonic())))
        return self._address_of(slot)

    def _address_of(self, slot: int | None) -> Address | None:
        if slot is not None:
            return self._topology.primary_of(slot)
        return random.choice(self._topology.primaries) if self._topology.primaries else None

    async def _attempt(
        self, address: Address | None, command: Sequence[Argument], deadline_s: float, *, is_asking: bool
    ) -> Any:
        if address is None:
            raise CallFailedError("has no node for this partition", may_have_run=False)
        return await self._client(address).attempt(command, deadline_s, is_asking=is_asking)

    def _client(self, address: Address) -> RedisClient:
        client = self._clients.get(address)
        if client is None:
            client = self._clients[address] = RedisClient(self._url, address)
        return client

    def _look_soon(self) -> asyncio.Task[None]:
        """See to it that the topology is asked for, once for all who want it."""
        if self._refresh is None or self._refresh.done():
            self._refresh = asyncio.create_task(self._ask_for_topology(), name="redis-topology")
            self._refresh.add_done_callback(_note_end)
        return self._refresh

    async def _look_anew(self) -> None:
        await asyncio.shield(self._look_soon())

    async def _ask_for_topology(self) -> None:
        """Ask one node after the other; who asks first differs, as a node may be on the wrong side of a split."""
        nodes = list(dict.fromkeys((*self._known, *self._seeds)))
        random.shuffle(nodes)
        failed = CallFailedError("cannot be reached", may_have_run=False)
        for address in nodes:
            try:
                reply = await self._client(address).attempt(("CLUSTER", "SLOTS"), TOPOLOGY_DEADLINE_S)
            except CallFailedError as error:
                failed = error
                continue
            except ResponseError as error:
                raise CallFailedError(
                    "is no cluster: name it with redis:// or rediss://", may_have_run=False, is_passing=False
                ) from error
            topology, known = topology_in(reply, address)
            if topology.ranges:
                await self._adopt(topology, known)
                return
            failed = CallFailedError("is a cluster in which nobody has any slots yet", may_have_run=False)
        raise CallFailedError(str(failed), may_have_run=False, is_passing=failed.is_passing) from failed.__cause__

    async def _adopt(self, topology: Topology, known: tuple[Address, ...]) -> None:
        before, self._topology, self._known = self._topology, topology, known
        self._silent.clear()
        if before.ranges and before != topology:
            logger.warning("cluster_changed", primaries=[f"{host}:{port}" for host, port in topology.primaries])
            self._on_move()
        for address in [address for address in self._clients if address not in known]:
            await self._clients.pop(address).close()


def _detour(redirect: AskError, asked: Address | None) -> _Detour:
    """Read where a redirection leads: a node that does not know its own host names only a port."""
    host: str = cast("Any", redirect).host or (asked[0] if asked else "")  # redis leaves it untyped
    return _Detour(address=(host, redirect.port), is_asking=not isinstance(redirect, MovedError))


def _pauses() -> Iterator[float]:
    pause_s = SHORTEST_PAUSE_S
    while True:
        yield pause_s * random.uniform(0.5, 1.0)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def _note_end(refresh: asyncio.Task[None]) -> None:
    if not refresh.cancelled() and isinstance(error := refresh.exception(), RedisError):
        logger.error("cluster_not_understood", error=str(error))


def _parse(url: str) -> tuple[str, tuple[Address, ...]]:
    """Take the nodes out of the URL; what is left says who we are."""
    malformed = "the Redis URL is malformed, it should look like redis+cluster://[user:password@]host:6379"
    parts = urlsplit(url)
    who, at, places = parts.netloc.rpartition("@")
    if parts.path.strip("/") not in {"", "0"}:
        raise ValueError("a Redis cluster has no databases to choose from: leave out what follows host and port")
    nodes: list[Address] = []
    for place in places.split(","):
        try:
            node = urlsplit(f"//{place}")
            nodes.append((node.hostname or "localhost", node.port or DEFAULT_PORT))
        except ValueError:
            raise ValueError(malformed) from None
    template = urlunsplit((SCHEMES[parts.scheme], f"{who}{at}localhost", "", parts.query, ""))
    RedisClient(template)  # for its complaints about the rest
    return template, tuple(nodes)
