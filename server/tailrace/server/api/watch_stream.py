"""One Watch stream: targets that come and go, submits, and news of all of them.

Three tasks share it. One reads requests into a bounded line; one carries out whatever has gathered there; one writes:
answers to submits first, then news. So a burst of submits becomes few store calls, nobody reads while waiting for a
write, and there is never more than one write under way.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice

import structlog

from tailrace.server.api import render
from tailrace.server.api.inbox import Inbox
from tailrace.server.api.parse_watch import WatchOrder, parse_watch
from tailrace.server.api.submit_items import ParsedItem, submissions_of, submit_item
from tailrace.server.api.turns import Turns
from tailrace.server.api.watch_answers import WatchAnswer, WatchAnswers
from tailrace.server.coordinator.coordinator import Coordinator
from tailrace.server.domain import limits
from tailrace.server.domain.errors import LimitExceededError, StoreUnavailableError, TailraceError
from tailrace.server.domain.task import Submission
from tailrace.server.store.values import Submitted
from tailrace.server.waiting.waiting import Waiting
from tailrace.v1 import task_service_pb2 as pb

Write = Callable[[bytes], Awaitable[None]]

ADD_STEP = 1_000
"""Targets added before others get a turn."""
FLUSH_S = 5.0
STORE_BACKOFF_S = 0.5

logger = structlog.get_logger(__name__)


class _CallerGoneError(Exception):
    """What was to be said was not taken."""


class WatchStream:
    """Serves one client for as long as its stream lives."""

    def __init__(
        self,
        *,
        coordinator: Coordinator,
        waiting: Waiting,
        draining: asyncio.Event,
        write: Write,
        max_payload_bytes: int,
    ) -> None:
        self._coordinator = coordinator
        self._draining = draining
        self._write = write
        self._max_payload_bytes = max_payload_bytes
        self._subscription = waiting.subscribe({})
        self._inbox: Inbox[pb.WatchRequest] = Inbox()
        self._answers = WatchAnswers()
        self._turns = Turns(self._subscription.wake)
        self._is_first = True
        self._omit_results = False
        self._is_over = False
        """Nothing more is carried out: the stream is to end, or nobody is there to read."""
        self._is_reconnect_due = False
        self._is_heard_out = False
        """Everything that will ever be carried out has been."""
        self._is_cut_short = False
        """Only answers are still written."""
        self._broken_by: BaseException | None = None

    async def run(self, requests: AsyncIterator[tuple[pb.WatchRequest, int]]) -> None:
        """Serve the stream until the server wants it elsewhere.

        A client that closes its side is served until all that it follows is done. One that reads nothing for too long,
        or is not there any more, is left without an end reason. Each request comes with its size in bytes.

        Raises:
            InvalidRequestError: A request is malformed.
            LimitExceededError: There is more of something than the stream may carry.
            StoreEmptiedError: The store lost its data, and with it what is followed.
        """
        reader = asyncio.create_task(self._inbox.fill(requests))
        goodbye = asyncio.create_task(self._say_goodbye())
        writer = asyncio.create_task(self._write_messages())
        writer.add_done_callback(self._end_after_writing)
        try:
            await self._act_until_end()
            self._is_heard_out = True
            self._subscription.wake()
            await asyncio.wait([writer])
        except asyncio.CancelledError:
            # Nobody is there to read any more.
            writer.cancel()
            raise
        finally:
            self._turns.cancel()
            reader.cancel()
            goodbye.cancel()
            self._is_heard_out = self._is_cut_short = True
            self._subscription.wake()
            try:
                # After an error too: gRPC cannot send a status while a write is under way.
                await asyncio.wait([writer], timeout=FLUSH_S)
            finally:
                # The client may go just now.
                writer.cancel()
                self._subscription.close()
        if self._broken_by is not None:
            raise self._broken_by

    def _end(self) -> None:
        self._is_over = True
        self._inbox.close()
        self._answers.close()
        self._subscription.wake()

    async def _say_goodbye(self) -> None:
        """Ask the client to go elsewhere when the server stops or the stream has lived long enough."""
        spread = random.uniform(1 - limits.STREAM_LIFE_SPREAD, 1 + limits.STREAM_LIFE_SPREAD)
        try:
            async with asyncio.timeout(limits.WAIT_STREAM_LIFE_S * spread):
                await self._draining.wait()
        except TimeoutError:
            pass
        self._is_reconnect_due = True
        self._end()

    def _end_after_writing(self, writer: "asyncio.Task[None]") -> None:
        if not writer.cancelled() and (error := writer.exception()) is not None:
            if isinstance(error, _CallerGoneError):
                logger.info("watching_caller_gone", error=repr(error.__cause__))
            else:
                self._broken_by = error
        self._end()

    async def _act_until_end(self) -> None:
        try:
            while not self._is_over and (requests := await self._inbox.take(None)):
                await self._act(requests)
        except TailraceError:
            await self._turns.all_answered()
            raise
        await self._turns.all_answered()

    async def _act(self, requests: Sequence[pb.WatchRequest]) -> None:
        """Carry out requests that came in a burst; what comes before a malformed one counts."""
        items: list[ParsedItem] = []
        for request in requests:
            if self._is_over:
                # What has no answer by the end is sent again, elsewhere.
                break
            try:
                items += await self._follow(self._read(request))
            except TailraceError:
                await self._submit(items)
                raise
            if len(items) >= limits.MAX_BATCH_ITEMS:
                await self._submit(items)
                items = []
        await self._submit(items)

    def _read(self, request: pb.WatchRequest) -> WatchOrder:
        order = parse_watch(request, is_first=self._is_first, max_payload_bytes=self._max_payload_bytes)
        if self._is_first:
            self._is_first = False
            self._omit_results = request.omit_results
            self._subscription.done_only = request.done_only
            self._subscription.include_progress = request.include_progress
        return order

    async def _follow(self, order: WatchOrder) -> Sequence[ParsedItem]:
        """Add and drop targets; what is to be submitted is followed from before the store is asked."""
        self._check_room("add", order.add)
        for step in _steps(order.add):
            self._subscription.add(step)
            await asyncio.sleep(0)
        self._subscription.drop(order.drop)
        submissions = submissions_of(order.submit)
        self._check_room("submit", [submission.task_id for submission in submissions])
        for submission in submissions:
            self._subscription.expect(submission.task_id)
        return order.submit

    def _check_room(self, field: str, task_ids: Sequence[str] | Mapping[str, int | None]) -> None:
        actual = self._subscription.target_count + self._subscription.count_new(task_ids)
        if task_ids and actual > limits.MAX_WATCH_TARGETS:
            raise LimitExceededError(field, limit=limits.MAX_WATCH_TARGETS, actual=actual)

    async def _submit(self, items: Sequence[ParsedItem]) -> None:
        if not items:
            return
        submit = partial(self._coordinator.submit, submissions_of(items))
        await self._turns.ask(submit, partial(self._submitted, items))
        await self._answers.wait_for_room()

    def _submitted(self, items: Sequence[ParsedItem], outcomes: Sequence[Submitted | TailraceError]) -> None:
        remaining = iter(outcomes)
        answers: list[WatchAnswer] = []
        for task_id, parsed in items:
            outcome = next(remaining) if isinstance(parsed, Submission) else parsed
            if isinstance(outcome, Submitted):
                self._subscription.accepted(task_id, outcome.snapshot.revision if outcome.is_created else None)
            expected_id = task_id if isinstance(parsed, Submission) else None
            answers.append(WatchAnswer(submit_item(task_id, outcome), expected_id))
        self._answers.put(answers)
        self._subscription.wake()

    async def _write_messages(self) -> None:
        keepalive_at = time.monotonic() + limits.KEEPALIVE_S
        while True:
            has_written = await self._write_answers()
            if not has_written and self._is_heard_out and (self._is_reconnect_due or self._is_cut_short):
                break
            if has_written or await self._write_news():
                keepalive_at = time.monotonic() + limits.KEEPALIVE_S
            elif self._is_heard_out and self._subscription.is_all_done:
                break
            elif (left_s := keepalive_at - time.monotonic()) > 0:
                await self._subscription.wait(left_s)
            else:
                await self._send(pb.WatchResponse())
                keepalive_at = time.monotonic() + limits.KEEPALIVE_S
        if self._is_reconnect_due and not self._is_cut_short:
            await self._send(pb.WatchResponse(end_reason=pb.WAIT_END_REASON_RECONNECT))

    async def _write_answers(self) -> bool:
        """Write what became of submits; only then may the outcomes of these tasks be told."""
        answers = self._answers.cut()
        if answers:
            await self._send(pb.WatchResponse(submitted=[answer.item for answer in answers]))
        for answer in answers:
            if answer.expected_id is not None:
                self._subscription.release(answer.expected_id)
        return bool(answers)

    async def _write_news(self) -> bool:
        try:
            news = await self._subscription.take()
        except StoreUnavailableError:
            await asyncio.sleep(STORE_BACKOFF_S)
            return False
        if not news.snapshots and not news.not_found:
            return False
        tasks = [render.task_result(snapshot, omit_results=self._omit_results) for snapshot in news.snapshots]
        await self._send(pb.WatchResponse(tasks=tasks, not_found_task_ids=news.not_found))
        return True

    async def _send(self, message: pb.WatchResponse) -> None:
        """Write a message; gRPC lets a write last for as long as its reader likes.

        Raises:
            _CallerGoneError: It was not taken in time, or gRPC says in words of its own that nobody is there.
        """
        try:
            async with asyncio.timeout(limits.SILENCE_S):
                await self._write(message.SerializeToString())
        except Exception as error:
            raise _CallerGoneError from error


def _steps(targets: Mapping[str, int | None]) -> Iterator[dict[str, int | None]]:
    pairs = iter(targets.items())
    while step := dict(islice(pairs, ADD_STEP)):
        yield step
