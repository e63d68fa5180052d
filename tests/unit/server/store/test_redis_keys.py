import binascii
import itertools

import pytest

from tailrace.server.store.redis.keys import SLOTS, Keyspace, partition_tag


@pytest.mark.parametrize("partitions", [1, 2, 3, 32, 100])
def test_tags_spread_partitions_evenly_over_the_slots(partitions: int) -> None:
    slots = [binascii.crc_hqx(partition_tag(number, partitions).encode(), 0) % SLOTS for number in range(partitions)]

    assert [slot * partitions // SLOTS for slot in slots] == list(range(partitions))


def test_tags_are_frozen_with_the_data() -> None:
    assert partition_tag(0, 1) == "p00.0"
    assert [partition_tag(number, 4) for number in range(4)] == ["p00.2", "p01.0", "p02.2", "p03.0"]
    assert [partition_tag(number, 32) for number in (0, 1, 31)] == ["p00.62", "p01.3c", "p31.2a"]


def test_every_key_of_a_partition_carries_its_tag_and_the_namespace() -> None:
    keys = Keyspace("acme").partition(1, 4)

    assert keys.prefix == "tr:acme:{p01.0}:"
    assert (keys.lease, keys.schedule) == ("tr:acme:{p01.0}:lease", "tr:acme:{p01.0}:sched")
    assert (keys.done, keys.control) == ("tr:acme:{p01.0}:done", "tr:acme:{p01.0}:ctl")
    assert (keys.deadlines, keys.queues) == ("tr:acme:{p01.0}:dl", "tr:acme:{p01.0}:queues")
    assert keys.none == "tr:acme:{p01.0}:none"


def test_channels_of_two_namespaces_differ() -> None:
    spaces = [Keyspace("a"), Keyspace("b")]

    names = [(space.meta, space.broadcast_channel, space.wake_channel, space.replica_channel("r")) for space in spaces]

    assert len(set(itertools.chain(*names))) == 8


def test_channels_of_two_databases_differ_and_keys_do_not() -> None:
    first, second = Keyspace("a"), Keyspace("a", database=2)

    assert (second.meta, second.replicas, second.workers_of("r")) == (first.meta, first.replicas, first.workers_of("r"))
    assert second.partition(0, 1) == first.partition(0, 1)
    assert (first.wake_channel, second.wake_channel) == ("tr:a:w", "tr:a:2:w")
    assert (second.broadcast_channel, second.replica_channel("r")) == ("tr:a:2:n:*", "tr:a:2:n:r")


@pytest.mark.parametrize("namespace", ["", "a b", "a:b", "{a}", "a*", "a\n", "-a", "x" * 65])
def test_a_namespace_that_makes_ambiguous_keys_is_refused(namespace: str) -> None:
    with pytest.raises(ValueError, match="namespace"):
        Keyspace(namespace)
