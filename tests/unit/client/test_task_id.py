"""Task ids."""

import itertools
import uuid

from tailrace.client._task_id import TaskIds, new_task_id


def test_an_id_is_a_uuid_of_version_7_with_the_time_it_was_made() -> None:
    made = uuid.UUID(TaskIds(lambda: 1_700_000_000_123_456_789).new())

    assert made.version == 7
    assert made.variant == uuid.RFC_4122
    assert made.int >> 80 == 1_700_000_000_123


def test_ids_sort_in_the_order_in_which_they_were_made() -> None:
    made = [new_task_id() for _ in range(2000)]

    assert sorted(made) == made
    assert len(set(made)) == len(made)


def test_ids_go_on_sorting_while_the_clock_stands_still_or_steps_back() -> None:
    clock = itertools.chain(itertools.repeat(5_000_000_000, 5000), itertools.repeat(4_000_000_000))
    task_ids = TaskIds(lambda: next(clock))

    made = [task_ids.new() for _ in range(6000)]

    assert sorted(made) == made
    assert len(set(made)) == len(made)


def test_sub_millisecond_time_orders_ids_of_different_processes() -> None:
    earlier = TaskIds(lambda: 1_000_000_000_250_000).new()
    later = TaskIds(lambda: 1_000_000_000_750_000).new()

    assert earlier < later
