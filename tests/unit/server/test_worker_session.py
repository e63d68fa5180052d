"""The credit of one worker stream: what is on its way counts until the worker ends it, gives it back or loses it."""

import pytest

from tailrace.server.dispatch.holders import Holders
from tailrace.server.dispatch.session import WorkerSession
from tailrace.server.store.changes import LeaseNews
from tailrace.server.store.values import Delivery
from tests.unit.server.deliveries import Wakes, a_delivery, a_session, deliveries, key_of, unheard

MIB = 1 << 20


def written(session: WorkerSession) -> list[str]:
    return [delivery.task_id for delivery in session.take_to_write(max_items=100, max_bytes=3 * MIB)]


def test_worker_that_has_not_said_otherwise_takes_nothing() -> None:
    session = WorkerSession(
        session_id="s", worker_id="w", queues=("default",), holders=Holders(), on_assigned=Wakes(), on_news=unheard
    )

    assert session.room == 0


def test_assignment_takes_up_room_and_its_end_returns_it() -> None:
    session = a_session(max_outstanding=3)
    first, second = deliveries(1, 2)

    session.assign([first, second])

    assert (session.room, session.holds_nothing) == (1, False)
    session.settle(key_of(first))
    assert session.room == 2
    session.settle(key_of(second))
    assert (session.room, session.holds_nothing) == (3, True)


def test_lease_is_settled_once() -> None:
    session = a_session(max_outstanding=3)
    session.assign(deliveries(1, 2))

    for _ in range(3):
        session.settle(key_of(a_delivery(1)))
    session.settle(("task-2", b"an older token"))
    session.settle(("unheard-of", b"token"))

    assert session.room == 2


def test_delivery_that_the_worker_never_mentions_keeps_its_credit_also_when_it_is_delivered_again() -> None:
    session = a_session(max_outstanding=2)
    session.assign([a_delivery(1, task_id="same")])
    session.assign([a_delivery(2, task_id="same")])

    assert session.room == 0
    assert written(session) == ["same", "same"]


def test_lower_wish_holds_at_once_and_never_makes_room_negative() -> None:
    session = a_session(max_outstanding=5)
    session.assign(deliveries(1, 2, 3))

    session.set_max_outstanding(1)

    assert session.room == 0
    session.settle(key_of(a_delivery(1)))
    session.settle(key_of(a_delivery(2)))
    assert session.room == 0
    session.settle(key_of(a_delivery(3)))
    assert session.room == 1


def test_lease_that_the_worker_brought_along_takes_up_room() -> None:
    session = a_session(max_outstanding=2)

    session.hold(("task-1", b"token"))

    assert (session.room, session.holds_nothing) == (1, False)
    session.settle(("task-1", b"token"))
    assert session.room == 2


def test_session_closed_to_new_gives_up_what_was_not_written_and_keeps_what_was() -> None:
    session = a_session(max_outstanding=10)
    session.assign(deliveries(1))
    assert written(session) == ["task-1"]
    session.assign(deliveries(2, 3))

    unwritten = session.close_to_new()

    assert [delivery.task_id for delivery in unwritten] == ["task-2", "task-3"]
    assert (session.room, session.holds_nothing) == (0, False)
    assert written(session) == []
    session.settle(key_of(a_delivery(1)))
    assert (session.room, session.holds_nothing) == (0, True)
    assert session.close_to_new() == []


def test_every_assignment_is_announced() -> None:
    wakes = Wakes()
    session = WorkerSession(
        session_id="s", worker_id="w", queues=("default",), holders=Holders(), on_assigned=wakes, on_news=unheard
    )

    session.assign(deliveries(1))
    session.assign(deliveries(2, 3))

    assert wakes.count == 2


def test_what_is_written_comes_in_order_and_in_portions() -> None:
    session = a_session()
    session.assign(deliveries(1, 2, 3, 4, 5))

    portions = [session.take_to_write(max_items=2, max_bytes=MIB) for _ in range(4)]

    assert [[d.task_id for d in portion] for portion in portions] == [
        ["task-1", "task-2"],
        ["task-3", "task-4"],
        ["task-5"],
        [],
    ]


def test_portion_is_cut_before_it_is_too_large() -> None:
    session = a_session()
    session.assign([a_delivery(number, request=b"x" * 400) for number in range(1, 6)])

    portions = [session.take_to_write(max_items=100, max_bytes=1_000) for _ in range(3)]

    assert [len(portion) for portion in portions] == [2, 2, 1]


def test_why_the_last_attempt_failed_counts_as_well() -> None:
    session = a_session()
    session.assign([a_delivery(number, request=b"", last_failure=b"x" * 400) for number in range(1, 4)])

    portions = [session.take_to_write(max_items=100, max_bytes=1_000) for _ in range(2)]

    assert [len(portion) for portion in portions] == [2, 1]


def test_progress_of_the_last_attempt_counts_as_well() -> None:
    session = a_session()
    session.assign([a_delivery(number, request=b"", progress=b"x" * 400) for number in range(1, 4)])

    portions = [session.take_to_write(max_items=100, max_bytes=1_000) for _ in range(2)]

    assert [len(portion) for portion in portions] == [2, 1]


def test_one_delivery_goes_however_large_it_is() -> None:
    session = a_session()
    session.assign([a_delivery(1, request=b"x" * 5_000), a_delivery(2, request=b"x")])

    assert [len(session.take_to_write(max_items=100, max_bytes=1_000)) for _ in range(3)] == [1, 1, 0]


def test_payloads_that_wait_to_be_written_leave_no_room_until_they_are() -> None:
    session = a_session(max_outstanding=100)
    large = [a_delivery(number, request=bytes(MIB), last_failure=bytes(MIB)) for number in (1, 2, 3)]

    session.assign(large[:1])
    assert session.room == 99
    session.assign(large[1:])
    assert session.room == 0
    assert written(session) == ["task-1"]
    assert session.room == 0
    assert written(session) == ["task-2"]
    assert session.room == 97


def test_payloads_taken_back_leave_room() -> None:
    session = a_session(max_outstanding=100)
    session.assign([a_delivery(number, request=bytes(MIB)) for number in range(5)])
    assert session.room == 0

    session.take_back_unwritten()

    assert session.room == 100


def news_of(delivery: Delivery, revocation: bytes | None = None) -> LeaseNews:
    return LeaseNews(task_id=delivery.task_id, lease_token=delivery.lease_token, revocation=revocation)


def test_news_of_a_lease_that_the_worker_holds_are_passed_on() -> None:
    told: list[LeaseNews] = []
    session = a_session(max_outstanding=2, told=told)
    session.assign(deliveries(1, 2))
    written(session)
    for delivery in deliveries(1, 2):
        session.mention(key_of(delivery))
    to_stop, lost = news_of(a_delivery(1), b"stop"), news_of(a_delivery(2))

    assert (session.hear(to_stop), session.hear(lost)) == (True, True)

    assert told == [to_stop, lost]
    assert session.room == 1


def test_news_of_other_leases_are_none_of_its_business() -> None:
    told: list[LeaseNews] = []
    session = a_session(told=told)
    session.assign([a_delivery(1)])

    heard = session.hear(LeaseNews(task_id="task-1", lease_token=b"another", revocation=None))

    assert (heard, told, session.holds_nothing) == (False, [], False)


def test_delivery_that_is_lost_before_it_was_written_is_never_written() -> None:
    told: list[LeaseNews] = []
    session = a_session(max_outstanding=2, told=told)
    session.assign(deliveries(1, 2))

    assert session.hear(news_of(a_delivery(1)))

    assert (written(session), told, session.room) == (["task-2"], [], 1)


def test_lease_that_is_lost_is_news_once() -> None:
    told: list[LeaseNews] = []
    session = a_session(told=told)
    session.assign([a_delivery(1)])
    session.mention(key_of(a_delivery(1)))

    assert [session.hear(news_of(a_delivery(1))) for _ in range(2)] == [True, False]
    assert len(told) == 1


def test_lease_that_is_lost_before_the_worker_mentioned_it_keeps_its_credit_until_it_does() -> None:
    told: list[LeaseNews] = []
    session = a_session(max_outstanding=1, told=told)
    session.assign([a_delivery(1)])
    written(session)

    assert session.hear(news_of(a_delivery(1)))

    assert (told, session.room) == ([], 0)
    session.settle(key_of(a_delivery(1)))
    assert session.room == 1


def test_lease_that_the_worker_brought_along_is_one_that_it_has() -> None:
    told: list[LeaseNews] = []
    session = a_session(told=told)
    session.hold(key_of(a_delivery(1)))

    assert session.hear(news_of(a_delivery(1)))

    assert len(told) == 1


def test_worker_without_a_limit_in_bytes_takes_any() -> None:
    session = a_session(max_outstanding=3)
    session.assign([a_delivery(1, input_bytes=1 << 40)])

    assert (session.room, session.room_bytes) == (2, None)


def test_inputs_take_up_the_room_in_bytes_and_their_end_returns_it() -> None:
    session = a_session(max_bytes=1_000)

    session.assign([a_delivery(1, input_bytes=300), a_delivery(2, input_bytes=400)])

    assert (session.room, session.room_bytes) == (8, 300)
    session.settle(key_of(a_delivery(1)))
    session.settle(key_of(a_delivery(1)))
    assert session.room_bytes == 600
    session.settle(key_of(a_delivery(2)))
    assert (session.room_bytes, session.holds_nothing) == (1_000, True)


@pytest.mark.parametrize("input_bytes", [1_000, 5_000])
def test_worker_whose_bytes_are_used_up_has_no_room(input_bytes: int) -> None:
    session = a_session(max_bytes=1_000)

    session.assign([a_delivery(1, input_bytes=input_bytes)])

    assert (session.room, session.room_bytes) == (0, 0)
    session.settle(key_of(a_delivery(1)))
    assert (session.room, session.room_bytes) == (10, 1_000)


def test_inputs_that_were_taken_back_or_lost_return_their_bytes() -> None:
    session = a_session(max_bytes=1_000)
    session.assign([a_delivery(1, input_bytes=300), a_delivery(2, input_bytes=400)])

    session.hear(news_of(a_delivery(1)))
    assert session.room_bytes == 600
    session.take_back_unwritten()
    assert session.room_bytes == 1_000


def test_lease_that_the_worker_brought_along_is_a_task_of_no_known_size() -> None:
    session = a_session(max_outstanding=2, max_bytes=1_000)

    session.hold(("task-1", b"token"))

    assert (session.room, session.room_bytes, session.holds_nothing) == (1, 1_000, False)


def test_limit_in_bytes_may_come_and_go() -> None:
    session = a_session()
    session.assign([a_delivery(1, input_bytes=300)])

    session.set_max_outstanding(10, 200)
    assert (session.room, session.room_bytes) == (0, 0)
    session.set_max_outstanding(10, 1_000)
    assert (session.room, session.room_bytes) == (9, 700)
    session.set_max_outstanding(10)
    assert (session.room, session.room_bytes) == (9, None)


def test_holders_are_known_by_their_leases_until_these_are_settled_or_the_stream_is_over() -> None:
    holders = Holders()
    older, newer = a_session(holders=holders), a_session(holders=holders)
    older.assign(deliveries(1, 2, 3))
    newer.hold(key_of(a_delivery(1)))
    newer.hold(key_of(a_delivery(1)))

    assert [list(holders.of(key_of(a_delivery(n)))) for n in (1, 2, 4)] == [[older, newer], [older], []]
    newer.settle(key_of(a_delivery(1)))
    older.settle(key_of(a_delivery(2)))
    assert [list(holders.of(key_of(a_delivery(n)))) for n in (1, 2, 3)] == [[older], [], [older]]
    older.leave()
    assert (len(holders), older.holds_nothing) == (0, True)


def test_what_was_taken_back_has_no_holder() -> None:
    holders = Holders()
    session = a_session(holders=holders)
    session.assign(deliveries(1, 2))

    session.take_back_unwritten()

    assert len(holders) == 0


def test_what_is_more_than_the_worker_wants_by_now_is_taken_back_before_it_is_written_the_latest_first() -> None:
    session = a_session(max_outstanding=10)
    session.assign(deliveries(1, 2))
    assert written(session) == ["task-1", "task-2"]
    session.assign(deliveries(3, 4, 5))

    session.set_max_outstanding(3)

    assert [delivery.task_id for delivery in session.take_back_excess()] == ["task-4", "task-5"]
    assert (session.outstanding_count, session.room) == (3, 0)
    session.set_max_outstanding(0)
    assert [delivery.task_id for delivery in session.take_back_excess()] == ["task-3"]
    assert (session.take_back_excess(), session.outstanding_count) == ([], 2)


def test_excess_in_bytes_is_taken_back_but_for_the_one_task_that_is_always_allowed() -> None:
    session = a_session(max_bytes=1_000)
    session.assign([a_delivery(number, input_bytes=400) for number in (1, 2)])

    session.set_max_outstanding(10, 800)
    assert session.take_back_excess() == []
    session.set_max_outstanding(10, 100)

    assert [delivery.task_id for delivery in session.take_back_excess()] == ["task-2"]
    assert written(session) == ["task-1"]
    session.set_max_outstanding(10)
    assert session.take_back_excess() == []
