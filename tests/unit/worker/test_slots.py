import pytest

from tailrace.worker._slots import MAX_CREDIT, Slots
from tests.unit.worker.messages import a_key


class Desk:
    """Slots, with tasks that are named by their executor."""

    def __init__(self, concurrency: int, **limits: int) -> None:
        self.slots = Slots(concurrency, limits, lambda task_type: task_type if task_type in limits else None)

    def bring(self, task_type: str, *numbers: int) -> list[int]:
        for number in numbers:
            self.slots.hold(a_key(number), task_type)
        return self.begin()

    def begin(self) -> list[int]:
        return [int(key.task_id.removeprefix("task-")) for key in self.slots.fill()]

    def end(self, *numbers: int) -> list[int]:
        for number in numbers:
            self.slots.free(a_key(number))
        return self.begin()


def test_credit_is_the_number_of_slots_where_any_task_fits_into_any() -> None:
    desk = Desk(4)
    assert desk.slots.credit() == 4

    assert desk.bring("anything", 1, 2, 3, 4, 5) == [1, 2, 3, 4]
    assert desk.slots.credit() == 4

    assert desk.end(1) == [5]
    assert desk.slots.credit() == 4


def test_one_executor_grants_as_many_as_it_can_run() -> None:
    desk = Desk(10, process=2)

    assert desk.slots.credit() == 2
    desk.bring("process", 1, 2)
    assert desk.slots.credit() == 2


def test_what_the_whole_can_run_bounds_the_executors() -> None:
    assert Desk(3, thread=10, process=2).slots.credit() == 3


def test_tasks_of_a_full_executor_wait_and_others_overtake_them() -> None:
    desk = Desk(10, thread=4, process=1)

    assert desk.bring("process", 1, 2) == [1]
    assert desk.bring("thread", 3) == [3]
    assert desk.end(1) == [2]


def test_tasks_of_one_executor_begin_in_the_order_in_which_they_came() -> None:
    desk = Desk(2, thread=2, process=2)

    assert desk.bring("thread", 1, 2) == [1, 2]
    assert desk.bring("process", 3) == []
    assert desk.bring("thread", 4) == []
    assert desk.end(1) == [3]
    assert desk.end(2) == [4]


def waiting_after_a_flood(executor: str, **limits: int) -> int:
    """Fill every credit with a task for one executor, again and again. Returns how many then wait."""
    desk = Desk(100, **limits)
    held = 0
    while held < desk.slots.credit():
        held += 1
        desk.bring(executor, held)
    return held - limits[executor]


@pytest.mark.parametrize(("processes", "waiting"), [(1, 10), (2, 10), (20, 20), (60, 60), (100, 0)])
def test_what_waits_for_a_narrow_executor_is_bounded_however_many_of_its_tasks_come(
    processes: int, waiting: int
) -> None:
    assert waiting_after_a_flood("process", asyncio=100, process=processes) == waiting


def test_a_full_executor_does_not_keep_tasks_from_the_others_while_few_wait_for_it() -> None:
    desk = Desk(20, thread=18, process=2)
    desk.bring("process", *range(1, 12))

    assert desk.slots.credit() == 11 + 1  # what is held, and one more of the kind could still come
    desk.bring("process", 12)
    assert desk.slots.credit() == 12


def test_tasks_for_the_wide_executor_get_all_of_it() -> None:
    desk = Desk(100, asyncio=100, process=2)
    number = 0

    while number < desk.slots.credit():
        number += 1
        assert desk.bring("asyncio", number) == [number]

    assert number == 100


def test_slot_of_what_cannot_be_stopped_stays_taken() -> None:
    desk = Desk(2, thread=2)
    desk.bring("thread", 1, 2)

    desk.slots.abandon(a_key(1))
    assert desk.slots.credit() == 1

    desk.end(1)
    assert desk.slots.credit() == 2


def test_what_no_longer_waits_never_begins() -> None:
    desk = Desk(1, thread=1)
    desk.bring("thread", 1, 2)
    desk.slots.drop(a_key(2))

    assert desk.end(1) == []
    assert desk.end(1) == []


def test_task_of_no_executor_takes_any_slot() -> None:
    desk = Desk(2, thread=2, process=1)

    assert desk.bring("unknown", 1) == [1]
    assert desk.bring("process", 2) == [2]


def test_credit_stays_within_the_contract() -> None:
    desk = Desk(10_000, asyncio=10_000, process=1000)
    desk.bring("asyncio", *range(9000))
    desk.bring("process", *range(9000, 11_000))

    assert desk.slots.credit() == MAX_CREDIT
