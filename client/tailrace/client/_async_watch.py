"""The Watch stream of the asyncio client: a task that opens and reads streams, and one that writes to each."""

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import grpc
import grpc.aio

from tailrace.client._errors import WaitTimeoutError
from tailrace.client._fork import process
from tailrace.client._outgoing import Answer, Submit, unreached
from tailrace.client._status import CallStatus, status_of
from tailrace.client._targets import Interest, Listener
from tailrace.client._waiting import timeout_error
from tailrace.client._watch import STREAM_S, Watch, closed
from tailrace.v1.task_pb2 import TaskResult
from tailrace.v1.task_service_pb2 import SubmitRequest, WatchResponse

logger = logging.getLogger("tailrace.client")


class OpenStream(Protocol):
    """Opens a Watch call."""

    def __call__(self, timeout_s: float, *, waits_for_ready: bool) -> AbstractContextManager[Any]:
        """Lend the call."""
        ...


class AsyncWatch:
    """Carries submits and waits from any task of one event loop."""

    def __init__(self, open_stream: OpenStream, silence_limit_s: float, watch: Watch | None = None) -> None:
        self._open_stream = open_stream
        self._silence_limit_s = silence_limit_s
        self._watch = watch or Watch()
        self._has_work = asyncio.Event()
        """There may be something to say, or a reason to open a stream."""
        self._in_line = 0
        """Callers who wait for room."""
        self._first_in_line = asyncio.Lock()
        self._has_room = asyncio.Event()
        """There may be room for the first in line."""
        self._runner: asyncio.Task[None] | None = None
        self._is_closed = False

    @property
    def is_off(self) -> bool:
        """Whether calls of their own have to do for now."""
        return self._watch.is_off

    def interest_in(self, task_id: str) -> Interest:
        """Return what keeps a submitted task followed."""
        return self._watch.targets.interest_in(task_id)

    def claim(self, task_id: str) -> TaskResult | None:
        """Take what is kept of a task that is done."""
        return self._watch.targets.claim(task_id)

    async def submit(self, request: SubmitRequest, *, end_s: float, last_start_s: float) -> Answer:
        """Have a task accepted; returns once the server has answered.

        What is submitted first is accepted first. A caller waits while 4000 submits, or 14 MB of them, are without an
        answer.

        Args:
            request: Has its task_id.
            end_s: When the time is up, by time.monotonic().
            last_start_s: When what was sent may be repeated for the last time.
        """
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        submit = Submit(request, last_start_s=last_start_s, tell=lambda answer: _set(answered, answer))
        if submit.is_too_large:
            return None
        if not await self.put(submit, end_s):
            return self.why_not()
        try:
            async with asyncio.timeout(max(0.0, end_s - time.monotonic())):
                return await answered
        except TimeoutError:
            return self.why_not()
        finally:
            self.withdraw([submit])

    async def put(self, submit: Submit, end_s: float) -> bool:
        """Add a submit, once there is room; False when there was none in time."""
        if not self._in_line and not self._watch.outgoing.is_full:
            self._put_now(submit)
            return True
        self._in_line += 1
        try:
            async with asyncio.timeout(max(0.0, end_s - time.monotonic())):
                await self._put_in_turn(submit)
        except TimeoutError:
            return False
        finally:
            self._in_line -= 1
        return True

    def withdraw(self, submits: Sequence[Submit]) -> None:
        """Tell nobody what becomes of these."""
        self._watch.outgoing.withdraw(submits)
        self._has_room.set()

    def follow(self, task_ids: Sequence[str], listener: Listener) -> bool:
        """Have a listener told of tasks; False where there are too many for one stream."""
        self._refuse_if_unusable()
        is_followed = self._watch.follow(task_ids, listener)
        self._wake()
        return is_followed

    def leave(self, listener: Listener) -> None:
        """Tell a listener nothing any more."""
        self._watch.targets.leave(listener)
        self._has_work.set()

    def timeout_error(self, listener: Listener, timeout_s: float) -> WaitTimeoutError:
        """Return the exception for a listener whose time is up."""
        return timeout_error(list(listener.open), timeout_s, self._watch.trouble)

    async def close(self) -> None:
        """End the streams. Whoever waits is told ClientClosedError; a second call does nothing."""
        self.end()
        if self._runner is not None:
            await asyncio.gather(self._runner, return_exceptions=True)

    def end(self) -> None:
        """Begin to close."""
        self._is_closed = True
        self._watch.close()
        self._has_room.set()
        if self._runner is not None:
            self._runner.cancel()

    def why_not(self) -> CallStatus:
        """Say why a submit has no answer after all its time."""
        return unreached(self._watch.last_status)

    async def _put_in_turn(self, submit: Submit) -> None:
        # Only the first in line looks for room: what is submitted first is to be accepted first.
        async with self._first_in_line:
            while self._watch.outgoing.is_full and not self._is_closed:
                self._has_room.clear()
                await self._has_room.wait()
            self._put_now(submit)

    def _put_now(self, submit: Submit) -> None:
        self._refuse_if_unusable()
        self._watch.submit(submit)
        self._wake()

    def _refuse_if_unusable(self) -> None:
        if self._is_closed:
            raise closed()
        process.refuse_if_unusable()

    def _wake(self) -> None:
        if self._runner is None or self._runner.done():
            self._runner = asyncio.get_running_loop().create_task(self._run(), name="tailrace-watch")
        self._has_work.set()

    async def _run(self) -> None:
        while True:
            while not self._watch.is_needed:
                self._has_work.clear()
                await self._has_work.wait()
            try:
                pause_s = await self._carry()
            except Exception:
                # Whoever waits must not wait for ever.
                logger.exception("watch_broke_down")
                pause_s = 0.0
                self._watch.break_down()
                self._has_room.set()
            await asyncio.sleep(pause_s)

    async def _carry(self) -> float:
        """Open a stream and read it to its end; return how long to pause before the next one."""
        self._watch.begin()
        with self._open_stream(STREAM_S, waits_for_ready=self._watch.waits_for_ready) as call:
            writer = asyncio.create_task(self._write(call))
            try:
                status = await self._read(call)
            finally:
                # An abandoned call is not collected, and would stay open on the server.
                call.cancel()
                writer.cancel()
                await asyncio.wait([writer])
                # Whatever it came to grief over ended the call too, which tells of it.
                is_mute = not writer.cancelled() and writer.exception() is None and writer.result()
        pause_s = self._watch.end_mute() if is_mute else self._watch.end(status)
        self._has_room.set()
        return pause_s

    async def _read(self, call: Any) -> CallStatus | None:
        """Read to the end, and tell how it ended."""
        loop = asyncio.get_running_loop()
        while True:
            too_silent = loop.call_later(self._silence_limit_s, call.cancel)
            try:
                response = await call.read()
            except grpc.aio.AioRpcError as error:
                return status_of(error)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                return CallStatus(code=grpc.StatusCode.CANCELLED, message="the call was cancelled on this side")
            finally:
                too_silent.cancel()
            if not isinstance(response, WatchResponse):
                return None
            self._watch.take(response)
            if response.submitted:
                self._has_room.set()
            if self._watch.has_something_to_say:
                self._has_work.set()

    async def _write(self, call: Any) -> bool:
        """Write what there is to say, message by message; True once answers have been missing for too long."""
        while True:
            message = self._watch.next_message()
            if message is not None:
                await call.write(message)
                continue
            self._has_work.clear()
            overdue_at_s = self._watch.outgoing.overdue_at_s
            if overdue_at_s is None:
                await self._has_work.wait()
            elif overdue_at_s <= time.monotonic():
                call.cancel()
                return True
            else:
                await self._wait_for_work(overdue_at_s - time.monotonic())

    async def _wait_for_work(self, timeout_s: float) -> None:
        handle = asyncio.get_running_loop().call_later(timeout_s, self._has_work.set)
        try:
            await self._has_work.wait()
        finally:
            handle.cancel()


def _set(future: "asyncio.Future[Any]", value: Any) -> None:
    if not future.done():
        future.set_result(value)
