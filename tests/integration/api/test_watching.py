"""Watch: targets join and leave one long stream, tasks are submitted on it, and it tells what becomes of them."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import grpc
import pytest

from tailrace.server.api import watch_answers, watch_stream
from tailrace.server.domain import limits
from tailrace.server.domain.task import Submission
from tailrace.server.store.changes import StoreEmptied
from tailrace.server.store.values import Submitted
from tailrace.server.waiting import entries
from tailrace.v1.task_service_pb2 import (
    WAIT_END_REASON_RECONNECT,
    GetResultRequest,
    GetServerInfoRequest,
    SubmitRequest,
    WaitForRequest,
    WaitTarget,
    WatchRequest,
    WatchResponse,
)
from tests.integration.api.serving import CALL_S, MIB, Api, a_failure, a_request, a_success, refused, seconds
from tests.integration.api.watch_peer import WatchPeer
from tests.wait import eventually_async

RECONNECT = WAIT_END_REASON_RECONNECT


def held_back_submits(
    api: Api, monkeypatch: pytest.MonkeyPatch, *, has_accepted: bool = False
) -> tuple[asyncio.Event, asyncio.Event]:
    """Make the store slow to accept, or to say that it has: the first event says that it was asked, or has accepted.

    The second lets it go on.
    """
    asked, may_answer = asyncio.Event(), asyncio.Event()
    batcher = api.server.waiting._coordinator._submits[0]
    real = batcher._call

    async def slow(items: Sequence[Submission]) -> Sequence[Submitted]:
        outcomes = await real(items) if has_accepted else None
        asked.set()
        await may_answer.wait()
        return outcomes or await real(items)

    monkeypatch.setattr(batcher, "_call", slow)
    return asked, may_answer


async def test_target_is_answered_with_its_outcome_then_with_every_change_until_it_is_done(api: Api) -> None:
    await api.submit()
    peer = await (await WatchPeer(api).say("task-1")).until_told(1)
    assignment = await api.lease(start=True)
    await peer.until_told(2)
    await api.store(a_success(assignment.lease))
    await peer.until_told(3)

    assert peer.states == [("task-1", "PENDING"), ("task-1", "STARTED"), ("task-1", "SUCCESS")]
    assert peer.tasks[-1] == await api.result()
    await peer.close()


async def test_submitted_task_is_answered_and_followed_to_its_end(api: Api) -> None:
    peer = await (await WatchPeer(api).say(submit=[a_request()])).until_submitted()
    assignment = await api.lease(start=True)
    await peer.until_told(1)
    await api.store(a_success(assignment.lease))
    await peer.close()

    (item,) = peer.submitted
    assert (item.task_id, item.submitted.created, item.submitted.task.revision) == ("task-1", True, 1)
    assert peer.states == [("task-1", "STARTED"), ("task-1", "SUCCESS")]
    assert peer.tasks[-1].result.data == b"3"


async def test_task_without_an_id_is_given_one(lone_api: Api) -> None:
    request = a_request()
    request.ClearField("task_id")
    peer = await (await WatchPeer(lone_api).say(submit=[request])).until_submitted()

    await lone_api.run(peer.submitted[0].task_id)

    await peer.close()
    assert peer.done_ids == {peer.submitted[0].task_id}


async def test_submits_are_answered_in_order_each_by_itself(api: Api) -> None:
    await api.submit("taken", data=b"[0]")
    bad = a_request("bad")
    bad.spec.priority = 77
    submits = [a_request("a"), bad, a_request("b"), a_request("taken"), SubmitRequest(task_id="a b"), a_request("c")]
    peer = await (await WatchPeer(api).say(submit=submits)).until_submitted(6)

    assert [item.task_id for item in peer.submitted] == ["a", "bad", "b", "taken", "a b", "c"]
    reasons = [item.error.reason for item in peer.submitted]
    assert reasons == ["", "INVALID_REQUEST", "", "TASK_ID_CONFLICT", "INVALID_REQUEST", ""]
    assert "submit[1].spec.priority" in peer.submitted[1].error.message
    assert await peer.is_quiet()
    peer.break_off()


async def test_task_that_was_not_accepted_is_not_followed(api: Api) -> None:
    await api.submit("taken", data=b"[0]")
    peer = await (await WatchPeer(api).say(submit=[a_request("taken")])).until_submitted()

    await api.run("taken")

    assert await peer.is_quiet()
    assert api.server.waiting.task_count == 0
    await peer.close()


async def test_task_that_was_not_accepted_stays_followed_by_who_had_added_it(api: Api) -> None:
    await api.submit("taken", data=b"[0]")
    peer = await (await WatchPeer(api).say("taken")).until_told(1)
    await (await peer.say(submit=[a_request("taken")])).until_submitted()

    await api.run("taken")

    await peer.close()
    assert peer.states[-1] == ("taken", "SUCCESS")


async def test_submit_repeated_after_a_broken_stream_is_told_its_outcome(api: Api) -> None:
    first = await (await WatchPeer(api).say(submit=[a_request("a"), a_request("b")])).until_submitted(2)
    first.break_off()
    await api.run("a")

    second = await WatchPeer(api).say(submit=[a_request("a"), a_request("b")])
    await second.until_submitted(2)
    await second.until_told(2)

    assert [item.submitted.created for item in second.submitted] == [False, False]
    assert sorted(second.states) == [("a", "SUCCESS"), ("b", "PENDING")]
    assert {task.task_id: task.result.data for task in second.tasks} == {"a": b"3", "b": b""}
    second.break_off()


async def test_task_submitted_twice_at_once_is_answered_twice(api: Api) -> None:
    peer = await WatchPeer(api).say(submit=[a_request(), a_request()])
    await (await peer.say(submit=[a_request()])).until_submitted(3)

    await api.run()

    await peer.close()
    assert [item.submitted.created for item in peer.submitted] == [True, False, False]
    assert peer.states[-1] == ("task-1", "SUCCESS")


async def test_outcome_of_a_submitted_task_never_comes_before_its_answer(api: Api) -> None:
    """A worker that waits has the task done while the answer is still on its way."""
    names = [f"task-{number:03}" for number in range(150)]

    async def work() -> None:
        left = len(names)
        while left:
            assignments = await api.lease_many(20, wait_s=5, start=True)
            await api.store_many(*[a_success(assignment.lease) for assignment in assignments])
            left -= len(assignments)

    working = asyncio.create_task(work())
    peer = await WatchPeer(api).say(done_only=True)
    for name in names:
        await peer.say(submit=[a_request(name)])
    await peer.until(lambda peer: len(peer.done_ids) == len(names))
    await working

    answered: set[str] = set()
    for message in peer.messages:
        assert {task.task_id for task in message.tasks} <= answered
        answered |= {item.task_id for item in message.submitted}
    assert [item.task_id for item in peer.submitted] == names
    await peer.close()


async def test_outcome_waits_for_the_answer_though_the_task_is_long_done(
    lone_api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    await lone_api.submit("b")
    has_accepted, may_answer = held_back_submits(lone_api, monkeypatch, has_accepted=True)
    peer = await WatchPeer(lone_api).say("b", done_only=True, submit=[a_request("a")])
    await has_accepted.wait()
    await peer.until_told(1)
    await lone_api.run("b")
    await lone_api.run("a")
    await peer.until(lambda peer: peer.done_ids == {"b"})

    may_answer.set()

    await peer.close()
    assert [(task.task_id, task.done) for task in peer.tasks] == [("b", False), ("b", True), ("a", True)]
    ends = [message for message in peer.messages if message.tasks and message.tasks[0].task_id == "a"]
    answers = [message for message in peer.messages if message.submitted]
    assert peer.messages.index(answers[0]) < peer.messages.index(ends[0])


async def test_target_that_was_dropped_is_told_of_no_more(api: Api) -> None:
    await api.submit("a")
    await api.submit("b")
    peer = await (await WatchPeer(api).say("a", "b")).until_told(2)

    await peer.say(drop_task_ids=["a", "never followed", ""])
    await eventually_async(lambda: api.server.waiting.task_count == 1, "the entry is dropped")
    await api.run("a")
    await api.run("b")

    await peer.close()
    assert [state for task_id, state in peer.states if task_id == "a"] == ["PENDING"]
    assert peer.states[-1] == ("b", "SUCCESS")


async def test_target_can_come_back(api: Api) -> None:
    await api.submit()
    peer = await (await WatchPeer(api).say("task-1")).until_told(1)
    await peer.say(drop_task_ids=["task-1"])

    await (await peer.say("task-1")).until_told(2)
    await api.run()
    await peer.until(lambda peer: peer.done_ids == {"task-1"})
    before = len(peer.tasks)
    await (await peer.say("task-1")).until_told(before + 1)

    assert peer.states[:2] == [("task-1", "PENDING")] * 2
    assert peer.states[-2:] == [("task-1", "SUCCESS")] * 2
    await peer.close()


async def test_target_added_twice_is_told_once(api: Api) -> None:
    await api.submit()
    peer = await WatchPeer(api).say("task-1", "task-1")
    await peer.until_told(1)
    await peer.say("task-1")

    assert await peer.is_quiet()
    assert peer.states == [("task-1", "PENDING")]
    peer.break_off()


async def test_unknown_ids_are_told_once_each_and_followed_no_longer(api: Api) -> None:
    await api.submit("a")
    peer = await (await WatchPeer(api).say("a", "unknown", "unknown")).until_told(2)

    assert (peer.states, peer.not_found) == ([("a", "PENDING")], ["unknown"])
    assert await peer.is_quiet()
    assert api.server.waiting.task_count == 1
    peer.break_off()


async def test_done_only_leaves_out_what_is_no_end(api: Api) -> None:
    await api.submit("added")
    peer = await WatchPeer(api).say("added", done_only=True, submit=[a_request("submitted")])
    await peer.until_submitted()
    await peer.until_told(1)

    await api.run("added")
    await api.run("submitted")

    await peer.close()
    assert peer.states == [("added", "PENDING"), ("added", "SUCCESS"), ("submitted", "SUCCESS")]


async def test_results_left_out_leave_state_and_reason(api: Api) -> None:
    peer = await WatchPeer(api).say(omit_results=True, done_only=True, submit=[a_request("good"), a_request("bad")])
    await peer.until_submitted(2)
    await api.run("good")
    assignment = await api.lease(start=True)
    await api.store(a_failure(assignment.lease, traceback="line 7"))
    await peer.close()

    good, bad = sorted(peer.tasks, key=lambda task: task.state)
    assert (good.task_id, good.HasField("result")) == ("good", False)
    assert (bad.failure.type, bad.failure.message, bad.failure.traceback) == ("ValueError", "no", "")


@pytest.mark.parametrize("seen", [1, 7])
async def test_only_the_very_revision_seen_last_is_held_back(api: Api, seen: int) -> None:
    await api.submit()
    peer = WatchPeer(api)
    await peer.say()
    await peer._call.write(WatchRequest(add=[WaitTarget(task_id="task-1", after_revision=seen)]))
    await eventually_async(lambda: api.server.waiting.task_count == 1, "it is followed")

    await api.run()

    await peer.close()
    assert (("task-1", "PENDING") in peer.states) == (seen == 7)
    assert peer.states[-1] == ("task-1", "SUCCESS")


async def test_old_stream_is_asked_to_reconnect_and_resumes_where_it_was(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "WAIT_STREAM_LIFE_S", 0.3)
    await api.submit("a")
    await api.submit("b")
    first = await (await WatchPeer(api).say("a", "b")).ended()
    assert first.end_reason == RECONNECT
    monkeypatch.undo()
    assignment = await api.lease(start=True)

    second = await (await WatchPeer(api).say_seen(first.tasks)).until_told(1)
    await api.store(a_success(assignment.lease))
    await second.until_told(2)

    assert second.states == [("a", "STARTED"), ("a", "SUCCESS")]
    second.break_off()


async def test_stopping_server_asks_everybody_to_reconnect_though_they_follow_nothing(api: Api) -> None:
    await api.submit()
    following = await (await WatchPeer(api).say("task-1")).until_told(1)
    idle, silent = await WatchPeer(api).say(), WatchPeer(api)
    assert await idle.is_quiet()
    await eventually_async(lambda: len(api.server._calls) == 3, "all are served")

    stopping = asyncio.create_task(api.server.stop(timedelta(seconds=5)))

    for peer in (following, idle, silent):
        assert (await peer.ended()).end_reason == RECONNECT
    await asyncio.wait_for(stopping, CALL_S)


async def test_submits_under_way_are_answered_before_the_stream_goes(
    lone_api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, may_answer = held_back_submits(lone_api, monkeypatch)
    peer = await WatchPeer(lone_api).say(submit=[a_request()])
    await asked.wait()

    stopping = asyncio.create_task(lone_api.server.stop(timedelta(seconds=5)))
    await eventually_async(lone_api.server._calls.draining.is_set, "the server is draining")
    may_answer.set()

    await peer.ended()
    await stopping
    assert [item.submitted.created for item in peer.submitted] == [True]
    assert peer.end_reason == RECONNECT


async def test_silent_stream_says_that_it_lives(lone_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "KEEPALIVE_S", 0.05)
    peer = WatchPeer(lone_api)
    assert [await peer.hear() for _ in range(2)] == [WatchResponse()] * 2

    await peer.say(submit=[a_request()])
    await peer.until_submitted()

    assert [await peer.hear() for _ in range(2)] == [WatchResponse()] * 2
    peer.break_off()


async def test_client_that_closes_its_side_is_served_until_all_is_done(api: Api) -> None:
    await api.submit("a")
    peer = await (await WatchPeer(api).say("a", submit=[a_request("b")])).until_submitted()
    closing = asyncio.create_task(peer.close())

    await api.run("a")
    await api.run("b")

    await closing
    assert peer.done_ids == {"a", "b"}
    assert peer.end_reason == 0


async def test_client_that_goes_leaves_nothing_behind(api: Api) -> None:
    await api.submit("a")
    peer = await (await WatchPeer(api).say("a", submit=[a_request("b")])).until_submitted()
    assert api.server.waiting.task_count == 2

    peer.break_off()

    await eventually_async(lambda: api.server.waiting.task_count == 0, "the entries are dropped")


async def test_client_that_goes_while_it_submits_leaves_nothing_behind_but_its_tasks(
    lone_api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, may_answer = held_back_submits(lone_api, monkeypatch)
    peer = await WatchPeer(lone_api).say(submit=[a_request()])
    await asked.wait()
    assert lone_api.server.waiting.task_count == 1

    peer.break_off()
    await eventually_async(lambda: lone_api.server.waiting.task_count == 0, "the entry is dropped")
    may_answer.set()

    await lone_api.run()
    assert await lone_api.state() == "SUCCESS"
    await lone_api.check_unharmed()


async def test_many_large_results_come_in_messages_that_every_client_takes(lone_api: Api) -> None:
    names = [f"task-{number:03}" for number in range(12)]
    for name in names:
        await lone_api.submit(name)
        await lone_api.run(name, data=name.encode().ljust(MIB - 120_000))

    peer = await (await WatchPeer(lone_api).say(*names)).close()

    assert {task.task_id: task.result.data.decode().strip() for task in peer.tasks} == {name: name for name in names}
    assert max(message.ByteSize() for message in peer.messages) < 4 * MIB


async def test_ten_thousand_targets_join_and_leave(lone_api: Api) -> None:
    names = [f"{number:05}".ljust(128, "x") for number in range(10_000)]
    await lone_api.submit_many(*names[:3_000])
    peer = await WatchPeer(lone_api).say(*names, done_only=True)
    await peer.until_told(10_000)

    assert sorted(peer.not_found) == names[3_000:]
    assert {task.task_id for task in peer.tasks} == set(names[:3_000])
    await peer.say(drop_task_ids=names[10:])
    await eventually_async(lambda: lone_api.server.waiting.task_count == 10, "most are dropped")
    await lone_api.store_many(*[a_success(each.lease) for each in await lone_api.lease_many(10, start=True)])
    await peer.close()
    assert peer.done_ids == set(names[:10])


async def test_more_targets_than_allowed_end_the_stream(lone_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_WATCH_TARGETS", 3)
    await lone_api.submit_many("a", "b", "c")
    peer = await (await WatchPeer(lone_api).say("a", "b", "c")).until_told(3)
    await peer.say("a", "b", "a")
    await peer.say(drop_task_ids=["c"])
    await (await peer.say(submit=[a_request("new")])).until_submitted()

    await peer.say("c")

    refusal = await peer.refusal()
    assert refusal.outcome == (grpc.StatusCode.INVALID_ARGUMENT, "LIMIT_EXCEEDED")
    assert "add: 4 is over the limit of 3" in refusal.message


async def test_more_submits_than_may_be_followed_end_the_stream(lone_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_WATCH_TARGETS", 3)

    peer = await WatchPeer(lone_api).say(submit=[a_request(name) for name in "abcd"])

    assert (await peer.refusal()).outcome == (grpc.StatusCode.INVALID_ARGUMENT, "LIMIT_EXCEEDED")


@pytest.mark.parametrize(
    ("request_", "reason", "field"),
    [
        (WatchRequest(add=[WaitTarget(task_id="{}")]), "INVALID_REQUEST", "add[0].task_id"),
        (WatchRequest(add=[WaitTarget()]), "INVALID_REQUEST", "add[0].task_id"),
        (WatchRequest(add=[WaitTarget(task_id="a", after_revision=-1)]), "INVALID_REQUEST", "add[0].after_revision"),
        (WatchRequest(add=[WaitTarget(task_id="a")] * 100_001), "LIMIT_EXCEEDED", "add"),
        (WatchRequest(submit=[SubmitRequest()] * 1_001), "LIMIT_EXCEEDED", "submit"),
        (WatchRequest(submit=[a_request("a", data=b"x" * MIB)] * 5), "LIMIT_EXCEEDED", "submit"),
        (WatchRequest(include_progress=True), "INVALID_REQUEST", "include_progress"),
        (WatchRequest(omit_results=True), "INVALID_REQUEST", "omit_results"),
        (WatchRequest(done_only=True), "INVALID_REQUEST", "done_only"),
    ],
)
async def test_malformed_request_ends_the_stream_and_what_came_before_counts(
    lone_api: Api, request_: WatchRequest, reason: str, field: str
) -> None:
    peer = await WatchPeer(lone_api).say(submit=[a_request()])
    await peer._call.write(request_)

    refusal = await peer.refusal()

    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, reason)
    assert refusal.message.startswith(f"{field}: ")
    assert [item.submitted.created for item in peer.submitted] == [True]
    await eventually_async(lambda: lone_api.server.waiting.task_count == 0, "nothing is followed any more")
    await lone_api.check_unharmed()


async def test_bytes_that_are_no_request_end_the_stream(lone_api: Api) -> None:
    watch: grpc.aio.StreamStreamMultiCallable[bytes, bytes]
    watch = lone_api.channel.stream_stream("/tailrace.v1.TaskService/Watch")
    call = watch(timeout=CALL_S)
    await call.write(b"\xff\xff\xff")

    refusal = await refused(call.read())

    assert refusal.outcome == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")


async def test_client_that_submits_and_reads_no_answers_is_not_read_on(
    lone_api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What piles up for it is bounded, and all of it is there when it reads after all."""
    monkeypatch.setattr(watch_answers, "MAX_WAITING_ANSWERS", 10)
    may_write = asyncio.Event()
    real = watch_stream.WatchStream._send
    streams: list[watch_stream.WatchStream] = []

    async def held_up(stream: watch_stream.WatchStream, message: WatchResponse) -> None:
        streams.append(stream)
        await may_write.wait()
        await real(stream, message)

    monkeypatch.setattr(watch_stream.WatchStream, "_send", held_up)
    names = [f"task-{number:03}" for number in range(200)]
    peer = WatchPeer(lone_api)

    async def submit_all() -> None:
        for name in names:
            await peer.say(submit=[a_request(name)])

    submitting = asyncio.create_task(submit_all())
    await eventually_async(lambda: bool(streams) and len(streams[0]._answers._waiting) >= 10, "answers pile up")
    await eventually_async(lambda: len(streams[0]._inbox._frames) == 64, "requests pile up, and no more are read")
    accepted = lone_api.server.waiting.task_count
    assert accepted < len(names) - 64
    assert len(streams[0]._answers._waiting) <= accepted

    may_write.set()
    await peer.until_submitted(len(names))
    await submitting
    assert [item.task_id for item in peer.submitted] == names
    assert streams
    peer.break_off()


async def test_reader_that_takes_nothing_any_more_is_left(lone_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Meanwhile it costs no more payloads than may be kept, and one message."""
    monkeypatch.setattr(limits, "SILENCE_S", 1.0)
    monkeypatch.setattr(entries, "MAX_KEPT_BYTES", 3 * MIB)
    names = [f"task-{number:03}" for number in range(30)]
    for name in names:
        await lone_api.submit(name)
        await lone_api.run(name, data=b"x" * (MIB - 1_000))
    peer = await WatchPeer(lone_api).say(*names)

    await eventually_async(lambda: 0 < lone_api.server.waiting.task_count < 30, "some was written, and no more")
    assert lone_api.server.waiting.kept_bytes <= 3 * MIB
    await eventually_async(lambda: len(lone_api.server._calls) == 0, "the stream is given up")

    assert lone_api.server.waiting.task_count == 0
    peer.break_off()


async def test_waits_end_with_the_news_that_the_store_lost_its_data(api: Api) -> None:
    await api.submit()
    watching = await (await WatchPeer(api).say("task-1")).until_told(1)
    idle = await WatchPeer(api).say()
    assert await idle.is_quiet()
    wait = api.tasks.WaitFor(WaitForRequest(targets=[WaitTarget(task_id="task-1")]), timeout=CALL_S)
    await wait.read()
    request = GetResultRequest(task_id="task-1", wait_timeout=seconds(30))
    polling = asyncio.ensure_future(api.tasks.GetResult(request, timeout=CALL_S))
    await eventually_async(lambda: len(api.server._calls) == 4, "all of them wait")

    api.server.waiting.apply(StoreEmptied())

    lost = (grpc.StatusCode.DATA_LOSS, "STORE_EMPTIED")
    assert (await watching.refusal()).outcome == lost
    assert (await refused(wait.read())).outcome == lost
    assert (await refused(polling)).outcome == lost
    assert await idle.is_quiet("still-unknown")
    again = await (await WatchPeer(api).say("task-1")).until_told(1)
    await api.run()
    await again.until(lambda peer: peer.done_ids == {"task-1"})
    await idle.close()
    await again.close()


async def test_server_tells_how_many_targets_it_takes(lone_api: Api) -> None:
    assert (await lone_api.tasks.GetServerInfo(GetServerInfoRequest(), timeout=CALL_S)).max_watch_targets == 100_000
