"""One Watch stream without gRPC: readers that vanish, a store that is away, and nobody left waiting for another."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from tailrace.server.api import watch_answers, watch_stream
from tailrace.server.api.watch_stream import WatchStream
from tailrace.server.domain import limits
from tailrace.server.domain.errors import InvalidRequestError, StoreUnavailableError, TailraceError
from tailrace.server.domain.task import Submission
from tailrace.server.store.values import Submitted
from tailrace.server.waiting import entries
from tailrace.v1 import task_pb2
from tailrace.v1.task_service_pb2 import SubmitRequest, WaitTarget, WatchRequest, WatchResponse
from tests.unit.server.turns import other_tasks_ran
from tests.unit.server.waiting_scene import SOON_S, Scene
from tests.wait import eventually_async

MIB = 1 << 20
RESULT = task_pb2.Payload(content_type="text/plain", data=b"3").SerializeToString()


def a_submit(task_id: str) -> SubmitRequest:
    return SubmitRequest(task_id=task_id, spec=task_pb2.TaskSpec(task_type="add"))


class Client:
    """Says what the test says, and reads when it may."""

    def __init__(self, scene: Scene) -> None:
        self.draining = asyncio.Event()
        self.may_read = asyncio.Event()
        self.may_read.set()
        self.is_gone = False
        self.messages: asyncio.Queue[WatchResponse] = asyncio.Queue()
        self.unread_count = 0
        self._said: asyncio.Queue[WatchRequest | None] = asyncio.Queue()
        self._stream = WatchStream(
            coordinator=scene.coordinator,
            waiting=scene.waiting,
            draining=self.draining,
            write=self._write,
            max_payload_bytes=MIB,
        )

    async def run(self) -> None:
        await asyncio.wait_for(self._stream.run(self._requests()), SOON_S)

    def say(self, *task_ids: str, submit: Sequence[str] = (), done_only: bool = False) -> None:
        targets = [WaitTarget(task_id=task_id) for task_id in task_ids]
        submits = [a_submit(name) for name in submit]
        self._said.put_nowait(WatchRequest(add=targets, submit=submits, done_only=done_only))

    def close(self) -> None:
        self._said.put_nowait(None)

    async def next(self) -> WatchResponse:
        return await asyncio.wait_for(self.messages.get(), SOON_S)

    async def _requests(self) -> AsyncIterator[tuple[WatchRequest, int]]:
        while (request := await self._said.get()) is not None:
            yield request, request.ByteSize()

    async def _write(self, raw: bytes) -> None:
        self.unread_count += 1
        assert self.unread_count == 1, "never more than one message in flight"
        if self.is_gone:
            raise RuntimeError("gRPC's own words for a client that has gone")
        await self.may_read.wait()
        self.messages.put_nowait(WatchResponse.FromString(raw))
        self.unread_count = 0


async def test_client_that_goes_during_a_write_is_no_incident(scene: Scene) -> None:
    client = Client(scene)
    client.is_gone = True
    client.say("unknown")

    await client.run()

    assert scene.waiting.task_count == 0


async def test_client_that_reads_no_answers_is_left_though_more_of_its_submits_wait_for_room(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SILENCE_S", 0.1)
    monkeypatch.setattr(watch_answers, "MAX_WAITING_ANSWERS", 2)
    client = Client(scene)
    client.may_read.clear()
    for number in range(100):
        client.say(submit=[f"{number}-{each}" for each in range(3)])

    await client.run()

    assert client.messages.empty()
    assert scene.waiting.task_count == 0


async def test_submit_that_the_store_did_not_answer_is_answered_so_and_not_followed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = scene.coordinator.submit

    async def away(submissions: Sequence[Submission]) -> list[Submitted | TailraceError]:
        return [StoreUnavailableError("away") for _ in submissions]

    monkeypatch.setattr(scene.coordinator, "submit", away)
    client = Client(scene)
    running = asyncio.create_task(client.run())
    client.say(submit=["a"])
    first = await client.next()
    monkeypatch.setattr(scene.coordinator, "submit", real)
    client.say(submit=["a"])
    second = await client.next()
    await scene.run("a", result=RESULT)
    client.close()
    await running

    assert [item.error.reason for item in first.submitted] == ["STORE_UNAVAILABLE"]
    assert [item.submitted.created for item in second.submitted] == [True]
    told = [client.messages.get_nowait() for _ in range(client.messages.qsize())]
    assert [task.done for message in told for task in message.tasks][-1]


async def test_outcome_that_cannot_be_read_now_is_told_later(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_stream, "STORE_BACKOFF_S", 0.01)
    monkeypatch.setattr(entries, "MAX_KEPT_BYTES", 0)
    client = Client(scene)
    running = asyncio.create_task(client.run())
    client.say(submit=["a"], done_only=True)
    await client.next()
    scene.coordinator.is_away = True
    await scene.run("a", result=RESULT)
    await scene.submit("b")
    client.say(submit=["c"])
    assert [item.task_id for item in (await client.next()).submitted] == ["c"]

    scene.coordinator.is_away = False

    assert [(task.task_id, task.done) for task in (await client.next()).tasks] == [("a", True)]
    running.cancel()
    await asyncio.wait([running])


async def test_client_that_vanishes_while_its_targets_are_added_leaves_nothing_behind(scene: Scene) -> None:
    client = Client(scene)
    running = asyncio.create_task(client.run())
    client.say(*[f"unknown-{number}" for number in range(10_000)])
    while not scene.waiting.task_count:
        turn = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(turn.set_result, None)
        await turn
    assert 0 < scene.waiting.task_count < 10_000

    running.cancel()
    await asyncio.wait([running])

    assert scene.waiting.task_count == 0


async def test_refusal_waits_for_the_answers_that_are_due(scene: Scene) -> None:
    client = Client(scene)
    client.say(submit=["a", "b"])
    client.say("{}")

    with pytest.raises(InvalidRequestError):
        await client.run()

    assert [item.task_id for item in (await client.next()).submitted] == ["a", "b"]
    assert scene.waiting.task_count == 0


async def test_client_that_vanishes_before_it_has_read_its_refusal_leaves_nothing_behind(scene: Scene) -> None:
    await scene.submit("a", "b")
    client = Client(scene)
    client.may_read.clear()
    client.say("a", "b")
    running = asyncio.create_task(client.run())
    await eventually_async(lambda: client.unread_count == 1, "there is a message that nobody reads")
    client.say("{}")
    await eventually_async(lambda: client._stream._is_cut_short, "the refusal waits for it to be read")

    running.cancel()
    await asyncio.wait([running])
    await other_tasks_ran()

    assert scene.waiting.task_count == 0
    client.may_read.set()
    await other_tasks_ran()
    assert client.messages.empty()
