"""Which node of a cluster has which hash slots, as one of its nodes sees it."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tailrace.server.store.redis.connection import Address


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotRange:
    """Slots in a row, and who has them."""

    first: int
    last: int
    primary: Address


@dataclass(frozen=True, slots=True)
class Topology:
    """All slots that somebody has, in order."""

    ranges: tuple[SlotRange, ...]

    @property
    def primaries(self) -> tuple[Address, ...]:
        """The nodes that have slots, each once."""
        return tuple(dict.fromkeys(part.primary for part in self.ranges))

    def primary_of(self, slot: int) -> Address | None:
        """Find who has a slot; None: nobody."""
        index = bisect_right(self.ranges, slot, key=lambda part: part.first) - 1
        if index < 0 or slot > self.ranges[index].last:
            return None
        return self.ranges[index].primary


def topology_in(reply: Sequence[Any], asked: Address) -> tuple[Topology, tuple[Address, ...]]:
    """Read the answer to CLUSTER SLOTS.

    Args:
        reply: For each range: first slot, last slot, the primary, its replicas.
        asked: Who answered; a node that does not know its own host is where it was asked.

    Returns:
        The topology, and all nodes that there are, replicas included.
    """
    ranges = [SlotRange(first=first, last=last, primary=_address(primary, asked)) for first, last, primary, *_ in reply]
    nodes = dict.fromkeys(_address(node, asked) for _, _, *members in reply for node in members)
    return Topology(tuple(sorted(ranges, key=lambda part: part.first))), tuple(nodes)


def _address(node: Sequence[Any], asked: Address) -> Address:
    host, port = node[0], node[1]
    name = host.decode() if host else ""
    return (asked[0] if name in {"", "?"} else name, port)
