"""Every name in Redis: which keys and channels there are, and in which hash slot a partition lives.

With ``T`` for ``tr:<namespace>:{<tag>}:``, the prefix of one partition:

====================  ======  ==========================================================================
``T t:<id>``          HASH    the record: the truth about a task that is not done; fields in ``lua/_record.lua``
``T s:<id>``          STRING  the serialized request; once the task is done (of a SUCCESS only its head), its outcome
                              follows, the result or the failure, and what is still of use of the record
``T f:<id>``          STRING  the latest failure, while the task goes on
``T n:<id>``          STRING  the failure types that the submitter's policy does not retry
``T v:<id>``          STRING  the failure of a revocation that was asked for, while the task goes on
``T g:<id>``          STRING  the latest progress, while the task goes on
``T q:<queue>:<l>``   LIST    ids that are ready, one list for each level of priority
``T qm:<queue>``      HASH    ``mask`` of the levels that are not empty; ``ready``, ``schedule``, ``lease`` counts;
                              ``paused``: 1; ``h<l>``: how many entries left the head of a level's list, less
                              those that came to it: what an entry's index and this make in all stays as it is
``T queues``          ZSET    names of queues that had a task or were paused, all with score 0
``T left``            HASH    entries of ready lists that their tasks left behind: ``<queue>:<l> <id>`` -> how many
``T lease``           ZSET    id -> when its lease ends
``T sched``           ZSET    id -> when it is due
``T done``            ZSET    id -> when its record is over
``T dl``              ZSET    id -> its next deadline, for tasks that have one
``T ctl``             HASH    ``last_reap``, ``grace_until``
``T none``            -       never there. Every script names it, so that a cluster refuses all of them as long as the
                              slot moves from node to node: a script that began would fail halfway at the first key
                              that is not there, or no longer
``tr:<ns>:meta``      HASH    ``partitions``, ``epoch``, ``schema``: what the whole deployment agrees on
``tr:<ns>:workers:``  STRING  with ``<replica>`` behind it: the workers connected to one server process (JSON), for 60 s
``tr:<ns>:replicas``  ZSET    replica -> when it last spoke of its workers, ms
====================  ======  ==========================================================================

Channels: ``tr:<ns>:n:<replica>`` tells one server process of changes, ``tr:<ns>:n:*`` tells all of them, and
``tr:<ns>:w`` wakes whoever has workers for a queue. Redis has one set of channels for all its databases: in any but the
first the number comes behind the namespace, as in ``tr:<ns>:<database>:w``. A task's own keys are put together in
``lua/_prelude.lua``, from the prefix that it is given, because most scripts learn only in Redis which tasks they are
about.
"""

import binascii
import re
from dataclasses import dataclass
from functools import cache

SLOTS = 16_384
MAX_PARTITIONS = 1_024
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionKeys:
    """The fixed names of one partition, in the order in which every script takes them."""

    prefix: str
    lease: str
    schedule: str
    done: str
    control: str
    deadlines: str
    queues: str
    none: str


class Keyspace:
    """The names of one deployment in one database of a Redis.

    Raises:
        ValueError: The namespace would not make good keys: 1 to 64 of ``A-Z a-z 0-9 . _ -``.
    """

    def __init__(self, namespace: str, *, database: int = 0) -> None:
        if not _NAME.fullmatch(namespace):
            raise ValueError(f"namespace {namespace!r} must be 1 to 64 of A-Z a-z 0-9 . _ -")
        self._key_prefix = f"tr:{namespace}:"
        self.channel_prefix = f"{self._key_prefix}{database}:" if database else self._key_prefix
        self.meta = f"{self._key_prefix}meta"
        self.broadcast_channel = f"{self.channel_prefix}n:*"
        self.wake_channel = f"{self.channel_prefix}w"
        self.replicas = f"{self._key_prefix}replicas"

    def replica_channel(self, replica_id: str) -> str:
        """Name the channel on which one server process is told of changes."""
        return f"{self.channel_prefix}n:{replica_id}"

    def workers_of(self, replica_id: str) -> str:
        """Name what one server process says of the workers that are connected to it."""
        return f"{self._key_prefix}workers:{replica_id}"

    def partition(self, partition: int, partitions: int) -> PartitionKeys:
        """Name the fixed keys of the ``partition``-th of ``partitions``."""
        prefix = f"{self._key_prefix}{{{partition_tag(partition, partitions)}}}:"
        return PartitionKeys(
            prefix=prefix,
            lease=f"{prefix}lease",
            schedule=f"{prefix}sched",
            done=f"{prefix}done",
            control=f"{prefix}ctl",
            deadlines=f"{prefix}dl",
            queues=f"{prefix}queues",
            none=f"{prefix}none",
        )


def slot_of(key: str) -> int:
    """Tell in which hash slot a key lives: that of what stands in its first braces, or of the whole key."""
    _, opening, rest = key.partition("{")
    tag, closing, _ = rest.partition("}")
    return binascii.crc_hqx((tag if opening and closing and tag else key).encode(), 0) % SLOTS


@cache
def partition_tag(partition: int, partitions: int) -> str:
    """Pick the hash tag of a partition so that partitions spread evenly over the nodes of a cluster.

    The slots are cut into as many equal ranges as there are partitions. A partition's tag is its number, a dot and the
    first hexadecimal number, counted from 0, that brings the tag's slot into the partition's range. Frozen with the
    data, as the number of partitions is.
    """
    attempt = 0
    while True:
        tag = f"p{partition:02d}.{attempt:x}"
        if slot_of(tag) * partitions // SLOTS == partition:
            return tag
        attempt += 1
