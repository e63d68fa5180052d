"""The calls of the synchronous client: its channels, and the loops that repeat calls and resume streams."""

import threading
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any, TypeVar

import grpc

from tailrace.client._batches import Chunk, chunks
from tailrace.client._errors import TailraceError, error_from
from tailrace.client._fan_in import Stop, fan_in
from tailrace.client._following import Following
from tailrace.client._fork import process
from tailrace.client._inbox import Inbox
from tailrace.client._outcome import Outcome
from tailrace.client._retry import Tries, is_retryable
from tailrace.client._settings import ClientSettings
from tailrace.client._silence_watch import SilenceWatch
from tailrace.client._status import CallStatus, status_of
from tailrace.client._sync_connections import SyncConnections
from tailrace.client._sync_watch import SyncWatch
from tailrace.client._targets import Interest, are_followable
from tailrace.client._ticket import Ticket
from tailrace.client._tracing import call_metadata
from tailrace.client._waiting import News, Wait, is_short, split_targets
from tailrace.client._watched_batch import WatchedBatch
from tailrace.v1.task_service_pb2 import SubmitRequest, SubmitResponse, WaitForResponse
from tailrace.v1.task_service_pb2_grpc import TaskServiceStub

ResultT = TypeVar("ResultT")
Method = Callable[..., ResultT]


class SyncCalls:
    """The calls of one client, over the connections that it has in this process. Safe from any thread."""

    def __init__(self, settings: ClientSettings, *, silence_watch: SilenceWatch | None = None) -> None:
        self._settings = settings
        self._connections = SyncConnections(settings, silence_watch or SilenceWatch())
        self._closer = _close_with(self, self._connections)

    @property
    def stub(self) -> TaskServiceStub:
        """The stub for unary calls; see ``SyncConnections.stub``."""
        return self._mine.stub

    def close(self) -> None:
        """Close every channel. Calls under way in other threads raise ClientClosedError."""
        self._mine.close()

    def interest_in(self, task_id: str) -> Interest:
        """Return what a handle of a submitted task holds, for as long as somebody may ask what became of it."""
        return self._mine.watch.interest_in(task_id)

    def claim(self, task_id: str) -> Outcome | None:
        """Return the end of a task that came by itself, if it is there; it is kept by whoever claims it."""
        task = self._mine.watch.claim(task_id)
        return None if task is None else Outcome(task)

    @property
    def _mine(self) -> SyncConnections:
        """The connections of this process."""
        connections = self._connections
        return connections if connections.generation == process.generation else self._begin_anew()

    def _begin_anew(self) -> SyncConnections:
        with process.lock:
            if self._connections.generation != process.generation:
                self._closer.detach()
                process.leave_alone(self._connections)
                self._connections = SyncConnections(self._settings, SilenceWatch())
                self._closer = _close_with(self, self._connections)
            return self._connections

    def call(
        self,
        method: Method[ResultT],
        request: Any,
        *,
        repeat_for_s: float | None = None,
        task_id: str | None = None,
        status_in: Callable[[ResultT], CallStatus | None] = lambda _: None,
    ) -> ResultT:
        """Make one call, as often as it takes.

        Args:
            method: A unary method of ``stub``.
            request: Sent unchanged each time.
            repeat_for_s: How long from now on it may be repeated; None: as long as the settings allow.
            task_id: The task concerned, for the error.
            status_in: Finds what counts as the call's failure in an answer that is OK.

        Raises:
            TailraceError: The answer was an error, or none came in time.
        """
        tries = self._tries(repeat_for_s)
        while True:
            answer = self._try(method, request, tries)
            status = answer if isinstance(answer, CallStatus) else status_in(answer)
            if status is None:
                assert not isinstance(answer, CallStatus)
                return answer
            pause_s = tries.pause_after(status)
            if pause_s is None:
                raise error_from(tries.verdict(status), task_id=task_id)
            self._mine.closing.wait(pause_s)

    def submit(self, request: SubmitRequest, repeat_for_s: float) -> SubmitResponse:
        """Submit one task, on the Watch stream if there is one, as often as it takes.

        Raises:
            TailraceError: It was not accepted, or perhaps not.
        """
        tries = self._tries(repeat_for_s)
        while True:
            answer = self._submit_once(request, tries)
            if isinstance(answer, SubmitResponse):
                return answer
            pause_s = tries.pause_after(answer)
            if pause_s is None:
                raise error_from(tries.verdict(answer), task_id=request.task_id)
            self._mine.closing.wait(pause_s)

    def submit_ahead(
        self, requests: Iterable[SubmitRequest], repeat_for_s: float, look_ahead: int
    ) -> Generator[str, None, None]:
        """Submit as requests are drawn, at most so many ahead of what was yielded: the ids, in order, once accepted.

        Raises:
            TailraceError: A task was not accepted, or perhaps not.
        """
        under_way: deque[Ticket] = deque()
        for request in requests:
            under_way.append(self._begin_submit(request, repeat_for_s))
            while under_way and (under_way[0].is_answered or len(under_way) >= look_ahead):
                yield self._finish_submit(under_way.popleft(), repeat_for_s)
        while under_way:
            yield self._finish_submit(under_way.popleft(), repeat_for_s)

    def submit_many(self, requests: Sequence[SubmitRequest], repeat_for_s: float) -> dict[str, TailraceError]:
        """Submit many on the Watch stream; return why some were not accepted, by task_id.

        What the stream does not take, or what a store that is away did not, goes by calls of its own, as often as it
        takes.
        """
        watch = self._mine.watch
        if watch.is_off or not requests:
            return self.submit_batch(requests, repeat_for_s)
        done = threading.Event()
        batch = WatchedBatch(requests, done.set)
        is_moving = all(self._put(batch, request, watch, repeat_for_s) for request in requests)
        while is_moving and not done.is_set():
            open_count = batch.open_count
            is_moving = done.wait(self._settings.call_timeout_s) or batch.open_count < open_count
        watch.withdraw(batch.submits)
        batch.raise_failure()
        batch.give_up(watch.why_not())
        if batch.left:
            batch.errors |= self.submit_batch(batch.left, repeat_for_s)
        return batch.errors

    def _put(self, batch: WatchedBatch, request: SubmitRequest, watch: SyncWatch, repeat_for_s: float) -> bool:
        tries = self._tries(repeat_for_s)
        submit = batch.submit(request, last_start_s=tries.last_start_s)
        return submit is None or watch.put(submit, tries.end_s)

    def submit_batch(self, requests: Sequence[SubmitRequest], repeat_for_s: float) -> dict[str, TailraceError]:
        """Submit many, each call as often as it takes; return why some were not accepted, by task_id."""
        errors: dict[str, TailraceError] = {}
        for part in chunks(requests):
            chunk = Chunk(part)
            if not self._submit_chunk(chunk, self._tries(repeat_for_s)):
                # One patience for the whole batch: what is left is tried once.
                repeat_for_s = 0
            errors |= chunk.errors
        return errors

    def follow(
        self, task_ids: Sequence[str], timeout_s: float | None, *, with_progress: bool = False
    ) -> Generator[News, None, None]:
        """Yield each task as it is done or found unknown, for as long as it takes or the time allows.

        With progress, also each that said how far it has come, as often as it did, but for what came too fast.

        Raises:
            WaitTimeoutError: The time is up.
            TailraceError: The server refused to be waited on.
        """
        if with_progress or is_short(timeout_s) or self._mine.watch.is_off or not are_followable(task_ids):
            return self._follow_alone(task_ids, timeout_s, with_progress=with_progress)
        return self._follow_watched(task_ids, timeout_s)

    @contextmanager
    def following(self, timeout_s: float | None) -> Generator[Following, None, None]:
        """Follow tasks that are not all known yet, until the block ends; see ``follow``."""
        inbox = Inbox(self._mine.watch, timeout_s)
        following = Following(inbox, self._follow_alone, is_off=self._mine.watch.is_off)
        with inbox.following(()), closing(following):
            yield following

    def _follow_watched(self, task_ids: Sequence[str], timeout_s: float | None) -> Generator[News, None, None]:
        inbox = Inbox(self._mine.watch, timeout_s)
        with inbox.following(task_ids) as is_followed:
            while is_followed and inbox.is_open and (ends := inbox.take()) is not None:
                yield from ends
        if open_ids := list(inbox.listener.open) if is_followed else task_ids:
            yield from self._follow_alone(open_ids, inbox.left_s)

    def _follow_alone(
        self, task_ids: Sequence[str], timeout_s: float | None, *, with_progress: bool = False
    ) -> Generator[News, None, None]:
        """Follow tasks on streams that carry nothing else."""
        waits = [Wait(part, timeout_s=timeout_s, with_progress=with_progress) for part in split_targets(task_ids)]
        stop = Stop()
        if len(waits) == 1:
            return self._follow(waits[0], stop)
        return fan_in([self._follow(wait, stop) for wait in waits], stop)

    def _submit_once(self, request: SubmitRequest, tries: Tries) -> SubmitResponse | CallStatus:
        watch = self._mine.watch
        if not watch.is_off:
            ticket = watch.begin(request, end_s=tries.end_s, last_start_s=tries.last_start_s)
            answer = watch.answer_to(ticket)
            if callable(answer):
                raise answer()
            if answer is not None:
                return answer
        return self._try(self.stub.Submit, request, tries)

    def _begin_submit(self, request: SubmitRequest, repeat_for_s: float) -> Ticket:
        tries, watch = self._tries(repeat_for_s), self._mine.watch
        if not watch.is_off:
            return watch.begin(request, end_s=tries.end_s, last_start_s=tries.last_start_s)
        ticket = Ticket(request, end_s=tries.end_s, last_start_s=tries.last_start_s)
        ticket.settle(None)
        return ticket

    def _finish_submit(self, ticket: Ticket, repeat_for_s: float) -> str:
        """Return the id of the task once it is accepted."""
        request = ticket.submit.request
        answer = self._mine.watch.answer_to(ticket)
        if callable(answer):
            raise answer()
        if answer is None or (isinstance(answer, CallStatus) and is_retryable(answer)):
            self.submit(request, repeat_for_s)
        elif isinstance(answer, CallStatus):
            raise error_from(answer, task_id=request.task_id)
        return request.task_id

    def _tries(self, repeat_for_s: float | None) -> Tries:
        return Tries(timeout_s=self._settings.call_timeout_s, repeat_for_s=repeat_for_s)

    def _submit_chunk(self, chunk: Chunk, tries: Tries) -> bool:
        """Submit one call's worth; return False once there was no time left to repeat it."""
        while True:
            answer = self._try(self.stub.BatchSubmit, chunk.call(), tries)
            status = answer if isinstance(answer, CallStatus) else chunk.settle(answer.items)
            if status is None:
                return True
            pause_s = tries.pause_after(status)
            if pause_s is None:
                chunk.give_up(tries.verdict(status))
                return not tries.is_exhausted
            self._mine.closing.wait(pause_s)

    def _try(self, method: Method[ResultT], request: Any, tries: Tries) -> ResultT | CallStatus:
        try:
            return self._open(method, request, tries.timeout_s(), waits_for_ready=tries.waits_for_ready)
        except grpc.RpcError as error:
            return self._status_of(error)

    def _follow(self, wait: Wait, stop: Stop) -> Generator[News, None, None]:
        while not wait.is_over() and not stop.is_set():
            status = yield from self._follow_stream(wait, stop)
            if not wait.is_over() and not stop.is_set():
                stop.pause(wait.pause_after(status))

    def _follow_stream(self, wait: Wait, stop: Stop) -> Generator[News, None, CallStatus | None]:
        """Follow one stream until it, or the wait, is over; return why, None standing for OK."""
        plan = wait.next_stream()
        with self._mine.streams.lend() as stub:
            call = self._open(stub.WaitFor, plan.request, plan.timeout_s, waits_for_ready=plan.waits_for_ready)
            stop.attach(call)
            try:
                while not wait.is_over():
                    answer = self._read(call)
                    if not isinstance(answer, WaitForResponse):
                        return answer
                    yield from wait.take(answer)
            finally:
                stop.detach(call)
                call.cancel()
        return None

    def _read(self, call: Any) -> WaitForResponse | CallStatus | None:
        """Return the next message, or how the stream ended, None standing for OK."""
        try:
            with self._mine.silence_watch.reading(call):
                response: WaitForResponse | None = next(call, None)
                return response
        except grpc.RpcError as error:
            return self._status_of(error)

    def _open(self, method: Method[ResultT], request: Any, timeout_s: float, *, waits_for_ready: bool) -> ResultT:
        self._refuse_if_closed()
        try:
            metadata = call_metadata()
            return method(request, timeout=timeout_s, wait_for_ready=waits_for_ready, metadata=metadata)
        except ValueError:
            # What grpc says of a channel that another thread has just closed.
            self._refuse_if_closed()
            raise

    def _status_of(self, error: grpc.RpcError) -> CallStatus:
        # Closing the channel cancels what runs on it.
        self._refuse_if_closed()
        return status_of(error)

    def _refuse_if_closed(self) -> None:
        self._mine.refuse_if_closed()


def _close_with(calls: SyncCalls, connections: SyncConnections) -> "weakref.finalize[[SyncConnections], SyncCalls]":
    """Have the connections closed when the client is collected; at the end of the program they see to it themselves."""
    closer = weakref.finalize(calls, _close_soon, connections)
    closer.atexit = False
    return closer


def _close_soon(connections: SyncConnections) -> None:
    # Whoever collects a client may be anybody, in the middle of anything, with any lock.
    with suppress(RuntimeError):  # no threads are begun any more when the interpreter exits
        threading.Thread(target=connections.close, name="tailrace-close", daemon=True).start()
