"""The store on a cluster whose nodes fail, hang, change places and hand over what they have."""

import asyncio
import hashlib
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import pytest
from redis import Redis

from tailrace.server.domain.errors import StoreUnavailableError
from tailrace.server.domain.retry import RetryPolicy
from tailrace.server.domain.task import TaskState
from tailrace.server.store.changes import EpochBreak
from tailrace.server.store.redis import RedisStore, connection, scripts
from tailrace.server.store.redis.keys import Keyspace, slot_of
from tailrace.server.store.values import ResultStored
from tests.redis_cluster import RedisCluster, redis_cluster
from tests.redis_server import RedisServer
from tests.store.builders import a_failure, a_lease_request, a_submission, a_success
from tests.store.cluster_harness import ClusterHarness, open_cluster
from tests.store.harness import REPLICA_ID
from tests.store.random_life import RandomLife
from tests.store.redis_listener import listening_to
from tests.store.steps import Steps
from tests.wait import eventually_async

LONG_MS = 1_000_000
TASKS = [f"task-{number}" for number in range(20)]


@pytest.fixture(scope="module")
def fragile() -> Iterator[RedisCluster]:
    """Run a cluster that may be ill-treated; each test leaves it whole."""
    with redis_cluster() as cluster:
        yield cluster


@pytest.fixture
async def harness(fragile: RedisCluster) -> AsyncIterator[ClusterHarness]:
    async with open_cluster(fragile) as harness:
        yield harness


async def test_a_new_deployment_has_32_partitions_spread_evenly(cluster: RedisCluster) -> None:
    store = RedisStore(cluster.url, replica_id="replica", namespace="spread")
    await store.open()
    for partition in range(store.partitions):
        assert (await store.submit_tasks(partition, [a_submission(f"task-{partition}")]))[0].is_created
    await store.close()

    leases = [Keyspace("spread").partition(partition, 32).lease for partition in range(32)]
    assert store.partitions == 32
    assert store.description.startswith("Redis Cluster ")
    assert sorted(Counter(cluster.master_of(key).port for key in leases).values()) == [10, 11, 11]


async def test_every_script_keeps_to_the_slot_of_its_partition(
    cluster: RedisCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    assemble, ran = scripts.assemble, set[str]()

    def assemble_strictly(name: str, clock: str | None = None) -> scripts.Script:
        """Only a script that begins like this is refused keys of other slots on the same node."""
        text = "#!lua\n" + assemble(name, clock).text
        return scripts.Script(text=text, sha=hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())

    async def run(self: scripts.ScriptRunner, name: str, *arguments: object) -> object:
        ran.add(name)
        return await run_script(self, name, *arguments)  # type: ignore[arg-type]

    run_script = scripts.ScriptRunner.run
    monkeypatch.setattr(scripts, "assemble", assemble_strictly)
    monkeypatch.setattr(scripts.ScriptRunner, "run", run)
    async with open_cluster(cluster) as harness:
        steps = Steps(harness)
        await RandomLife(steps, 1).live()
        await harness.store.register_waits(0, TASKS)
        await harness.store.read_tasks(0, TASKS)
        await harness.store.read_details(0, TASKS)
        await harness.store.list_queues(0, "", 10)
        assert len(await steps.walk()) > 5
        assert await steps.audit() == {}

    assert ran == set(scripts.SCRIPT_NAMES)


async def test_a_new_master_is_followed_and_learns_the_scripts(fragile: RedisCluster, harness: ClusterHarness) -> None:
    await harness.store.submit_tasks(0, [a_submission()])
    master = fragile.master_of(harness.prefix())
    heir = fragile.replica_of(master)
    async with listening_to(harness.store) as listener:
        assert heir.command("CLUSTER", "FAILOVER") == "+OK"
        await eventually_async(lambda: "role:slave" in master.text("INFO", "replication"), "they change places")

        assert (await harness.store.read_tasks(0, ["task-1"]))[0] is not None
        await listener.hears_exactly(EpochBreak())
    await asyncio.to_thread(fragile.wait_until_whole)

    assert fragile.master_of(harness.prefix()) is heir


async def test_a_master_that_hangs_is_replaced_and_its_partitions_go_on(
    fragile: RedisCluster, harness: ClusterHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await harness.store.submit_tasks(0, [a_submission()])
    monkeypatch.setattr(connection, "CALL_DEADLINE_S", 1.0)
    master = fragile.master_of(harness.prefix())
    heir = fragile.replica_of(master)
    os.kill(master.pid, signal.SIGSTOP)
    try:
        with pytest.raises(StoreUnavailableError, match="did not answer in time"):
            await harness.store.read_tasks(0, ["task-1"])
        await eventually_async(lambda: "role:master" in heir.text("INFO", "replication"), "it is replaced")
        monkeypatch.undo()

        # The first one still goes to the old master; it is answered by none of the next.
        assert await _failures_until_it_works(harness) <= 1
    finally:
        os.kill(master.pid, signal.SIGCONT)
    await asyncio.to_thread(fragile.wait_until_whole)


async def _failures_until_it_works(harness: ClusterHarness) -> int:
    for failures in range(5):
        try:
            assert (await harness.store.read_tasks(0, ["task-1"]))[0] is not None
        except StoreUnavailableError:
            continue
        return failures
    raise AssertionError("it does not work again")


async def test_notifications_move_to_another_node_when_theirs_is_lost(
    fragile: RedisCluster, harness: ClusterHarness
) -> None:
    other = await harness.second_store()
    channel = Keyspace(harness.namespace).replica_channel(REPLICA_ID)
    node = next(node for node in fragile.nodes if subscribers(node, channel))
    heir = fragile.replica_of(node)
    async with listening_to(harness.store) as listener:
        node.kill()
        await listener.hears_exactly(EpochBreak())
        # Not before it is replaced: it would come back as the master, and empty.
        await eventually_async(lambda: "role:master" in heir.text("INFO", "replication"), "it is replaced")
        await asyncio.to_thread(node.start)
        await asyncio.to_thread(fragile.wait_until_whole)

        await other.submit_tasks(0, [a_submission()])
        await harness.store.register_waits(0, ["task-1"])
        await other.lease_tasks(0, a_lease_request(start_immediately=True))
        change = await listener.hears_of("task-1")

    assert change.is_done is False
    assert subscribers(node, channel) == 0


def subscribers(node: RedisServer, channel: str) -> int:
    with Redis(port=node.port, protocol=2) as redis:
        ((_, count),) = redis.pubsub_numsub(channel)
        return int(count)


async def test_a_partition_that_moves_is_away_for_a_while_and_whole_afterwards(
    fragile: RedisCluster, harness: ClusterHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = Steps(harness)
    await RandomLife(steps, 2).live()
    tasks = await steps.walk()
    move = Move(fragile, harness.prefix())
    keys = move.begin()
    half = len(keys) // 2

    monkeypatch.setattr(connection, "CALL_DEADLINE_S", 1.0)
    for part in (keys[:half], keys[half:]):
        move.hand_over(part)
        with pytest.raises(StoreUnavailableError, match="is moving this partition to another node"):
            await harness.store.submit_tasks(0, [a_submission("new")])
    monkeypatch.undo()
    move.end()

    assert await steps.walk() == tasks
    assert await steps.audit() == {}
    assert (await harness.store.submit_tasks(0, [a_submission("new")]))[0].is_created


@pytest.mark.parametrize("moved", ["n", "v", "g", "f"])
async def test_no_call_is_done_by_half_in_a_partition_that_has_begun_to_move(
    fragile: RedisCluster, harness: ClusterHarness, monkeypatch: pytest.MonkeyPatch, moved: str
) -> None:
    """A key is gone that ending a task removes, while all those that scripts name are there still."""
    steps = Steps(harness)
    await steps.submit(a_submission("delayed", start_delay_ms=LONG_MS, total_timeout_ms=2 * LONG_MS))
    done = await steps.submit_and_start(a_submission("done"))
    await steps.end(a_success("done", done.lease_token))
    await steps.reap()
    policy = RetryPolicy(max_attempts=3, initial_backoff_ms=0, non_retryable_types=("KeyError",))
    first = await steps.submit_and_start(a_submission(retry_policy=policy))
    await steps.end(a_failure("task-1", first.lease_token))
    second = await steps.start()
    await steps.beat(second, progress=b"half of it")
    await steps.revoke("task-1")
    end = a_failure("task-1", second.lease_token)
    before = await steps.walk(with_payloads=True)

    move = Move(fragile, harness.prefix())
    keys = move.begin()
    monkeypatch.setattr(connection, "CALL_DEADLINE_S", 1.0)
    move.hand_over([f"{harness.prefix()}{moved}:task-1"])
    with pytest.raises(StoreUnavailableError, match="is moving this partition to another node"):
        await steps.end(end)
    monkeypatch.undo()
    move.hand_over(keys)
    move.end()

    assert await steps.walk(with_payloads=True) == before
    assert await steps.end(end) == ResultStored(state=TaskState.REVOKED, is_duplicate=False)
    assert await steps.audit() == {}
    stats = await steps.queue()
    assert (stats.ready_count, stats.schedule_count, stats.lease_count) == (0, 1, 0)


async def test_a_node_that_has_just_got_a_partition_learns_the_scripts_before_it_is_known_who_has_it(
    fragile: RedisCluster, harness: ClusterHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await harness.store.submit_tasks(0, [a_submission()])
    move = Move(fragile, harness.prefix())
    move.hand_over(move.begin())
    hung = fragile.replica_of(move.source)

    def ask_the_hung_one_first(nodes: list[connection.Address]) -> None:
        nodes.sort(key=lambda node: node[1] != hung.port)

    monkeypatch.setattr("tailrace.server.store.redis.cluster.random.shuffle", ask_the_hung_one_first)
    with Redis(port=move.target.port, protocol=2) as redis:
        redis.script_flush()
    os.kill(hung.pid, signal.SIGSTOP)
    try:
        move.end()

        assert (await harness.store.read_tasks(0, ["task-1"]))[0] is not None
    finally:
        os.kill(hung.pid, signal.SIGCONT)
    await asyncio.to_thread(fragile.wait_until_whole)


class Move:
    """The way of one slot from its master to another, as ``redis-cli --cluster reshard`` does it."""

    def __init__(self, cluster: RedisCluster, key: str) -> None:
        self._masters = cluster.masters()
        self._slot = str(slot_of(key))
        self.source = cluster.master_of(key)
        self.target = next(node for node in self._masters if node is not self.source)

    def begin(self) -> list[str]:
        """Announce the move, and return the keys that are to go."""
        source, target = (node.text("CLUSTER", "MYID") for node in (self.source, self.target))
        assert self.target.command("CLUSTER", "SETSLOT", self._slot, "IMPORTING", source) == "+OK"
        assert self.source.command("CLUSTER", "SETSLOT", self._slot, "MIGRATING", target) == "+OK"
        with Redis(port=self.source.port, protocol=2) as redis:
            return sorted(redis.execute_command("CLUSTER GETKEYSINSLOT", self._slot, 10_000))

    def hand_over(self, keys: list[str]) -> None:
        for key in keys:
            where = ("127.0.0.1", str(self.target.port), key, "0", "5000")
            assert self.source.command("MIGRATE", *where) in {"+OK", "+NOKEY"}

    def end(self) -> None:
        name = self.target.text("CLUSTER", "MYID")
        for node in (self.target, *self._masters):
            assert node.command("CLUSTER", "SETSLOT", self._slot, "NODE", name) == "+OK"
