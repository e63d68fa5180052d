"""A Redis Cluster of the tests' own: three masters with a replica each, on free ports, ended whatever happens."""

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.redis_server import RedisServer, free_port
from tests.wait import eventually

MASTERS = 3
SLOTS = 16_384
BUS_OFFSET = 10_000
"""The nodes talk to each other on their port and this much more."""
PORTS_TRIED = 100
CREATE_DEADLINE_S = 60.0
READY_WITHIN_S = 30.0
OPTIONS = {
    "cluster-enabled": "yes",
    "cluster-node-timeout": "2000",
    "repl-diskless-sync-delay": "0",
    "maxmemory-policy": "noeviction",
    "appendonly": "no",
}


class RedisCluster:
    """Six servers that know each other."""

    def __init__(self, nodes: Sequence[RedisServer]) -> None:
        self.nodes = nodes

    @property
    def url(self) -> str:
        """Names one of the nodes, and another for when that one is away."""
        first, *_, last = self.nodes
        return f"redis+cluster://127.0.0.1:{first.port},127.0.0.1:{last.port}"

    def create(self) -> None:
        """Make one cluster of the nodes; returns when every replica has what its master has."""
        places = [f"127.0.0.1:{node.port}" for node in self.nodes]
        command = ["redis-cli", "--cluster", "create", *places, "--cluster-replicas", "1", "--cluster-yes"]
        made = subprocess.run(command, capture_output=True, text=True, timeout=CREATE_DEADLINE_S, check=False)
        assert made.returncode == 0, f"the cluster was not made:\n{made.stdout}\n{made.stderr}"
        self.wait_until_whole()

    def wait_until_whole(self) -> None:
        """Wait until all nodes are there, all slots are served, and every replica follows its master."""
        eventually(self._is_whole, "all nodes of the cluster work", within_s=READY_WITHIN_S)

    def masters(self) -> list[RedisServer]:
        """List the running nodes that have slots, as the first running node sees it."""
        return [self._at(line) for line in self._lines() if "master" in line[2] and "fail" not in line[2] and line[8:]]

    def master_of(self, key: str) -> RedisServer:
        """Find the node that has a key."""
        slot = int(self._witness().command("CLUSTER", "KEYSLOT", key).removeprefix(":"))
        for line in self._lines():
            for part in line[8:]:
                first, _, last = part.partition("-")
                if "fail" not in line[2] and int(first) <= slot <= int(last or first):
                    return self._at(line)
        raise AssertionError(f"nobody has slot {slot}")

    def replica_of(self, master: RedisServer) -> RedisServer:
        """Find the node that follows a master."""
        name = master.text("CLUSTER", "MYID")
        return next(self._at(line) for line in self._lines() if line[3] == name)

    def _is_whole(self) -> bool:
        return all(node.is_running and self._sees_all(node) for node in self.nodes)

    def _sees_all(self, node: RedisServer) -> bool:
        state = node.text("CLUSTER", "INFO")
        lines = [line.split() for line in node.text("CLUSTER", "NODES").splitlines()]
        is_following = "role:slave" not in (replication := node.text("INFO", "replication")) or (
            "master_link_status:up" in replication
        )
        replicas = {line[3] for line in lines if "slave" in line[2] and "fail" not in line[2]}
        return (
            "cluster_state:ok" in state
            and f"cluster_slots_ok:{SLOTS}" in state
            and len(replicas) == MASTERS
            and is_following
        )

    def _witness(self) -> RedisServer:
        return next(node for node in self.nodes if node.is_running)

    def _lines(self) -> list[list[str]]:
        return [line.split() for line in self._witness().text("CLUSTER", "NODES").splitlines()]

    def _at(self, line: Sequence[str]) -> RedisServer:
        port = int(line[1].partition("@")[0].rpartition(":")[2])
        return next(node for node in self.nodes if node.port == port)


@contextmanager
def redis_cluster() -> Iterator[RedisCluster]:
    """Run a cluster of three masters with a replica each."""
    directory = Path(tempfile.mkdtemp(prefix="redis-cluster-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        nodes = []
        for number in range(2 * MASTERS):
            place = directory / str(number)
            place.mkdir()
            node = RedisServer(place, OPTIONS, pick_port=_port_with_bus)
            stack.callback(node.kill)
            node.start()
            nodes.append(node)
        cluster = RedisCluster(nodes)
        cluster.create()
        yield cluster


def _port_with_bus() -> int:
    for _ in range(PORTS_TRIED):
        port = free_port()
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port + BUS_OFFSET))
            except (OSError, OverflowError):
                continue
        return port
    raise RuntimeError("no free pair of ports")
