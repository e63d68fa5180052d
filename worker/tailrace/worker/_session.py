"""The worker's half of the conversation: what to say next, and what to make of what the server says. No I/O.

It outlives streams. Whatever must not be lost with one (leases, results, releases) is said again on the next, and the
server tells repeated things by their lease token.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tailrace.v1 import worker_service_pb2 as wire
from tailrace.v1.task_pb2 import ItemError, Progress
from tailrace.worker._leases import MAX_HELD_LEASES_IN_HELLO, LeaseBook, LeaseKey, Phase
from tailrace.worker._outbox import DEFAULT_MAX_FRAME_BYTES, Outbox
from tailrace.worker._slots import Slots

PROTOCOL_VERSION = 1

_UNAVAILABLE = 14  # google.rpc.Code
_DEFAULT_HEARTBEAT_S = 10.0
_LONGEST_SILENCE_S = 20.0

logger = logging.getLogger("tailrace.worker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Something to put on the stream."""

    request: wire.WorkRequest
    first_beats: tuple[LeaseKey, ...] = ()
    """Leases whose tasks may run once this is on the stream, and not before."""


@dataclass(slots=True, kw_only=True)
class Heard:
    """What a message of the server asks of those who run tasks and streams."""

    lost: list[LeaseKey] = field(default_factory=list[LeaseKey])
    """Leases that this worker no longer holds: stop their tasks."""
    revoked: list[LeaseKey] = field(default_factory=list[LeaseKey])
    """Leases whose tasks run and are asked to stop, each once."""
    server_drain: bool = False
    """Open another stream."""


class WorkerSession:
    """One process's presence at the server. Not thread-safe; times are seconds of one monotonic clock."""

    def __init__(self, info: wire.WorkerInfo, *, slots: Slots, retry_pause_s: Callable[[int], float]) -> None:
        self.draining = False
        """Told to take no more tasks."""
        self.drained = False
        """The server has taken leave of this worker."""
        self._info = info
        self._slots = slots
        self._leases = LeaseBook()
        self._outbox = Outbox(retry_pause_s)
        self._drain_told = False
        self._told_capacity = 0
        self._session_id = ""
        self._heartbeat_s = _DEFAULT_HEARTBEAT_S
        self._max_frame_bytes = DEFAULT_MAX_FRAME_BYTES
        self._last_frame_at = 0.0

    # What the runtime asks and tells.

    @property
    def idle(self) -> bool:
        """True when nothing is held and nothing waits to be acknowledged."""
        return not self._leases and not self._outbox

    @property
    def unacknowledged(self) -> int:
        """Count the results and releases that the server has not answered."""
        return len(self._outbox)

    def assignment(self, key: LeaseKey) -> wire.Assignment:
        """Return what was delivered under a lease that is held."""
        return self._leases.assignment(key)

    def is_running(self, key: LeaseKey) -> bool:
        """Tell whether this lease's task should run."""
        return self._leases.phase(key) is Phase.RUNNING

    def is_revoked(self, key: LeaseKey) -> bool:
        """Tell whether this lease's task was asked to stop."""
        return self._leases.is_revoked(key)

    def running(self) -> list[LeaseKey]:
        """List the leases whose tasks run."""
        return [key for key in self._leases.held() if self.is_running(key)]

    def tell_progress(self, key: LeaseKey, progress: Progress, now: float) -> bool:
        """Have a running task's progress told with a beat soon; what it said before and was not told yet is replaced.

        False: nothing has to be said sooner than was known.
        """
        return self._leases.note_progress(key, progress, now)

    def finish(self, key: LeaseKey, result: wire.AttemptResult | None) -> None:
        """Note that a task's code has ended. None: interrupted, so its lease is given back.

        The outcome of a task whose lease was lost or released meanwhile is nobody's business and is dropped.
        """
        if self.is_running(key):
            if result is None:
                self._release(key)
            else:
                self._end(key, result)
        self._slots.free(key)
        self._fill_slots()

    def abandon(self, key: LeaseKey, result: wire.AttemptResult) -> bool:
        """End an attempt whose code cannot be stopped; its slot stays taken until ``finish``, whose result is dropped.

        False: the attempt had ended already.
        """
        if not self.is_running(key):
            return False
        self._end(key, result)
        self._slots.abandon(key)
        return True

    def drain(self) -> None:
        """Take no more tasks, and give back those that have not begun. Again: no effect."""
        if not self.draining:
            self.draining = True
            self._slots.drop_waiting()
            self._release_in(Phase.WAITING, Phase.STARTING)

    def release_unfinished(self) -> int:
        """Give back every lease whose task has not ended. Returns how many there were."""
        return self._release_in(Phase.WAITING, Phase.STARTING, Phase.RUNNING)

    # What the stream asks and tells.

    def hello(self) -> wire.WorkRequest:
        """Build the first frame of a stream."""
        held = self._leases.held()[:MAX_HELD_LEASES_IN_HELLO]
        return wire.WorkRequest(
            hello=wire.Hello(
                protocol_version=PROTOCOL_VERSION,
                worker=self._info,
                flow_control=wire.FlowControl(max_outstanding_tasks=self._capacity()),
                session_id=self._session_id,
                held_leases=[key.to_wire() for key in held],
            )
        )

    def begin_stream(self, hello: wire.Hello, welcome: wire.Welcome, now: float) -> Heard:
        """Go on with a stream that the server has welcomed: all that matters is said again there."""
        self._session_id = welcome.session_id
        self._max_frame_bytes = welcome.max_frame_bytes or DEFAULT_MAX_FRAME_BYTES
        interval = welcome.heartbeat_interval
        asked_s = interval.seconds + interval.nanos / 1e9
        self._heartbeat_s = min(asked_s, _LONGEST_SILENCE_S) if asked_s > 0 else _DEFAULT_HEARTBEAT_S
        self._told_capacity = hello.flow_control.max_outstanding_tasks
        self._drain_told = False
        self._last_frame_at = now
        heard = Heard()
        self._apply_statuses(welcome.leases, heard, now)
        self._outbox.resend_all()
        self._leases.resume(now)
        return heard

    def receive(self, response: wire.WorkResponse, now: float) -> Heard:
        """Take in one message after Welcome. Frames that this version does not know are keepalives to it."""
        heard = Heard()
        match response.WhichOneof("frame"):
            case "assignments":
                self._take_in(response.assignments.assignments, now)
            case "result_acks":
                self._apply_result_acks(response.result_acks.acks, now)
            case "release_acks":
                self._apply_release_acks(response.release_acks.items, now)
            case "lease_statuses":
                self._apply_statuses(response.lease_statuses.statuses, heard, now)
            case "server_drain":
                heard.server_drain = True
            case "drained":
                self.drained = True
            case _:
                pass
        return heard

    def next_frame(self, now: float) -> Frame | None:
        """Build what is to be said now; None when there is nothing to say.

        Signs of life go before results: a large result must not cost another task its lease.
        """
        request = self._next_control() or self._next_beats(now) or self._next_outcomes(now)
        if request is None and now >= self._last_frame_at + self._heartbeat_s:
            request = wire.WorkRequest(beats=wire.LeaseBeats())
        if request is None:
            return None
        self._last_frame_at = now
        return request if isinstance(request, Frame) else Frame(request=request)

    def written(self, frame: Frame, now: float) -> list[LeaseKey]:
        """Note that a frame is on the stream. Returns the leases whose tasks may run from now on."""
        return self._leases.confirm_started(frame.first_beats, now)

    def next_due_at(self) -> float:
        """Tell when next_frame has something to say even if nothing happens until then."""
        dues = (self._leases.next_due_at(), self._outbox.next_due_at(), self._last_frame_at + self._heartbeat_s)
        return min(due for due in dues if due is not None)

    # Frames.

    def _next_control(self) -> wire.WorkRequest | None:
        if self.draining and not self._drain_told:
            self._drain_told = True
            return wire.WorkRequest(drain=wire.Drain())
        capacity = self._capacity()
        if capacity != self._told_capacity:
            self._told_capacity = capacity
            return wire.WorkRequest(flow_control=wire.FlowControl(max_outstanding_tasks=capacity))
        return None

    def _next_beats(self, now: float) -> Frame | wire.WorkRequest | None:
        starting = self._leases.take_first_beats()
        if starting:
            beats = wire.LeaseBeats(beats=[wire.LeaseBeat(lease=key.to_wire()) for key in starting])
            return Frame(request=wire.WorkRequest(beats=beats), first_beats=tuple(starting))
        due = self._leases.take_last_words() or self._leases.take_due_beats(now)
        return wire.WorkRequest(beats=wire.LeaseBeats(beats=due)) if due else None

    def _next_outcomes(self, now: float) -> wire.WorkRequest | None:
        if releases := self._outbox.take_releases(now):
            return wire.WorkRequest(releases=releases)
        if results := self._outbox.take_results(now, self._max_frame_bytes):
            return wire.WorkRequest(results=results)
        return None

    def _capacity(self) -> int:
        """Count what may be held: a thread that outlives its lease keeps its slot until it ends."""
        if self.draining:
            return 0
        return self._slots.credit()

    # Leases.

    def _take_in(self, assignments: Iterable[wire.Assignment], now: float) -> None:
        for assignment in assignments:
            key = self._leases.add(assignment, now)
            if key is None:
                continue
            if self.draining:
                self._release(key)
            else:
                self._slots.hold(key, assignment.spec.task_type)
        self._fill_slots()

    def _fill_slots(self) -> None:
        for key in self._slots.fill():
            self._leases.start(key)

    def _release_in(self, *phases: Phase) -> int:
        keys = [key for key in self._leases.held() if self._leases.phase(key) in phases]
        for key in keys:
            self._release(key)
        return len(keys)

    def _end(self, key: LeaseKey, result: wire.AttemptResult) -> None:
        if result.HasField("failure"):  # there may be another attempt, which wants the checkpoint
            self._leases.speed_progress(key)
        self._leases.end(key)
        self._outbox.put_result(result)

    def _release(self, key: LeaseKey) -> None:
        self._leases.speed_progress(key)
        self._forget(key)
        self._outbox.put_release(key)

    def _forget(self, key: LeaseKey) -> None:
        phase = self._leases.phase(key)
        if phase is Phase.WAITING:
            self._slots.drop(key)
        elif phase is Phase.STARTING:
            self._slots.free(key)
        elif phase is Phase.RUNNING:
            self._slots.abandon(key)
        self._leases.drop(key)

    def _apply_statuses(self, statuses: Iterable[wire.LeaseStatus], heard: Heard, now: float) -> None:
        for status in statuses:
            key = LeaseKey.of(status)
            if status.HasField("error") and status.held:
                _log_refusal("progress_refused", key, status.error)
            if status.HasField("error") and not status.held:
                self._leases.beat_again(key, now)
            elif not status.held and key in self._leases:
                heard.lost.extend(self._lose(key))
            elif status.revoke_requested and self._leases.note_revoked(key) and self.is_running(key):
                heard.revoked.append(key)
        self._fill_slots()

    def _lose(self, key: LeaseKey) -> list[LeaseKey]:
        logger.warning(
            "lease_lost: task %s is no longer held by this worker", key.task_id, extra={"task_id": key.task_id}
        )
        was_running = self.is_running(key)
        self._forget(key)
        self._outbox.drop(key)
        return [key] if was_running else []

    # Acknowledgements.

    def _apply_result_acks(self, acks: Iterable[wire.AttemptResultAck], now: float) -> None:
        for ack in acks:
            key = LeaseKey.of(ack)
            if ack.error.code == _UNAVAILABLE:
                self._outbox.postpone(key, now)
            elif self._outbox.drop(key):
                self._leases.drop(key)
                if ack.HasField("error"):
                    _log_refusal("result_refused", key, ack.error)

    def _apply_release_acks(self, items: Iterable[wire.ReleaseItem], now: float) -> None:
        for item in items:
            key = LeaseKey.of(item)
            if item.error.code == _UNAVAILABLE:
                self._outbox.postpone(key, now)
            elif self._outbox.drop(key) and item.HasField("error"):
                _log_refusal("release_refused", key, item.error)


def _log_refusal(event: str, key: LeaseKey, error: ItemError) -> None:
    logger.warning(
        "%s: task %s: %s %s", event, key.task_id, error.reason, error.message, extra={"task_id": key.task_id}
    )
