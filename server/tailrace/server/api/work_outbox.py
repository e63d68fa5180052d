"""What is to be said to one worker, gathered until the stream can take it and cut into frames that fit."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import TypeVar

from tailrace.server.api import render
from tailrace.server.dispatch.session import WorkerSession
from tailrace.server.domain.limits import FILL_MESSAGE_BYTES, MAX_BATCH_ITEMS
from tailrace.v1 import worker_service_pb2 as pb

MAX_FRAME_ASSIGNMENTS = 256
MAX_WAITING_ANSWERS = 20_000
"""Twice the leases that one worker can hold."""

Item = TypeVar("Item")


class WorkOutbox:
    """Answers go before assignments, goodbyes last."""

    def __init__(self) -> None:
        self._session: WorkerSession | None = None
        self._welcome: pb.Welcome | None = None
        self._statuses: list[pb.LeaseStatus] = []
        self._acks: list[pb.AttemptResultAck] = []
        self._release_acks: list[pb.ReleaseItem] = []
        self._server_drain: pb.ServerDrain | None = None
        self._is_keepalive_due = False
        self._is_drained = False
        self._is_closed = False
        self._gathered = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()

    def welcome(self, message: pb.Welcome, session: WorkerSession) -> None:
        """Say welcome; assignments of the session follow."""
        self._welcome = message
        self._session = session
        self.wake()

    def statuses(self, statuses: Iterable[pb.LeaseStatus]) -> None:
        """Answer beats; an answer to no beats at all still shows the worker that the stream lives."""
        self._statuses.extend(statuses)
        self._is_keepalive_due = not self._statuses
        self.wake()

    def news(self, status: pb.LeaseStatus) -> None:
        """Say what became of a lease without having been asked."""
        self._statuses.append(status)
        self.wake()

    def acks(self, acks: Iterable[pb.AttemptResultAck]) -> None:
        """Answer results."""
        self._acks.extend(acks)
        self.wake()

    def release_acks(self, items: Iterable[pb.ReleaseItem]) -> None:
        """Answer releases."""
        self._release_acks.extend(items)
        self.wake()

    async def wait_for_room(self, timeout_s: float) -> None:
        """Return when few enough answers wait to be read; whoever sends and does not read is not to be served on.

        Raises:
            TimeoutError: The worker read too few of them in time.
        """
        async with asyncio.timeout(timeout_s):
            while self._answer_count >= MAX_WAITING_ANSWERS:
                self._has_room.clear()
                await self._has_room.wait()

    def server_drain(self, grace_s: float) -> None:
        """Ask the worker to go elsewhere."""
        self._server_drain = pb.ServerDrain(grace_period=render.duration_s(grace_s))
        self.wake()

    def drained(self) -> None:
        """Tell the worker that it holds nothing any more."""
        self._is_drained = True
        self.wake()

    def close(self) -> None:
        """End the frames after what has gathered."""
        self._is_closed = True
        self.wake()

    def wake(self) -> None:
        """Look again for something to say, such as new assignments."""
        self._gathered.set()

    async def next_frame(self, keepalive_s: float) -> pb.WorkResponse | None:
        """Wait for the next frame; an empty one when there is nothing to say for a while, None at the end."""
        while True:
            self._gathered.clear()
            frame = self._cut_frame()
            if frame is not None:
                self._has_room.set()
                return frame
            if self._is_closed:
                return None
            try:
                async with asyncio.timeout(keepalive_s):
                    await self._gathered.wait()
            except TimeoutError:
                return pb.WorkResponse()

    @property
    def _answer_count(self) -> int:
        return len(self._statuses) + len(self._acks) + len(self._release_acks)

    def _cut_frame(self) -> pb.WorkResponse | None:
        if self._welcome is not None:
            welcome, self._welcome = self._welcome, None
            return pb.WorkResponse(welcome=welcome)
        return self._cut_answers() or self._cut_assignments() or self._cut_goodbye()

    def _cut_answers(self) -> pb.WorkResponse | None:
        if self._statuses or self._is_keepalive_due:
            self._is_keepalive_due = False
            return pb.WorkResponse(lease_statuses=pb.LeaseStatuses(statuses=_cut(self._statuses)))
        if self._acks:
            return pb.WorkResponse(result_acks=pb.AttemptResultAcks(acks=_cut(self._acks)))
        if self._release_acks:
            return pb.WorkResponse(release_acks=pb.LeaseReleaseAcks(items=_cut(self._release_acks)))
        return None

    def _cut_assignments(self) -> pb.WorkResponse | None:
        if self._session is None:
            return None
        deliveries = self._session.take_to_write(max_items=MAX_FRAME_ASSIGNMENTS, max_bytes=FILL_MESSAGE_BYTES)
        if not deliveries:
            return None
        assignments = [render.assignment(delivery) for delivery in deliveries]
        return pb.WorkResponse(assignments=pb.Assignments(assignments=assignments))

    def _cut_goodbye(self) -> pb.WorkResponse | None:
        if self._server_drain is not None:
            server_drain, self._server_drain = self._server_drain, None
            return pb.WorkResponse(server_drain=server_drain)
        if self._is_drained:
            self._is_drained = False
            return pb.WorkResponse(drained=pb.Drained())
        return None


def _cut(items: list[Item]) -> Sequence[Item]:
    """Take the first items, as many as a frame holds."""
    taken = items[:MAX_BATCH_ITEMS]
    del items[:MAX_BATCH_ITEMS]
    return taken
