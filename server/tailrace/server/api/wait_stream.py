"""One WaitFor call: what is waited for, and when it is over."""

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import structlog

from tailrace.server.api import render
from tailrace.server.api.parse_fields import check_count, span_ms
from tailrace.server.api.parse_targets import parse_targets
from tailrace.server.api.violations import Violations
from tailrace.server.domain import limits
from tailrace.server.domain.errors import StoreUnavailableError
from tailrace.server.waiting.news import News
from tailrace.server.waiting.subscription import Subscription
from tailrace.server.waiting.waiting import Waiting
from tailrace.v1 import task_service_pb2 as pb

Write = Callable[[bytes], Awaitable[None]]

STORE_BACKOFF_S = 0.5
SNAPSHOT_S = 5.0
"""How long past its timeout a call is held for the sake of its snapshot: one that times out knows what is."""

logger = structlog.get_logger(__name__)


class _CallerGoneError(Exception):
    """What was to be said was not taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """A WaitFor request."""

    targets: Mapping[str, int | None]
    """Task ids with the revision seen last, None where none was."""
    condition: "pb.WaitCondition.ValueType"
    timeout_s: float | None
    done_only: bool
    include_progress: bool
    omit_results: bool

    def holds(self, subscription: Subscription) -> bool:
        """Tell whether the condition holds of what was told."""
        if self.condition == pb.WAIT_CONDITION_ANY_DONE and subscription.done_count > 0:
            return True
        if self.condition == pb.WAIT_CONDITION_FIRST_FAILURE and subscription.has_failed:
            return True
        return subscription.is_all_done


def parse_wait(request: pb.WaitForRequest) -> Wait:
    """Read a WaitFor request.

    Raises:
        InvalidRequestError: Fields are missing or malformed.
        LimitExceededError: There are too many targets.
    """
    check_count("targets", request.targets, limit=limits.MAX_WAIT_TARGETS, minimum=1)
    violations = Violations()
    targets = parse_targets(violations, "targets", request.targets)
    if request.condition not in pb.WaitCondition.values():
        violations.add("condition", "is unknown to this server")
    timeout_s = None
    if request.HasField("wait_timeout"):
        timeout_s = span_ms(violations, "wait_timeout", request.wait_timeout) / 1_000
    violations.raise_if_any()
    return Wait(
        targets=targets,
        condition=request.condition,
        timeout_s=timeout_s,
        done_only=request.done_only,
        include_progress=request.include_progress,
        omit_results=request.omit_results,
    )


class WaitStream:
    """Writes what is new, a keepalive when there is nothing for a while, and why it ends."""

    def __init__(self, wait: Wait, waiting: Waiting, draining: asyncio.Event, write: Write) -> None:
        self._wait = wait
        self._waiting = waiting
        self._draining = draining
        self._write = write
        self._is_snapshot_told = False
        self._is_end_told = False

    async def run(self) -> None:
        """Serve the call until its condition holds, its time is over, or the server wants it elsewhere.

        A caller that reads nothing for too long, or is not there any more, is left without an end reason.
        """
        subscription = self._waiting.subscribe(
            self._wait.targets, done_only=self._wait.done_only, include_progress=self._wait.include_progress
        )
        drained = asyncio.create_task(self._draining.wait())
        drained.add_done_callback(lambda _: subscription.wake())
        try:
            reason = await self._tell(subscription)
            if not self._is_end_told:
                await self._send(pb.WaitForResponse(end_reason=reason))
        except _CallerGoneError as error:
            logger.info("waiting_caller_gone", error=repr(error.__cause__))
        finally:
            drained.cancel()
            subscription.close()

    async def _tell(self, subscription: Subscription) -> "pb.WaitEndReason.ValueType":
        now = time.monotonic()
        spread = random.uniform(1 - limits.STREAM_LIFE_SPREAD, 1 + limits.STREAM_LIFE_SPREAD)
        life_ends_at = now + limits.WAIT_STREAM_LIFE_S * spread
        times_out_at = math.inf if self._wait.timeout_s is None else now + self._wait.timeout_s
        keepalive_at = now + limits.KEEPALIVE_S
        while True:
            if await self._tell_news(subscription, lambda: min(self._gives_up_at(times_out_at), life_ends_at)):
                keepalive_at = time.monotonic() + limits.KEEPALIVE_S
            if self._is_snapshot_told and self._wait.holds(subscription):
                return pb.WAIT_END_REASON_SATISFIED
            now = time.monotonic()
            gives_up_at = self._gives_up_at(times_out_at)
            if now >= gives_up_at:
                return pb.WAIT_END_REASON_TIMEOUT
            if self._draining.is_set() or now >= life_ends_at:
                return pb.WAIT_END_REASON_RECONNECT
            if now >= keepalive_at:
                await self._send(pb.WaitForResponse())
                keepalive_at = now + limits.KEEPALIVE_S
                # Whatever came during the write has woken nobody.
                continue
            await subscription.wait(min(keepalive_at, gives_up_at, life_ends_at) - now)

    def _gives_up_at(self, times_out_at: float) -> float:
        return times_out_at if self._is_snapshot_told else times_out_at + SNAPSHOT_S

    async def _tell_news(self, subscription: Subscription, ends_at: Callable[[], float]) -> bool:
        """Write what has gathered, message by message; False when there was nothing.

        Of progress there may always be more, so nothing is begun once the call's time is over.
        """
        has_written = False
        while True:
            try:
                news = await subscription.take()
            except StoreUnavailableError:
                await asyncio.sleep(STORE_BACKOFF_S)
                return has_written
            message = self._message(news, completes=subscription.is_answered and not self._is_snapshot_told)
            if not message.ByteSize():
                return has_written
            self._is_snapshot_told = self._is_snapshot_told or message.snapshot_complete
            if self._is_snapshot_told and subscription.is_answered and self._wait.holds(subscription):
                # In the same message: most callers hang up once they have heard what they waited for.
                message.end_reason = pb.WAIT_END_REASON_SATISFIED
                self._is_end_told = True
            await self._send(message)
            has_written = True
            if self._is_end_told or self._draining.is_set() or time.monotonic() >= ends_at():
                return has_written

    async def _send(self, message: pb.WaitForResponse) -> None:
        """Write a message; gRPC lets a write last for as long as its reader likes.

        Raises:
            _CallerGoneError: It was not taken in time, or gRPC says in words of its own that nobody is there.
        """
        try:
            async with asyncio.timeout(limits.SILENCE_S):
                await self._write(message.SerializeToString())
        except Exception as error:
            raise _CallerGoneError from error

    def _message(self, news: News, *, completes: bool) -> pb.WaitForResponse:
        return pb.WaitForResponse(
            tasks=[render.task_result(snapshot, omit_results=self._wait.omit_results) for snapshot in news.snapshots],
            not_found_task_ids=news.not_found,
            snapshot_complete=completes,
        )
