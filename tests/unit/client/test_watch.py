"""The client's Watch stream: what is said next, what an answer means, what is repeated after a break."""

import gc
import logging

import grpc
import pytest

from tailrace.client import ClientClosedError, StoreEmptiedError
from tailrace.client._outgoing import ANSWER_WITHIN_S, MAX_WAITING, Submit
from tailrace.client._status import CallStatus
from tailrace.client._targets import MAX_ADDED, MAX_IDLE, MAX_KEPT, MAX_KEPT_BYTES, MAX_TARGETS, are_followable
from tailrace.client._watch import OFF_S, Watch
from tailrace.v1.task_service_pb2 import WAIT_END_REASON_RECONNECT, SubmitResponse, WatchResponse
from tests.unit.client.watch_steps import (
    Clock,
    Told,
    accepted,
    added,
    done,
    follow,
    news,
    pending,
    refused,
    said,
    submit,
    submitted,
)

GONE = CallStatus(code=grpc.StatusCode.UNAVAILABLE, message="gone")
GOODBYE = WatchResponse(end_reason=WAIT_END_REASON_RECONNECT)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(clock: Clock) -> Watch:
    watch = Watch(clock, lambda: 1.0)
    watch.begin()
    return watch


def test_no_stream_is_needed_before_there_is_something_for_it(watch: Watch) -> None:
    assert not watch.is_needed
    submit(watch)
    assert watch.is_needed
    said(watch)
    watch.take(accepted("t1"))
    assert not watch.is_needed
    follow(watch, "t1")
    assert watch.is_needed


def test_the_first_goes_at_once_and_what_gathers_meanwhile_goes_together(watch: Watch) -> None:
    submit(watch, "t1")
    first = said(watch)
    for number in range(2, 5):
        submit(watch, f"t{number}")
    follow(watch, "other")
    second = said(watch)

    assert (submitted(first), first.done_only) == (["t1"], True)
    assert (submitted(second), added(second), second.done_only) == (["t2", "t3", "t4"], {"other": 0}, False)
    assert watch.next_message() is None


def test_a_message_holds_a_thousand_submits_and_3_5_megabytes(watch: Watch) -> None:
    for number in range(1001):
        submit(watch, f"t{number}")
    assert [len(said(watch).submit), len(said(watch).submit)] == [1000, 1]

    for number in range(4):
        submit(watch, f"large{number}", size=1_000_000)
    assert [len(said(watch).submit), len(said(watch).submit)] == [3, 1]


def test_answers_come_in_the_order_of_the_submits(watch: Watch) -> None:
    first, second, third = submit(watch, "t1"), submit(watch, "t2"), submit(watch, "t3")
    said(watch)
    watch.take(accepted("t1"))
    watch.take(refused("t2"))

    assert [type(told.answers[0]) for told in (first, second)] == [SubmitResponse, CallStatus]
    assert third.answers == []


def test_callers_wait_for_room_when_too_much_is_without_an_answer(watch: Watch) -> None:
    for number in range(MAX_WAITING):
        assert not watch.outgoing.is_full
        submit(watch, f"t{number}")
    assert watch.outgoing.is_full
    said(watch)
    assert watch.outgoing.is_full

    watch.take(accepted("t0"))

    assert not watch.outgoing.is_full


def test_what_was_withdrawn_before_it_was_sent_is_not_sent(watch: Watch) -> None:
    told = Told()
    given_up = Submit(submit_request("t1"), last_start_s=0, tell=told.answers.append)
    watch.submit(given_up)
    watch.outgoing.withdraw([given_up])
    submit(watch, "t2")

    assert submitted(said(watch)) == ["t2"]
    watch.take(accepted("t2"))
    assert (told.answers, bool(watch.outgoing)) == ([], False)


@pytest.mark.parametrize("at_once", [1, MAX_WAITING])
def test_what_is_withdrawn_before_it_was_sent_makes_room_at_once(watch: Watch, at_once: int) -> None:
    """A server that is away for longer than callers wait must not leave the next ones without room."""
    given_up = [
        Submit(submit_request(f"t{number}"), last_start_s=0, tell=Told().answers.append)
        for number in range(MAX_WAITING)
    ]
    for each in given_up:
        watch.submit(each)
    assert watch.outgoing.is_full

    watch.outgoing.withdraw(given_up[:at_once])

    assert not watch.outgoing.is_full
    watch.outgoing.withdraw(given_up)
    assert not watch.outgoing


def test_what_is_withdrawn_after_it_was_sent_takes_its_room_until_it_is_answered(watch: Watch) -> None:
    given_up = [
        Submit(submit_request(f"t{number}"), last_start_s=0, tell=Told().answers.append)
        for number in range(MAX_WAITING)
    ]
    for each in given_up:
        watch.submit(each)
    sent = submitted(said(watch))

    watch.outgoing.withdraw(given_up[: len(sent)])

    assert watch.outgoing.is_full
    watch.take(accepted(sent[0]))
    assert not watch.outgoing.is_full


def submit_request(task_id: str):  # type: ignore[no-untyped-def]
    from tailrace.v1.task_service_pb2 import SubmitRequest

    return SubmitRequest(task_id=task_id)


def test_a_submitted_task_is_waited_for_at_no_cost(watch: Watch) -> None:
    submit(watch)
    said(watch)
    watch.take(accepted("t1"))
    waiting = follow(watch, "t1")

    assert watch.next_message() is None
    watch.take(news("t1"))
    assert waiting.ended_ids == ["t1"]


def test_a_submitted_task_is_followed_anew_after_a_stream_that_ended_while_nobody_waited(watch: Watch) -> None:
    submit(watch)
    said(watch)
    watch.take(accepted("t1"))
    watch.end(None)
    waiting = follow(watch, "t1")

    assert watch.is_needed
    watch.begin()
    assert added(said(watch)) == {"t1": 0}
    watch.take(news("t1"))
    assert waiting.ended_ids == ["t1"]


def test_an_end_that_came_first_is_there_for_whoever_asks(watch: Watch) -> None:
    submit(watch)
    said(watch)
    watch.take(accepted("t1"))
    watch.take(news("t1"))

    assert follow(watch, "t1").ended_ids == ["t1"]
    assert watch.next_message() is None


def test_everybody_who_waits_is_told_once(watch: Watch) -> None:
    first, second = follow(watch, "t1", "t2"), follow(watch, "t2")
    assert added(said(watch)) == {"t1": 0, "t2": 0}
    watch.take(WatchResponse(tasks=[done("t1"), done("t2"), done("stranger")], not_found_task_ids=["t2"]))

    assert (first.ended_ids, second.ended_ids) == (["t1", "t2"], ["t2"])
    assert len(first.notices) == 1


def test_a_wait_that_began_while_a_submit_of_that_id_was_under_way_goes_on_when_it_is_refused(watch: Watch) -> None:
    submit(watch, "taken")
    said(watch)
    told = follow(watch, "taken")
    watch.take(refused("taken", code=6, reason="TASK_ID_CONFLICT"))

    assert added(said(watch)) == {"taken": 0}
    watch.take(news("taken"))
    assert told.ended_ids == ["taken"]


def test_an_unknown_task_ends_the_wait(watch: Watch) -> None:
    waiting = follow(watch, "t1")
    said(watch)
    watch.take(WatchResponse(not_found_task_ids=["t1"]))

    (notice,) = waiting.notices
    assert isinstance(notice, list)
    assert notice[0].outcome is None


def test_a_task_nobody_waits_for_any_more_is_dropped_and_can_be_followed_again(watch: Watch) -> None:
    waiting = follow(watch, "t1", "t2")
    said(watch)
    watch.targets.leave(waiting.listener)
    again = follow(watch, "t1")
    submit(watch, "wake")

    message = said(watch)

    assert (added(message), list(message.drop_task_ids)) == ({}, ["t2"])
    watch.take(news("t1"))
    assert again.ended_ids == ["t1"]


def test_an_end_under_way_when_its_task_was_dropped_is_asked_for_again(watch: Watch) -> None:
    waiting = follow(watch, "t1")
    said(watch)
    watch.targets.leave(waiting.listener)
    said(watch)
    watch.take(news("t1"))
    follow(watch, "t1")

    assert added(said(watch)) == {"t1": 0}


def test_after_a_break_submits_without_an_answer_go_first_and_waits_with_what_they_saw(watch: Watch) -> None:
    follow(watch, "w1")
    for task_id in ("t1", "t2", "t3"):
        submit(watch, task_id)
    said(watch)
    watch.take(WatchResponse(tasks=[pending("w1", revision=7)]))
    watch.take(accepted("t1"))
    submit(watch, "t4")
    watch.end(GONE)
    watch.begin()

    message = said(watch)

    assert submitted(message) == ["t2", "t3", "t4"]
    assert (added(message), message.done_only) == ({"w1": 7}, True)


def test_a_submit_is_not_repeated_once_its_record_may_be_gone_but_what_was_never_sent_is_sent(
    watch: Watch, clock: Clock
) -> None:
    late, fresh = submit(watch, "t1", last_start_s=1005), submit(watch, "t2", last_start_s=1060)
    said(watch)
    unsent = submit(watch, "t3", last_start_s=1005)
    clock.now_s = 1010
    watch.end(GONE)
    watch.begin()

    assert (late.answers, fresh.answers, unsent.answers) == ([GONE], [], [])
    assert submitted(said(watch)) == ["t2", "t3"]


def test_a_stream_that_is_sent_elsewhere_is_opened_again_at_once_unless_it_said_nothing_else(watch: Watch) -> None:
    follow(watch, "t1")
    said(watch)
    watch.take(WatchResponse(tasks=[pending("t1")]))
    watch.take(GOODBYE)
    assert watch.end(None) == 0.0

    watch.begin()
    watch.take(GOODBYE)
    assert watch.end(None) > 0.0


def test_pauses_between_streams_that_break_grow_and_begin_anew_with_the_first_word(watch: Watch) -> None:
    follow(watch, "t1")
    pauses = []
    for _ in range(8):
        watch.begin()
        pauses.append(watch.end(GONE))
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert watch.waits_for_ready

    watch.begin()
    watch.take(WatchResponse())

    assert (watch.end(GONE), watch.trouble) == (0.1, GONE)


@pytest.mark.parametrize("code", [grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.PERMISSION_DENIED])
def test_what_was_on_a_stream_that_is_refused_goes_by_calls_of_its_own(
    watch: Watch, clock: Clock, code: grpc.StatusCode, caplog: pytest.LogCaptureFixture
) -> None:
    sent, waiting = submit(watch), follow(watch, "t2")
    said(watch)
    unsent = submit(watch, "t3")
    with caplog.at_level(logging.WARNING, "tailrace.client"):
        watch.end(CallStatus(code=code))

    assert (sent.answers, unsent.answers, waiting.notices) == ([None], [None], [None])
    assert watch.is_off
    assert not watch.is_needed
    assert "watch_refused" in caplog.text
    clock.now_s += OFF_S
    assert not watch.is_off


def test_a_stream_on_which_submits_stay_unanswered_is_opened_again_once(watch: Watch, clock: Clock) -> None:
    told = submit(watch)
    assert watch.outgoing.overdue_at_s is None
    said(watch)
    assert watch.outgoing.overdue_at_s == clock.now_s + ANSWER_WITHIN_S

    watch.end_mute()
    assert not watch.is_off
    watch.begin()
    said(watch)
    watch.end_mute()

    assert (told.answers, watch.is_off) == ([None], True)


def test_a_store_that_lost_its_data_ends_waits_and_submits_are_repeated(watch: Watch) -> None:
    waiting, told = follow(watch, "t1"), submit(watch, "t2")
    said(watch)
    watch.take(WatchResponse(tasks=[pending("t1")]))
    watch.end(CallStatus(code=grpc.StatusCode.DATA_LOSS, reason="STORE_EMPTIED", message="emptied"))
    watch.begin()

    (notice,) = waiting.notices
    assert callable(notice)
    assert isinstance(notice(), StoreEmptiedError)
    assert (submitted(said(watch)), told.answers) == (["t2"], [])


def test_closing_tells_everybody(watch: Watch) -> None:
    waiting, told = follow(watch, "t1"), submit(watch, "t2")
    watch.close()

    for notice in (waiting.notices[0], told.answers[0]):
        assert callable(notice)
        assert isinstance(notice(), ClientClosedError)


def a_finished_task(watch: Watch, task_id: str, size: int = 2) -> None:
    submit(watch, task_id)
    said(watch)
    watch.take(accepted(task_id))
    watch.take(WatchResponse(tasks=[done(task_id, size)]))


def test_ends_that_nobody_asks_for_are_kept_within_bounds(watch: Watch) -> None:
    for number in range(MAX_KEPT + 5):
        a_finished_task(watch, f"t{number}")
    kept = [number for number in range(MAX_KEPT + 5) if watch.targets.claim(f"t{number}") is not None]
    assert kept == list(range(5, MAX_KEPT + 5))

    for number in range(20):
        a_finished_task(watch, f"large{number}", MAX_KEPT_BYTES // 10)
    kept = [number for number in range(20) if watch.targets.claim(f"large{number}") is not None]
    assert kept == list(range(11, 20))


def test_ends_whose_handles_are_gone_are_not_kept(watch: Watch) -> None:
    interest = watch.targets.interest_in("t1")
    a_finished_task(watch, "t1")
    submit(watch, "t2")
    said(watch)
    unheard = watch.targets.interest_in("t2")
    watch.take(accepted("t2"))
    del interest, unheard
    gc.collect()
    submit(watch, "t3")

    message = said(watch)

    assert list(message.drop_task_ids) == ["t2"]
    assert watch.targets.claim("t1") is None


def test_tasks_nobody_waits_for_are_followed_within_bounds(watch: Watch) -> None:
    handles = []
    for start in range(0, MAX_IDLE + 500, 500):
        ids = [f"t{number}" for number in range(start, start + 500)]
        for task_id in ids:
            submit(watch, task_id)
            handles.append(watch.targets.interest_in(task_id))
        said(watch)
        watch.take(accepted(*ids))
    submit(watch, "last")

    dropped = list(said(watch).drop_task_ids)

    assert dropped == [f"t{number}" for number in range(500)]
    assert added_after(watch, "t0") == {"t0": 0}
    assert added_after(watch, "t20000") == {}


def added_after(watch: Watch, task_id: str) -> dict[str, int]:
    follow(watch, task_id)
    message = watch.next_message()
    return {} if message is None else added(message)


def test_more_waits_than_a_stream_takes_are_turned_away_and_a_message_takes_some_thousand(watch: Watch) -> None:
    follow(watch, *(f"t{number}" for number in range(MAX_TARGETS)))
    too_many = Told()

    assert not watch.follow(["one-more"], too_many.listener)
    assert len(said(watch).add) == MAX_ADDED


def test_what_is_no_id_would_end_the_stream_of_all() -> None:
    assert are_followable(["a", "order::1", "01a215cb-226d-78b9-8d3c-b0971ef1a0e2"])
    assert not are_followable(["a", ""])
    assert not are_followable(["no id"])
    assert not are_followable(["a\n"])
    assert not are_followable(["x" * 129])
