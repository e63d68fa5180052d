"""WaitFor: the outcome of each target, then every change, until the condition holds; resumable, and never silent."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import grpc
import pytest

from tailrace.server.domain import limits
from tailrace.v1 import task_pb2
from tailrace.v1.task_service_pb2 import (
    WAIT_CONDITION_ALL_DONE,
    WAIT_CONDITION_ANY_DONE,
    WAIT_CONDITION_FIRST_FAILURE,
    WAIT_END_REASON_RECONNECT,
    WAIT_END_REASON_SATISFIED,
    WAIT_END_REASON_TIMEOUT,
    WaitForRequest,
    WaitForResponse,
    WaitTarget,
)
from tests.integration.api.serving import CALL_S, MIB, Api, a_failure, a_success, refused, seconds
from tests.wait import eventually_async

SUCCESS, FAILURE = task_pb2.TASK_STATE_SUCCESS, task_pb2.TASK_STATE_FAILURE


class Wait:
    """An open WaitFor call and all that it told."""

    def __init__(self, api: Api, *task_ids: str, revisions: Sequence[int] = (), **fields: Any) -> None:
        targets = [WaitTarget(task_id=task_id) for task_id in task_ids]
        for target, revision in zip(targets, revisions, strict=False):
            target.after_revision = revision
        self._call = api.tasks.WaitFor(WaitForRequest(targets=targets, **fields), timeout=60)
        self.messages: list[WaitForResponse] = []

    @property
    def tasks(self) -> list[task_pb2.TaskResult]:
        return [task for message in self.messages for task in message.tasks]

    @property
    def states(self) -> list[tuple[str, str]]:
        return [(t.task_id, task_pb2.TaskState.Name(t.state).removeprefix("TASK_STATE_")) for t in self.tasks]

    @property
    def not_found(self) -> list[str]:
        return [task_id for message in self.messages for task_id in message.not_found_task_ids]

    async def next(self) -> WaitForResponse | None:
        """Read one message; None at the end of the stream."""
        message = await asyncio.wait_for(self._call.read(), CALL_S)
        if message is grpc.aio.EOF:
            return None
        assert isinstance(message, WaitForResponse)
        self.messages.append(message)
        return message

    async def snapshot(self) -> "Wait":
        """Read until the snapshot is complete."""
        while (message := await self.next()) and not message.snapshot_complete:
            pass
        assert self.messages[-1].snapshot_complete
        return self

    async def end(self) -> "Wait":
        """Read to the end."""
        while await self.next() is not None:
            pass
        assert await self._call.code() is grpc.StatusCode.OK
        return self

    @property
    def end_reason(self) -> int:
        *others, last = self.messages
        assert all(not message.end_reason for message in others)
        return last.end_reason

    def cancel(self) -> None:
        self._call.cancel()


async def test_every_change_is_told_and_the_end_ends_it(api: Api) -> None:
    await api.submit()
    wait = await Wait(api, "task-1").snapshot()
    assignment = await api.lease(start=True)
    await wait.next()
    await api.store(a_success(assignment.lease))
    await wait.end()

    assert wait.states == [("task-1", "PENDING"), ("task-1", "STARTED"), ("task-1", "SUCCESS")]
    assert wait.tasks[-1] == await api.result()
    assert wait.end_reason == WAIT_END_REASON_SATISFIED


async def test_end_comes_with_the_last_news(api: Api) -> None:
    await api.submit()
    wait = await Wait(api, "task-1", done_only=True).snapshot()
    await api.run()
    await wait.end()

    last = wait.messages[-1]
    assert ([task.state for task in last.tasks], last.end_reason) == ([SUCCESS], WAIT_END_REASON_SATISFIED)


async def test_snapshot_is_complete_exactly_once(api: Api) -> None:
    await api.submit("a")
    await api.submit("b")
    wait = await Wait(api, "a", "b", "unknown").snapshot()
    await api.run("a")
    await api.run("b")
    await wait.end()

    assert [message.snapshot_complete for message in wait.messages].count(True) == 1
    assert wait.not_found == ["unknown"]


async def test_task_that_is_done_already_is_told_at_once(api: Api) -> None:
    await api.submit()
    await api.run()

    wait = await Wait(api, "task-1", revisions=[3], done_only=True).end()

    assert wait.states == [("task-1", "SUCCESS")]
    assert wait.end_reason == WAIT_END_REASON_SATISFIED


async def test_id_named_twice_is_told_once(api: Api) -> None:
    await api.submit()
    await api.run()

    wait = await Wait(api, "task-1", "task-1").end()

    assert wait.states == [("task-1", "SUCCESS")]


async def test_all_done_waits_for_the_last(api: Api) -> None:
    await api.submit("a")
    await api.submit("b")
    wait = await Wait(api, "a", "b", condition=WAIT_CONDITION_ALL_DONE, done_only=True).snapshot()
    await api.run("a")
    assert await wait.next()
    assert wait.states[-1] == ("a", "SUCCESS")
    await api.run("b")
    await wait.end()

    assert wait.states[-1] == ("b", "SUCCESS")


async def test_any_done_ends_with_the_first(api: Api) -> None:
    await api.submit("a")
    await api.submit("b")
    wait = await Wait(api, "a", "b", condition=WAIT_CONDITION_ANY_DONE, done_only=True).snapshot()
    await api.run("a")
    await wait.end()

    assert wait.states == [("a", "PENDING"), ("b", "PENDING"), ("a", "SUCCESS")]
    assert wait.end_reason == WAIT_END_REASON_SATISFIED


async def test_any_done_holds_of_an_unknown_id(api: Api) -> None:
    await api.submit("a")

    wait = await Wait(api, "a", "unknown", condition=WAIT_CONDITION_ANY_DONE).end()

    assert (wait.states, wait.not_found) == ([("a", "PENDING")], ["unknown"])


async def test_first_failure_ends_it_though_others_go_on(api: Api) -> None:
    for name in ("a", "b", "c"):
        await api.submit(name)
    wait = await Wait(api, "a", "b", "c", condition=WAIT_CONDITION_FIRST_FAILURE, done_only=True).snapshot()
    await api.run("a")
    assert await wait.next()
    assignment = await api.lease(start=True)
    await api.store(a_failure(assignment.lease))
    await wait.end()

    assert wait.states[3:] == [("a", "SUCCESS"), ("b", "FAILURE")]


async def test_first_failure_ends_with_the_last_success_when_none_fails(api: Api) -> None:
    await api.submit("a")
    wait = await Wait(api, "a", "unknown", condition=WAIT_CONDITION_FIRST_FAILURE).snapshot()
    await api.run("a")

    await wait.end()

    assert (wait.states[-1], wait.not_found) == (("a", "SUCCESS"), ["unknown"])


async def test_wait_for_unknown_ids_only_is_over_at_once(api: Api) -> None:
    wait = await Wait(api, "unknown", "never-heard-of").end()

    assert sorted(wait.not_found) == ["never-heard-of", "unknown"]
    assert wait.end_reason == WAIT_END_REASON_SATISFIED
    assert [message.snapshot_complete for message in wait.messages].count(True) == 1


async def test_done_only_leaves_out_what_is_no_end(api: Api) -> None:
    await api.submit()
    wait = await Wait(api, "task-1", done_only=True).snapshot()
    await api.run()
    await wait.end()

    assert wait.states == [("task-1", "PENDING"), ("task-1", "SUCCESS")]


async def test_results_left_out_leave_state_and_reason(api: Api) -> None:
    await api.submit("good")
    await api.run("good")
    await api.submit("bad")
    assignment = await api.lease(start=True)
    cause = task_pb2.Failure(message="deeper")
    await api.store(a_failure(assignment.lease, traceback="line 7", cause=cause))

    wait = await Wait(api, "good", "bad", omit_results=True).end()

    good, bad = sorted(wait.tasks, key=lambda task: task.state)
    assert (good.state, good.HasField("result")) == (SUCCESS, False)
    assert (bad.state, bad.failure.type, bad.failure.message) == (FAILURE, "ValueError", "no")
    assert (bad.failure.traceback, bad.failure.HasField("cause")) == ("", False)


async def test_time_that_is_up_ends_it_in_good_order(api: Api) -> None:
    await api.submit()

    wait = await Wait(api, "task-1", wait_timeout=seconds(0.2)).end()

    assert wait.states == [("task-1", "PENDING")]
    assert wait.end_reason == WAIT_END_REASON_TIMEOUT


async def test_wait_of_no_time_looks_once(api: Api) -> None:
    await api.submit("a")
    await api.submit("b")
    await api.run("a")

    wait = await Wait(api, "a", "b", wait_timeout=seconds(0)).end()

    assert sorted(wait.states) == [("a", "SUCCESS"), ("b", "PENDING")]
    assert wait.end_reason == WAIT_END_REASON_TIMEOUT


async def test_silent_stream_says_that_it_lives(lone_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "KEEPALIVE_S", 0.05)
    await lone_api.submit()
    wait = await Wait(lone_api, "task-1").snapshot()

    assert [await wait.next() for _ in range(2)] == [WaitForResponse(), WaitForResponse()]
    await lone_api.run()
    await wait.end()
    assert wait.states[-1] == ("task-1", "SUCCESS")


async def test_old_stream_is_asked_to_reconnect_and_resumes_where_it_was(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "WAIT_STREAM_LIFE_S", 0.1)
    await api.submit("a")
    await api.submit("b")
    first = await Wait(api, "a", "b").end()
    assert first.end_reason == WAIT_END_REASON_RECONNECT
    monkeypatch.undo()
    assignment = await api.lease(start=True)

    seen = {task.task_id: task.revision for task in first.tasks}
    second = await Wait(api, *seen, revisions=list(seen.values())).snapshot()
    await api.store(a_success(assignment.lease))
    assert await second.next()

    assert second.states == [("a", "STARTED"), ("a", "SUCCESS")]
    second.cancel()


async def test_revision_from_before_a_restored_backup_is_told_what_is_now(api: Api) -> None:
    await api.submit()

    wait = await Wait(api, "task-1", revisions=[9]).snapshot()

    assert [task.revision for task in wait.tasks] == [1]
    wait.cancel()


async def test_stopping_server_asks_everybody_to_reconnect(api: Api) -> None:
    await api.submit()
    wait = await Wait(api, "task-1").snapshot()

    stopping = asyncio.create_task(api.server.stop(timedelta(seconds=5)))
    await wait.end()

    assert wait.end_reason == WAIT_END_REASON_RECONNECT
    await stopping


async def test_many_large_results_come_in_messages_that_every_client_takes(lone_api: Api) -> None:
    names = [f"task-{number:03}" for number in range(12)]
    for name in names:
        await lone_api.submit(name)
        await lone_api.run(name, data=name.encode().ljust(MIB - 120_000))

    wait = await Wait(lone_api, *names).end()

    assert {task.task_id: task.result.data.decode().strip() for task in wait.tasks} == {name: name for name in names}
    assert max(message.ByteSize() for message in wait.messages) < 4 * MIB
    assert len(wait.messages) <= 6


async def test_a_thousand_targets_are_followed_on_one_stream(api: Api) -> None:
    names = [f"task-{number}" for number in range(1_000)]
    await api.submit_many(*names)
    wait = await Wait(api, *names, done_only=True).snapshot()
    for _ in range(10):
        await api.store_many(*[a_success(each.lease) for each in await api.lease_many(100, start=True)])
    await wait.end()

    assert {task.task_id for task in wait.tasks if task.state == SUCCESS} == set(names)


async def test_many_waits_for_one_task_are_all_told(api: Api) -> None:
    await api.submit()
    waits = [await Wait(api, "task-1", done_only=True).snapshot() for _ in range(50)]
    assert api.server.waiting.task_count == 1

    await api.run()

    for wait in waits:
        await wait.end()
        assert wait.states[-1] == ("task-1", "SUCCESS")


async def test_caller_that_goes_leaves_nothing_behind(api: Api) -> None:
    await api.submit()
    wait = await Wait(api, "task-1").snapshot()
    assert api.server.waiting.task_count == 1

    wait.cancel()

    await eventually_async(lambda: api.server.waiting.task_count == 0, "the entry is dropped")


@pytest.mark.parametrize(
    ("request_", "reason", "field"),
    [
        (WaitForRequest(), "INVALID_REQUEST", "targets"),
        (WaitForRequest(targets=[WaitTarget(task_id="{}")]), "INVALID_REQUEST", "targets[0].task_id"),
        (WaitForRequest(targets=[WaitTarget(task_id="a")] * 1_001), "LIMIT_EXCEEDED", "targets"),
        (WaitForRequest(targets=[WaitTarget(task_id="a")], condition=9), "INVALID_REQUEST", "condition"),  # type: ignore[arg-type]
    ],
)
async def test_malformed_wait_is_refused_by_field(
    lone_api: Api, request_: WaitForRequest, reason: str, field: str
) -> None:
    async def first_message() -> object:
        return await lone_api.tasks.WaitFor(request_, timeout=CALL_S).read()

    refusal = await refused(first_message())

    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, reason)
    assert refusal.message.startswith(f"{field}: ")
