"""Every name in Redis: which keys and channels there are, and in which hash slot a partition lives.

With ``T`` for ``tr:<namespace>:{<tag>}:``, the prefix of one partition:

====================  ======  ==========================================================================
``T t:<id>``          HASH    the record: the truth about a task; fields in ``lua/_record.lua``
``T s:<id>``          STRING  the serialized request; only its head once the task is SUCCESS
``T r:<id>``          STRING  the result of a SUCCESS, the failure of a FAILURE or REVOKED
``T f:<id>``          STRING  the latest failure, while the task goes on
``T n:<id>``          STRING  the failure types that the submitter's policy does not retry
``T v:<id>``          STRING  the failure of a revocation that was asked for, while the task goes on
``T q:<queue>:<l>``   LIST    ids that are ready, one list for each level of priority
``T qm:<queue>``      HASH    ``mask`` of the levels that are not empty; ``ready``, ``schedule``, ``lease`` counts
``T left``            HASH    entries of ready lists that their tasks left behind: ``<queue>:<l> <id>`` -> how many
``T lease``           ZSET    id -> when its lease ends
``T sched``           ZSET    id -> when it is due
``T done``            ZSET    id -> when its record is over
``T ctl``             HASH    ``last_reap``, ``grace_until``
``tr:<ns>:meta``      HASH    ``partitions``, ``epoch``, ``schema``: what the whole deployment agrees on
====================  ======  ==========================================================================

Channels: ``tr:<ns>:n:<replica>`` tells one server process of changes, ``tr:<ns>:n:*`` tells all of them, and
``tr:<ns>:w`` wakes whoever has workers for a queue. A task's own keys are put together in ``lua/_prelude.lua``, from
the prefix that it is given, because most scripts learn only in Redis which tasks they are about.
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


class Keyspace:
    """The names of one deployment.

    Raises:
        ValueError: The namespace would not make good keys: 1 to 64 of ``A-Z a-z 0-9 . _ -``.
    """

    def __init__(self, namespace: str) -> None:
        if not _NAME.fullmatch(namespace):
            raise ValueError(f"namespace {namespace!r} must be 1 to 64 of A-Z a-z 0-9 . _ -")
        self.channel_prefix = f"tr:{namespace}:"
        self.meta = f"tr:{namespace}:meta"
        self.broadcast_channel = f"{self.channel_prefix}n:*"
        self.wake_channel = f"{self.channel_prefix}w"

    def replica_channel(self, replica_id: str) -> str:
        """Name the channel on which one server process is told of changes."""
        return f"{self.channel_prefix}n:{replica_id}"

    def partition(self, partition: int, partitions: int) -> PartitionKeys:
        """Name the fixed keys of the ``partition``-th of ``partitions``."""
        prefix = f"{self.channel_prefix}{{{partition_tag(partition, partitions)}}}:"
        return PartitionKeys(
            prefix=prefix,
            lease=f"{prefix}lease",
            schedule=f"{prefix}sched",
            done=f"{prefix}done",
            control=f"{prefix}ctl",
        )


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
        slot = binascii.crc_hqx(tag.encode(), 0) % SLOTS
        if slot * partitions // SLOTS == partition:
            return tag
        attempt += 1
