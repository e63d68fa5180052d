"""What has to be true of a Redis before it may hold tasks, and what a deployment agrees on when it is created."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from tailrace.server.store.redis.connection import Client, RedisClient
from tailrace.server.store.redis.errors import CallFailedError
from tailrace.server.store.redis.keys import MAX_PARTITIONS, Keyspace

OLDEST_VERSION = (6, 2)
SCHEMA = 2
"""How keys and records look. Raised whenever a release could misread what the one before has written."""
DEFAULT_PARTITIONS = 1
DEFAULT_CLUSTER_PARTITIONS = 32

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What a Redis says of itself."""

    version: str
    has_append_only_file: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """What all server processes of a deployment share; fixed when its data was created."""

    partitions: int
    epoch: str
    """Names this data: another value means that Redis came back with other data."""


async def check_servers(client: Client, *, is_cluster: bool) -> Server:
    """Make sure that this Redis, each node of it that takes writes, keeps what it is given.

    Returns:
        What can be relied on: the oldest version, and what all nodes have.

    Raises:
        CallFailedError: It does not answer, or it must not be used.
    """
    servers = [await _check_server(node, is_cluster=is_cluster) for node in await client.primaries()]
    return Server(
        version=min((server.version for server in servers), key=_version_number),
        has_append_only_file=all(server.has_append_only_file for server in servers),
    )


async def _check_server(client: RedisClient, *, is_cluster: bool) -> Server:
    info = _parse_info(await client.call("INFO"))
    version = info.get("redis_version", "0")
    if _version_number(version) < OLDEST_VERSION:
        raise _refusal(f"is version {version}; 6.2 or later is needed")
    if info.get("cluster_enabled") == "1" and not is_cluster:
        raise _refusal("is a node of a cluster: name it with redis+cluster://host:port, or rediss+cluster://")
    if info.get("role") == "slave" and not is_cluster:
        raise _refusal("is a replica; name its primary")
    policy = info.get("maxmemory_policy", "noeviction")
    if info.get("maxmemory", "0") != "0" and policy != "noeviction":
        text = f"throws data away when its memory is full: set its maxmemory-policy from {policy} to noeviction"
        raise _refusal(text)
    server = Server(version=version, has_append_only_file=info.get("aof_enabled") == "1")
    if not server.has_append_only_file:
        logger.warning("store_not_durable", address=client.address, missing="appendonly yes")
    return server


def _version_number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())


async def join_deployment(
    client: Client, keyspace: Keyspace, partitions: int | None, *, default_partitions: int = DEFAULT_PARTITIONS
) -> Deployment:
    """Create the deployment, or join the one that is there.

    Args:
        client: How to reach Redis.
        keyspace: The names of the deployment.
        partitions: How many there have to be; None takes what is there.
        default_partitions: How many a new deployment has where nothing is asked for.

    Raises:
        CallFailedError: Redis does not answer, or its data has another number of partitions or another schema.
    """
    meta = await _read_meta(client, keyspace)
    if "schema" not in meta:
        # Several servers may come at once: the first to write a field decides it for all. The schema goes last.
        fresh: dict[str, str | int] = {
            "partitions": partitions or default_partitions,
            "epoch": uuid.uuid4().hex,
            "schema": SCHEMA,
        }
        for field, value in fresh.items():
            await client.call("HSETNX", keyspace.meta, field, value)
        meta = await _read_meta(client, keyspace)
    if int(meta["schema"]) != SCHEMA:
        raise _refusal(f"holds data of schema {meta['schema']}; this release knows {SCHEMA}")
    found = int(meta["partitions"])
    if partitions is not None and found != partitions:
        raise _refusal(f"holds data in {found} partitions, and {partitions} were asked for; that is fixed")
    return Deployment(partitions=found, epoch=meta["epoch"])


async def read_epoch(client: Client, keyspace: Keyspace) -> str | None:
    """Read which data is there now; None where there is none, or it is being set up.

    Raises:
        CallFailedError: Redis does not answer.
    """
    meta = await _read_meta(client, keyspace)
    return meta.get("epoch") if "schema" in meta else None


def checked_partitions(partitions: int | None) -> int | None:
    """Return the number if it can be had.

    Raises:
        ValueError: It cannot.
    """
    if partitions is not None and not 1 <= partitions <= MAX_PARTITIONS:
        raise ValueError(f"partitions must be 1 to {MAX_PARTITIONS}, not {partitions}")
    return partitions


async def _read_meta(client: Client, keyspace: Keyspace) -> Mapping[str, str]:
    pairs = await client.call("HGETALL", keyspace.meta)
    return {field.decode(): value.decode() for field, value in zip(pairs[::2], pairs[1::2], strict=True)}


def _parse_info(reply: bytes) -> Mapping[str, str]:
    lines = (line.partition(":") for line in reply.decode(errors="replace").splitlines())
    return {name: value for name, colon, value in lines if colon}


def _refusal(what: str) -> CallFailedError:
    return CallFailedError(what, may_have_run=False, is_passing=False)
