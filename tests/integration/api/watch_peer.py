"""A client on the Watch stream whose every message the test sends and reads."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import grpc

from tailrace.v1 import task_pb2
from tailrace.v1.task_service_pb2 import SubmitItem, WaitTarget, WatchRequest, WatchResponse
from tests.integration.api.serving import CALL_S, Api, Refusal, refusal_of


def targets(*task_ids: str) -> list[WaitTarget]:
    return [WaitTarget(task_id=task_id) for task_id in task_ids]


class WatchPeer:
    """One Watch stream and all that it told, keepalives left out."""

    def __init__(self, api: Api, *, timeout_s: float = 60) -> None:
        self._call = api.tasks.Watch(timeout=timeout_s)
        self._reading: asyncio.Task[Any] | None = None
        self.messages: list[WatchResponse] = []

    @property
    def tasks(self) -> list[task_pb2.TaskResult]:
        return [task for message in self.messages for task in message.tasks]

    @property
    def states(self) -> list[tuple[str, str]]:
        return [(t.task_id, task_pb2.TaskState.Name(t.state).removeprefix("TASK_STATE_")) for t in self.tasks]

    @property
    def done_ids(self) -> set[str]:
        return {task.task_id for task in self.tasks if task.done}

    @property
    def not_found(self) -> list[str]:
        return [task_id for message in self.messages for task_id in message.not_found_task_ids]

    @property
    def submitted(self) -> list[SubmitItem]:
        return [item for message in self.messages for item in message.submitted]

    @property
    def end_reason(self) -> int:
        *others, last = self.messages
        assert all(not message.end_reason for message in others)
        return last.end_reason

    async def say(self, *task_ids: str, **fields: Any) -> "WatchPeer":
        """Send one request; the ids are added."""
        await asyncio.wait_for(self._call.write(WatchRequest(add=targets(*task_ids), **fields)), CALL_S)
        return self

    async def say_seen(self, outcomes: Iterable[task_pb2.TaskResult]) -> "WatchPeer":
        """Add tasks with the revisions seen last."""
        seen = [WaitTarget(task_id=task.task_id, after_revision=task.revision) for task in outcomes]
        await asyncio.wait_for(self._call.write(WatchRequest(add=seen)), CALL_S)
        return self

    async def hear(self) -> WatchResponse | None:
        """Read the next message, keepalives included; None at the end of the stream."""
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._call.read())
        message = await asyncio.wait_for(asyncio.shield(self._reading), CALL_S)
        self._reading = None
        if message is grpc.aio.EOF:
            return None
        assert isinstance(message, WatchResponse)
        if message.ByteSize():
            self.messages.append(message)
        return message

    async def until(self, holds: Callable[["WatchPeer"], bool]) -> "WatchPeer":
        """Read until something holds of all that was told."""
        while not holds(self):
            assert await self.hear() is not None, f"the stream ended after {self.messages}"
        return self

    async def until_told(self, count: int) -> "WatchPeer":
        return await self.until(lambda peer: len(peer.tasks) + len(peer.not_found) >= count)

    async def until_submitted(self, count: int = 1) -> "WatchPeer":
        return await self.until(lambda peer: len(peer.submitted) >= count)

    async def is_quiet(self, marker: str = "nobody-submitted-this") -> bool:
        """Tell whether the server has nothing to say but its answer to a target that does not exist, added now."""
        before = len(self.messages)
        await self.say(marker)
        await self.until(lambda peer: marker in peer.not_found)
        return self.messages[before:] == [WatchResponse(not_found_task_ids=[marker])]

    async def close(self) -> "WatchPeer":
        """Close this side, and see the server end the stream in good order once all is done."""
        await asyncio.wait_for(self._call.done_writing(), CALL_S)
        return await self.ended()

    async def ended(self) -> "WatchPeer":
        """Read to the end, which must be OK."""
        while await self.hear() is not None:
            pass
        assert await self._call.code() is grpc.StatusCode.OK
        return self

    async def refusal(self) -> Refusal:
        """Read to the end, which must be a refusal."""
        try:
            while await self.hear() is not None:
                pass
        except grpc.aio.AioRpcError as error:
            return refusal_of(error)
        raise AssertionError("the stream ended with OK")

    def break_off(self) -> None:
        """End the stream as a broken connection does."""
        self._call.cancel()
