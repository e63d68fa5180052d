"""Where a task lives, and ids that the server makes."""

import time
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.server.domain.ids import new_replica_id, new_task_id, partition_of

SLOTS = 1 << 16
"""With as many partitions as there are checksums, the partition is the checksum."""

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@pytest.mark.parametrize(
    ("task_id", "checksum"),
    [
        ("123456789", 0x31C3),  # the check value that the catalogues give for CRC-16/XMODEM
        ("", 0x0000),
        ("A", 0x58E5),
        ("foo", 0xAF96),
        ("order-42", 0x6700),
        ("Zürich", 0xD52C),
    ],
)
def test_the_partition_of_an_id_is_its_checksum_and_stays_so_for_ever(task_id: str, checksum: int) -> None:
    assert partition_of(task_id, SLOTS) == checksum
    assert partition_of(task_id, 32) == checksum % 32


@given(texts.filter(lambda text: ":" not in text), texts)
def test_ids_with_the_same_prefix_live_together(prefix: str, rest: str) -> None:
    assert partition_of(f"{prefix}::{rest}", 32) == partition_of(prefix, 32)


def test_only_the_text_before_the_first_separator_counts() -> None:
    assert partition_of("batch::1", SLOTS) == partition_of("batch::2::3", SLOTS) == partition_of("batch", SLOTS)
    assert partition_of("batch:1", SLOTS) != partition_of("batch", SLOTS)
    assert partition_of("::1", SLOTS) == partition_of("", SLOTS)


@given(texts, st.integers(1, 64))
def test_every_id_has_a_partition_and_one_partition_has_every_id(task_id: str, partitions: int) -> None:
    assert 0 <= partition_of(task_id, partitions) < partitions
    assert partition_of(task_id, 1) == 0


def test_ids_that_the_server_makes_spread_over_partitions() -> None:
    counts = [0] * 8
    for _ in range(4_000):
        counts[partition_of(new_task_id(), 8)] += 1

    assert min(counts) > 350


def test_a_new_id_is_a_version_7_uuid_of_this_moment() -> None:
    before_ms = time.time_ns() // 1_000_000
    made = uuid.UUID(new_task_id())
    after_ms = time.time_ns() // 1_000_000

    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert before_ms <= made.int >> 80 <= after_ms


def test_new_ids_are_all_different_and_written_as_uuids_are() -> None:
    made = [new_task_id() for _ in range(1_000)]

    assert len(set(made)) == 1_000
    assert all(str(uuid.UUID(task_id)) == task_id for task_id in made)


def test_a_replica_is_named_by_eight_digits() -> None:
    replica_id = new_replica_id()

    assert len(replica_id) == 8
    assert int(replica_id, 16) >= 0
