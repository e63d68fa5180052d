import pytest

from tailrace.worker._leases import LeaseBook, LeaseKey, Phase
from tests.unit.worker.messages import a_key, an_assignment


def started(book: LeaseBook, number: int = 1, *, lease_s: float = 30, now: float = 0.0) -> LeaseKey:
    key = book.add(an_assignment(number, lease_s=lease_s), now)
    assert key is not None
    book.start(key)
    book.confirm_started(book.take_first_beats(), now)
    return key


def beaten(book: LeaseBook, now: float) -> list[str]:
    return [beat.lease.task_id for beat in book.take_due_beats(now)]


def test_delivery_waits_until_it_has_a_slot() -> None:
    book = LeaseBook()

    key = book.add(an_assignment(1), now=0.0)

    assert key == a_key(1)
    assert book.phase(a_key(1)) is Phase.WAITING
    assert book.take_first_beats() == []


def test_same_delivery_twice_is_held_once() -> None:
    book = LeaseBook()
    book.add(an_assignment(1), now=0.0)

    assert book.add(an_assignment(1), now=1.0) is None
    assert len(book) == 1


def test_task_may_run_only_after_its_first_beat_was_written() -> None:
    book = LeaseBook()
    book.add(an_assignment(1), now=0.0)
    book.start(a_key(1))

    taken = book.take_first_beats()
    assert taken == [a_key(1)]
    assert book.phase(a_key(1)) is Phase.STARTING

    assert book.confirm_started(taken, now=0.0) == [a_key(1)]
    assert book.phase(a_key(1)) is Phase.RUNNING


def test_first_beat_confirmed_twice_starts_the_task_once() -> None:
    book = LeaseBook()
    book.add(an_assignment(1), now=0.0)
    book.start(a_key(1))
    first = book.take_first_beats()
    book.resume(now=1.0)
    second = book.take_first_beats()

    assert second == first
    assert book.confirm_started(first, now=1.0) == [a_key(1)]
    assert book.confirm_started(second, now=1.0) == []


def test_lease_lost_before_its_first_beat_was_written_never_starts() -> None:
    book = LeaseBook()
    book.add(an_assignment(1), now=0.0)
    book.start(a_key(1))
    taken = book.take_first_beats()
    book.drop(a_key(1))

    assert book.confirm_started(taken, now=0.0) == []


def test_running_lease_beats_at_a_third_of_its_length() -> None:
    book = LeaseBook()
    started(book, lease_s=30)

    assert beaten(book, 9.9) == []
    assert beaten(book, 10.0) == ["task-1"]
    assert beaten(book, 19.9) == []
    assert beaten(book, 20.0) == ["task-1"]


def test_shortest_lease_sets_the_pace_for_itself_only() -> None:
    book = LeaseBook()
    started(book, 1, lease_s=30)
    started(book, 2, lease_s=6)

    assert book.next_due_at() == 2.0
    assert beaten(book, 2.0) == ["task-2"]


def test_beat_that_falls_due_within_half_a_second_comes_along() -> None:
    book = LeaseBook()
    started(book, 1, lease_s=30, now=0.0)
    started(book, 2, lease_s=30, now=0.4)

    assert beaten(book, 10.0) == ["task-1", "task-2"]


def test_beats_never_go_faster_than_twice_a_second() -> None:
    book = LeaseBook()
    started(book, 1, lease_s=0.3)

    assert beaten(book, 0.5) == ["task-1"]
    assert beaten(book, 0.7) == []
    assert book.next_due_at() == 1.0
    assert beaten(book, 1.0) == ["task-1"]


def test_waiting_lease_beats_within_its_start_timeout_and_says_that_it_waits() -> None:
    book = LeaseBook()
    book.add(an_assignment(1, start_timeout_s=6, lease_s=3000), now=0.0)

    assert book.take_due_beats(1.9) == []
    beats = book.take_due_beats(2.0)

    assert [(beat.lease.task_id, beat.waiting) for beat in beats] == [("task-1", True)]


def test_beat_of_a_running_lease_does_not_say_that_it_waits() -> None:
    book = LeaseBook()
    started(book, lease_s=3)

    assert [beat.waiting for beat in book.take_due_beats(1.0)] == [False]


def test_ended_lease_is_kept_alive_until_it_is_dropped() -> None:
    book = LeaseBook()
    key = started(book, lease_s=30)
    book.end(key)

    assert beaten(book, 10.0) == ["task-1"]

    book.drop(key)
    assert beaten(book, 20.0) == []
    assert key not in book


def test_after_a_reconnect_every_lease_beats_at_once() -> None:
    book = LeaseBook()
    started(book, 1)
    book.add(an_assignment(2), now=0.0)
    book.add(an_assignment(3), now=0.0)
    book.start(a_key(2))
    book.take_first_beats()  # lost with the stream

    book.resume(now=1.0)

    assert book.take_first_beats() == [a_key(2)]
    assert [(beat.lease.task_id, beat.waiting) for beat in book.take_due_beats(1.0)] == [
        ("task-1", False),
        ("task-3", True),
    ]


def test_beat_that_could_not_be_judged_is_repeated_soon() -> None:
    book = LeaseBook()
    key = started(book, lease_s=30)
    assert beaten(book, 10.0) == ["task-1"]

    book.beat_again(key, now=10.1)

    assert beaten(book, 10.4) == []
    assert beaten(book, 10.6) == ["task-1"]


def test_more_beats_than_a_frame_holds_follow_at_once() -> None:
    book = LeaseBook()
    for number in range(1500):
        started(book, number)
    book.resume(now=5.0)

    assert len(book.take_due_beats(5.0)) == 1000
    assert len(book.take_due_beats(5.0)) == 500
    assert book.take_due_beats(5.0) == []


def test_first_beats_are_cut_to_frames_too() -> None:
    book = LeaseBook()
    for number in range(1001):
        book.add(an_assignment(number), now=0.0)
        book.start(a_key(number))

    assert [len(book.take_first_beats()), len(book.take_first_beats())] == [1000, 1]


@pytest.mark.parametrize(("start_timeout_s", "lease_s"), [(0, 0), (-1, -1)])
def test_missing_durations_stand_for_the_contracts_defaults(start_timeout_s: float, lease_s: float) -> None:
    book = LeaseBook()
    book.add(an_assignment(1, start_timeout_s=start_timeout_s, lease_s=lease_s), now=0.0)

    assert book.next_due_at() == pytest.approx(10 / 3)

    book.start(a_key(1))
    book.confirm_started(book.take_first_beats(), now=0.0)
    assert book.take_due_beats(9.4) == []
    assert len(book.take_due_beats(10.0)) == 1


def test_nothing_held_is_never_due() -> None:
    book = LeaseBook()

    assert book.next_due_at() is None
    assert book.take_due_beats(1e9) == []
