"""One worker's Work stream: frames in, frames out, from hello to goodbye.

Three tasks share it. One reads frames into a bounded line; one takes whatever has gathered there and acts on it; one
writes whatever has gathered to be said. So a burst becomes few store calls and few frames, nobody reads while waiting
for a write, and there is never more than one write under way.
"""

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from functools import partial

import structlog

from tailrace.server.api import render
from tailrace.server.api.attempts import Attempts, is_final, is_lost
from tailrace.server.api.inbox import Inbox
from tailrace.server.api.parse_fields import check_count
from tailrace.server.api.parse_work import check_worker, parse_release_delay
from tailrace.server.api.turns import Turns
from tailrace.server.api.violations import invalid
from tailrace.server.api.work_outbox import WorkOutbox
from tailrace.server.coordinator.coordinator import Coordinator
from tailrace.server.dispatch.dispatcher import Dispatcher
from tailrace.server.dispatch.presence import Presence
from tailrace.server.dispatch.session import WorkerSession
from tailrace.server.dispatch.take import give_back
from tailrace.server.domain import limits
from tailrace.server.domain.errors import ProtocolUnsupportedError, TailraceError
from tailrace.server.store.changes import LeaseNews
from tailrace.server.store.values import Delivery
from tailrace.v1 import worker_service_pb2 as pb

Write = Callable[[bytes], Awaitable[None]]

SERVER_DRAIN_GRACE_S = 10.0
FLUSH_S = 5.0

logger = structlog.get_logger(__name__)


class WorkStreams:
    """The open stream of each session, so that a session's newer stream ends its older one."""

    def __init__(self) -> None:
        self._by_session: dict[str, WorkStream] = {}

    def enter(self, wanted_session_id: str, stream: "WorkStream") -> str:
        """Register a stream and tell its session: the wanted one if it has an open stream, which ends, or a new one."""
        older = self._by_session.pop(wanted_session_id, None)
        session_id = secrets.token_hex(16) if older is None else wanted_session_id
        if older is not None:
            older.end()
        self._by_session[session_id] = stream
        return session_id

    def leave(self, session_id: str, stream: "WorkStream") -> None:
        """Take a stream off, unless a newer one has its place."""
        if self._by_session.get(session_id) is stream:
            del self._by_session[session_id]


class WorkStream:
    """Serves one worker for as long as its stream lives. Leases outlive the stream."""

    def __init__(
        self,
        *,
        coordinator: Coordinator,
        dispatcher: Dispatcher,
        attempts: Attempts,
        streams: WorkStreams,
        presence: Presence,
        draining: asyncio.Event,
        write: Write,
    ) -> None:
        self._coordinator = coordinator
        self._dispatcher = dispatcher
        self._attempts = attempts
        self._streams = streams
        self._presence = presence
        self._draining = draining
        self._write = write
        self._inbox: Inbox[pb.WorkRequest] = Inbox()
        self._outbox = WorkOutbox()
        self._is_worker_draining = False
        self._is_drained_said = False
        self._is_goodbye_said = False

    async def run(self, requests: AsyncIterator[tuple[pb.WorkRequest, int]]) -> None:
        """Serve the stream until the worker closes it, is drained, falls silent, or is superseded.

        Each request comes with its size in bytes.

        Raises:
            InvalidRequestError: The first frame is not a hello, or a frame breaks the protocol.
            LimitExceededError: A frame is over a limit.
            ProtocolUnsupportedError: The worker speaks another version.
        """
        reader = asyncio.create_task(self._inbox.fill(requests))
        try:
            session = await self._greet()
            await self._serve(session)
        finally:
            reader.cancel()

    def end(self) -> None:
        """End the stream after what has gathered on both sides."""
        self._inbox.close()

    async def _greet(self) -> WorkerSession:
        """Take the hello, find out which leases the worker still holds, and say welcome."""
        hello = await self._hello()
        worker_id = hello.worker.worker_id
        held = [pb.LeaseBeat(lease=ref, waiting=True) for ref in hello.held_leases]
        statuses = await self._attempts.beat(held, worker_id=worker_id)
        session = WorkerSession(
            session_id=self._streams.enter(hello.session_id, self),
            worker_id=worker_id,
            queues=tuple(hello.worker.queues),
            holders=self._dispatcher.holders,
            on_assigned=self._outbox.wake,
            on_news=lambda news: self._tell(session, news),
        )
        _set_credit(session, hello.flow_control)
        for status in statuses:
            if status.held or status.HasField("error"):
                session.hold((status.task_id, status.lease_token))
        self._outbox.welcome(_welcome(session.session_id, statuses), session)
        self._presence.enter(session, sdk=hello.worker.sdk)
        return session

    async def _hello(self) -> pb.Hello:
        try:
            frame = await self._inbox.first(limits.HELLO_S)
        except TimeoutError:
            raise invalid("hello", f"is required as the first frame, within {limits.HELLO_S:g}s") from None
        if frame is None or not frame.HasField("hello"):
            raise invalid("hello", "is required as the first frame")
        hello = frame.hello
        if not limits.MIN_PROTOCOL_VERSION <= hello.protocol_version <= limits.MAX_PROTOCOL_VERSION:
            raise ProtocolUnsupportedError(
                hello.protocol_version, minimum=limits.MIN_PROTOCOL_VERSION, maximum=limits.MAX_PROTOCOL_VERSION
            )
        check_worker(hello.worker, "hello.worker")
        if not hello.HasField("flow_control"):
            raise invalid("hello.flow_control", "is required")
        _check_flow_control(hello.flow_control, "hello.flow_control")
        check_count("hello.held_leases", hello.held_leases, limit=limits.MAX_HELD_LEASES)
        return hello

    async def _serve(self, session: WorkerSession) -> None:
        writer = asyncio.create_task(self._write_frames(session))
        writer.add_done_callback(self._end_after_writing)
        goodbye = asyncio.create_task(self._say_goodbye(session))
        turns = Turns(lambda: self._leave_if_done(session))
        self._dispatcher.join(session)
        logger.info("worker_connected", worker_id=session.worker_id, session_id=session.session_id)
        try:
            await self._act_until_end(session, turns)
        except asyncio.CancelledError:
            # Nobody is there to read any more.
            writer.cancel()
            raise
        finally:
            goodbye.cancel()
            turns.cancel()
            self._dispatcher.leave(session)
            self._presence.leave(session)
            self._streams.leave(session.session_id, self)
            unwritten = session.close_to_new()
            self._outbox.close()
            session.leave()
            try:
                # After an error too: gRPC cannot send a status while the stream's first write is under way.
                await asyncio.wait([writer], timeout=FLUSH_S)
            finally:
                # The worker may go just now.
                writer.cancel()
                logger.info("worker_disconnected", worker_id=session.worker_id, session_id=session.session_id)
                await give_back(self._coordinator, unwritten)

    def _tell(self, session: WorkerSession, news: LeaseNews) -> None:
        """Pass on news of a lease; the last one that a worker waits for on its way out may end by them."""
        self._outbox.news(render.lease_news(news))
        self._leave_if_done(session)

    def _leave_if_done(self, session: WorkerSession) -> None:
        if self._may_leave(session):
            self.end()

    def _may_leave(self, session: WorkerSession) -> bool:
        """Tell whether the stream is of no more use to the worker, and say so if it asked for that."""
        if not session.holds_nothing:
            return False
        if self._is_worker_draining and not self._is_drained_said:
            self._is_drained_said = True
            self._outbox.drained()
        return self._is_worker_draining or self._is_goodbye_said

    async def _write_frames(self, session: WorkerSession) -> None:
        while (frame := await self._outbox.next_frame(limits.KEEPALIVE_S)) is not None:
            if frame.HasField("assignments"):
                # What is not waiting to be written any more has made room, whatever the credit.
                self._dispatcher.made_room(session)
            await self._write(frame.SerializeToString())

    def _end_after_writing(self, writer: asyncio.Task[None]) -> None:
        if not writer.cancelled() and (error := writer.exception()) is not None:
            # The worker is gone, or what was to be said cannot be; its leases live on.
            logger.warning("worker_stream_broken", error=repr(error))
        self.end()

    async def _say_goodbye(self, session: WorkerSession) -> None:
        """Ask the worker to go elsewhere when the server stops or the stream has lived long enough.

        What the worker holds is served on while it looks for another server; with nothing left to serve, the stream
        ends at once.
        """
        spread = random.uniform(1 - limits.STREAM_LIFE_SPREAD, 1 + limits.STREAM_LIFE_SPREAD)
        try:
            async with asyncio.timeout(limits.WORK_STREAM_LIFE_S * spread):
                await self._draining.wait()
        except TimeoutError:
            pass
        unwritten = session.close_to_new()
        self._outbox.server_drain(SERVER_DRAIN_GRACE_S)
        await give_back(self._coordinator, unwritten)
        self._is_goodbye_said = True
        if not session.holds_nothing:
            await asyncio.sleep(SERVER_DRAIN_GRACE_S)
        self.end()

    async def _act_until_end(self, session: WorkerSession, turns: Turns) -> None:
        try:
            await self._take_bursts(session, turns)
        except TailraceError:
            await turns.all_answered()
            raise
        await turns.all_answered()
        self._may_leave(session)

    async def _take_bursts(self, session: WorkerSession, turns: Turns) -> None:
        while True:
            try:
                frames = await self._inbox.take(limits.SILENCE_S)
                await self._outbox.wait_for_room(limits.SILENCE_S)
            except TimeoutError:
                logger.warning("worker_silent", worker_id=session.worker_id)
                return
            if not frames:
                return
            await self._act(session, turns, frames)
            if self._may_leave(session):
                return

    async def _act(self, session: WorkerSession, turns: Turns, frames: Sequence[pb.WorkRequest]) -> None:
        """Act on frames that came in a burst: starts before ends, ends before releases.

        What comes before a malformed one counts: its sender may have nothing else to show for a task.
        """
        self._presence.heard_from(session)
        frames, fault = _up_to_fault(frames)
        for frame in frames:
            if frame.HasField("flow_control"):
                _set_credit(session, frame.flow_control)
                self._dispatcher.made_room(session)
                await self._give_back(turns, session.take_back_excess())
        if any(frame.HasField("beats") for frame in frames):
            await self._beat(session, turns, [beat for frame in frames for beat in frame.beats.beats])
        if results := [result for frame in frames for result in frame.results.results]:
            await turns.ask(partial(self._attempts.end, results), partial(self._ended, session))
        for frame in frames:
            if frame.HasField("releases"):
                delay_ms = parse_release_delay(frame.releases, "releases.delay")
                release = partial(self._attempts.release, frame.releases.leases, delay_ms)
                await turns.ask(release, partial(self._released, session))
            elif frame.HasField("drain"):
                self._is_worker_draining = True
                self._presence.heard_from(session, is_draining=True)
                await self._give_back(turns, session.close_to_new())
        self._dispatcher.made_room(session)
        if fault is not None:
            raise fault

    async def _beat(self, session: WorkerSession, turns: Turns, beats: Sequence[pb.LeaseBeat]) -> None:
        for beat in beats:
            # Before the store answers: what happens to the lease right after the beat is news for the worker.
            session.mention((beat.lease.task_id, beat.lease.lease_token))
        judge = partial(self._attempts.beat, beats, worker_id=session.worker_id)
        await turns.ask(judge, partial(self._judged, session))

    async def _give_back(self, turns: Turns, deliveries: Sequence[Delivery]) -> None:
        if deliveries:
            await turns.ask(partial(give_back, self._coordinator, deliveries), _say_nothing)

    def _judged(self, session: WorkerSession, statuses: Sequence[pb.LeaseStatus]) -> None:
        self._settle(session, [status for status in statuses if is_lost(status)])
        self._outbox.statuses(statuses)

    def _ended(self, session: WorkerSession, acks: Sequence[pb.AttemptResultAck]) -> None:
        self._settle(session, [ack for ack in acks if is_final(ack.error)])
        self._outbox.acks(acks)

    def _released(self, session: WorkerSession, items: Sequence[pb.ReleaseItem]) -> None:
        self._settle(session, [item for item in items if is_final(item.error)])
        self._outbox.release_acks(items)

    def _settle(
        self, session: WorkerSession, answers: Iterable[pb.LeaseStatus | pb.AttemptResultAck | pb.ReleaseItem]
    ) -> None:
        for answer in answers:
            session.settle((answer.task_id, answer.lease_token))
        self._dispatcher.made_room(session)


def _say_nothing(_: None) -> None:
    """Have no answer: nobody asked."""


def _up_to_fault(frames: Sequence[pb.WorkRequest]) -> tuple[Sequence[pb.WorkRequest], TailraceError | None]:
    """Give the frames before the first malformed one, and what is wrong with that."""
    for index, frame in enumerate(frames):
        try:
            _check_frame(frame)
        except TailraceError as error:
            return frames[:index], error
    return frames, None


def _check_frame(frame: pb.WorkRequest) -> None:
    if frame.HasField("hello"):
        raise invalid("hello", "is allowed as the first frame only")
    if frame.HasField("flow_control"):
        _check_flow_control(frame.flow_control, "flow_control")
    check_count("beats.beats", frame.beats.beats, limit=limits.MAX_BATCH_ITEMS)
    check_count("results.results", frame.results.results, limit=limits.MAX_BATCH_ITEMS)
    check_count("releases.leases", frame.releases.leases, limit=limits.MAX_BATCH_ITEMS)
    parse_release_delay(frame.releases, "releases.delay")


def _check_flow_control(flow_control: pb.FlowControl, field: str) -> None:
    if not 0 <= flow_control.max_outstanding_tasks <= limits.MAX_OUTSTANDING_TASKS:
        raise invalid(f"{field}.max_outstanding_tasks", f"must be from 0 to {limits.MAX_OUTSTANDING_TASKS}")
    if flow_control.max_outstanding_bytes < 0:
        raise invalid(f"{field}.max_outstanding_bytes", "must be 0 or more")


def _set_credit(session: WorkerSession, flow_control: pb.FlowControl) -> None:
    session.set_max_outstanding(flow_control.max_outstanding_tasks, flow_control.max_outstanding_bytes)


def _welcome(session_id: str, statuses: Sequence[pb.LeaseStatus]) -> pb.Welcome:
    welcome = pb.Welcome(
        protocol_version=limits.MAX_PROTOCOL_VERSION,
        session_id=session_id,
        heartbeat_interval=render.duration_ms(limits.HEARTBEAT_INTERVAL_MS),
        session_timeout=render.duration_s(limits.SILENCE_S),
        leases=statuses,
        max_stream_duration=render.duration_s(limits.WORK_STREAM_LIFE_S),
        max_frame_bytes=limits.MAX_RECEIVED_MESSAGE_BYTES,
    )
    if welcome.ByteSize() > limits.FILL_MESSAGE_BYTES:
        # Whoever holds thousands of tasks is told why they are to stop by the answers to the next beats.
        for status in welcome.leases:
            status.ClearField("revoke_reason")
            if status.HasField("error"):
                status.error.ClearField("message")
    return welcome
