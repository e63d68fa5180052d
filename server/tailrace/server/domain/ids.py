"""Names of things: which partition a task lives in, and ids that the server makes itself."""

import binascii
import secrets
import time
import uuid

PREFIX_SEPARATOR = "::"


def partition_of(task_id: str, partitions: int) -> int:
    """Tell the partition that holds everything about a task.

    CRC-16/XMODEM of the text before the first ``::`` (of the whole id where there is none), modulo the number of
    partitions. Frozen with the data: a deployment's tasks could not be found again under another formula.
    """
    prefix = task_id.partition(PREFIX_SEPARATOR)[0]
    return binascii.crc_hqx(prefix.encode(), 0) % partitions


def new_task_id() -> str:
    """Make a UUIDv7 (RFC 9562 section 5.7): 48 bits of Unix milliseconds, then 74 random bits."""
    unix_ms = time.time_ns() // 1_000_000
    value = (unix_ms & (1 << 48) - 1) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=value))


def new_replica_id() -> str:
    """Make the name under which one server process is told of changes: 8 hexadecimal digits."""
    return secrets.token_hex(4)
