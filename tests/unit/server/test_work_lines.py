"""The two lines of a worker stream: what came in and was not acted on, what is to be said and was not written."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from tailrace.server.api import inbox as inbox_module
from tailrace.server.api import work_outbox as outbox_module
from tailrace.server.api.inbox import Inbox
from tailrace.server.api.violations import invalid
from tailrace.server.api.work_outbox import WorkOutbox
from tailrace.server.dispatch.holders import Holders
from tailrace.server.dispatch.session import WorkerSession
from tailrace.server.domain.errors import InvalidRequestError
from tailrace.v1 import worker_service_pb2 as pb
from tests.unit.server.deliveries import a_delivery, a_session, unheard
from tests.unit.server.messages import MIB, a_submit
from tests.wait import eventually_async

LONG_S = 60.0


class Frames:
    """The frames that a worker sends; counts how many were read."""

    def __init__(self, *frames: pb.WorkRequest, size_bytes: int = 10, error: Exception | None = None) -> None:
        self.read_count = 0
        self._frames = frames
        self._size_bytes = size_bytes
        self._error = error

    async def __aiter__(self) -> AsyncIterator[tuple[pb.WorkRequest, int]]:
        for frame in self._frames:
            self.read_count += 1
            yield frame, self._size_bytes
        if self._error is not None:
            raise self._error


def a_frame(number: int = 0) -> pb.WorkRequest:
    return pb.WorkRequest(flow_control=pb.FlowControl(max_outstanding_tasks=number))


def numbers(frames: Sequence[pb.WorkRequest]) -> list[int]:
    return [frame.flow_control.max_outstanding_tasks for frame in frames]


async def test_frames_that_gathered_are_taken_together_in_order() -> None:
    inbox: Inbox[pb.WorkRequest] = Inbox()
    await inbox.fill(aiter(Frames(a_frame(1), a_frame(2), a_frame(3))))

    assert numbers(await inbox.take(LONG_S)) == [1, 2, 3]
    assert await inbox.take(LONG_S) == []


async def test_first_frame_is_taken_alone() -> None:
    inbox: Inbox[pb.WorkRequest] = Inbox()
    await inbox.fill(aiter(Frames(a_frame(1), a_frame(2))))

    first = await inbox.first(LONG_S)

    assert first == a_frame(1)
    assert numbers(await inbox.take(LONG_S)) == [2]


async def test_end_without_a_frame_is_told() -> None:
    inbox: Inbox[pb.WorkRequest] = Inbox()
    await inbox.fill(aiter(Frames()))

    assert await inbox.first(LONG_S) is None
    assert await inbox.take(LONG_S) == []


async def test_silence_is_a_timeout() -> None:
    inbox: Inbox[pb.WorkRequest] = Inbox()

    with pytest.raises(TimeoutError):
        await inbox.first(0.01)
    with pytest.raises(TimeoutError):
        await inbox.take(0.01)


async def test_frame_that_does_not_parse_is_raised_after_those_before_it() -> None:
    inbox: Inbox[pb.WorkRequest] = Inbox()
    await inbox.fill(aiter(Frames(a_frame(1), error=invalid("request", "is no frame"))))

    assert numbers(await inbox.take(LONG_S)) == [1]
    with pytest.raises(InvalidRequestError, match="is no frame"):
        await inbox.take(LONG_S)


async def test_first_frame_that_does_not_parse_is_raised() -> None:
    inbox: Inbox[pb.WorkRequest] = Inbox()
    await inbox.fill(aiter(Frames(error=invalid("request", "is no frame"))))

    with pytest.raises(InvalidRequestError, match="is no frame"):
        await inbox.first(LONG_S)


async def read_until_it_stops(frames: Frames, inbox: Inbox[pb.WorkRequest]) -> asyncio.Task[None]:
    reader = asyncio.create_task(inbox.fill(aiter(frames)))
    await eventually_async(lambda: not reader.done() and frames.read_count > 0, "the reader waits")
    return reader


async def test_reader_waits_while_too_many_frames_wait() -> None:
    inbox, frames = Inbox[pb.WorkRequest](), Frames(*[a_frame(number) for number in range(200)])
    reader = await read_until_it_stops(frames, inbox)

    read_count = frames.read_count
    taken = await inbox.take(LONG_S)

    assert read_count == len(taken) == inbox_module.MAX_WAITING_FRAMES
    while more := await inbox.take(LONG_S):
        taken += more
    await reader
    assert numbers(taken) == list(range(200))


async def test_reader_waits_while_too_many_bytes_wait() -> None:
    inbox, frames = Inbox[pb.WorkRequest](), Frames(*[a_frame()] * 5, size_bytes=inbox_module.MAX_WAITING_BYTES // 2)
    reader = await read_until_it_stops(frames, inbox)

    portions = []
    while taken := await inbox.take(LONG_S):
        portions.append(len(taken))

    await reader
    assert portions == [2, 2, 1]


async def test_reader_goes_on_after_a_first_frame_of_any_size() -> None:
    inbox, frames = Inbox[pb.WorkRequest](), Frames(a_frame(1), a_frame(2), size_bytes=inbox_module.MAX_WAITING_BYTES)
    reader = await read_until_it_stops(frames, inbox)

    assert await inbox.first(LONG_S) == a_frame(1)

    assert numbers(await inbox.take(LONG_S)) == [2]
    await reader


async def test_closed_line_ends_after_what_is_in_it_though_the_worker_goes_on() -> None:
    inbox: Inbox[pb.WorkRequest] = Inbox()
    reader = await read_until_it_stops(Frames(*[a_frame()] * 100), inbox)

    inbox.close()

    assert len(await inbox.take(LONG_S)) == inbox_module.MAX_WAITING_FRAMES
    reader.cancel()
    await asyncio.wait([reader])


def statuses(count: int) -> list[pb.LeaseStatus]:
    return [pb.LeaseStatus(task_id=f"task-{number}") for number in range(count)]


def acks(count: int) -> list[pb.AttemptResultAck]:
    return [pb.AttemptResultAck(task_id=f"task-{number}") for number in range(count)]


def release_acks(count: int) -> list[pb.ReleaseItem]:
    return [pb.ReleaseItem(task_id=f"task-{number}") for number in range(count)]


async def all_frames(outbox: WorkOutbox) -> list[pb.WorkResponse]:
    outbox.close()
    frames = []
    while (frame := await outbox.next_frame(LONG_S)) is not None:
        frames.append(frame)
    return frames


def greeted(session: WorkerSession | None = None) -> WorkOutbox:
    outbox = WorkOutbox()
    outbox.welcome(pb.Welcome(session_id="s"), session or a_session())
    return outbox


async def test_welcome_is_first_answers_go_before_assignments_and_goodbyes_are_last() -> None:
    session = a_session()
    outbox = WorkOutbox()
    outbox.drained()
    outbox.server_drain(1.5)
    outbox.release_acks(release_acks(1))
    outbox.acks(acks(1))
    outbox.statuses(statuses(1))
    session.assign([a_delivery(1)])
    outbox.welcome(pb.Welcome(session_id="s"), session)

    frames = await all_frames(outbox)

    assert [frame.WhichOneof("frame") for frame in frames] == [
        "welcome",
        "lease_statuses",
        "result_acks",
        "release_acks",
        "assignments",
        "server_drain",
        "drained",
    ]
    assert frames[5].server_drain.grace_period.ToTimedelta().total_seconds() == 1.5


async def test_answers_are_cut_into_frames_of_a_thousand_in_order() -> None:
    outbox = greeted()
    outbox.statuses(statuses(1_500))
    outbox.statuses(statuses(600))
    outbox.acks(acks(1_001))
    outbox.release_acks(release_acks(1_001))

    frames = await all_frames(outbox)

    assert [len(frame.lease_statuses.statuses) for frame in frames[1:4]] == [1000, 1000, 100]
    assert [len(frame.result_acks.acks) for frame in frames[4:6]] == [1000, 1]
    assert [len(frame.release_acks.items) for frame in frames[6:8]] == [1000, 1]
    assert [status.task_id for status in frames[2].lease_statuses.statuses[499:501]] == ["task-1499", "task-0"]


async def test_answer_to_no_beats_is_an_empty_answer() -> None:
    outbox = greeted()
    outbox.statuses([])
    outbox.statuses([])

    frames = await all_frames(outbox)

    assert [frame.WhichOneof("frame") for frame in frames] == ["welcome", "lease_statuses"]


async def test_assignments_are_cut_into_frames_that_fit() -> None:
    session = a_session(max_outstanding=10_000)
    large_request = a_submit(data=b"x" * MIB).SerializeToString()
    large = [a_delivery(number, request=large_request) for number in range(7)]
    small = [a_delivery(number) for number in range(600)]
    session.assign([*large, *small])

    frames = (await all_frames(greeted(session)))[1:]

    assert [len(frame.assignments.assignments) for frame in frames][:3] == [2, 2, 2]
    assert sum(len(frame.assignments.assignments) for frame in frames) == 607
    assert max(len(frame.assignments.assignments) for frame in frames) <= outbox_module.MAX_FRAME_ASSIGNMENTS
    assert max(frame.ByteSize() for frame in frames) < 4 * MIB


async def test_nothing_to_say_for_a_while_is_an_empty_frame() -> None:
    outbox = greeted()
    await outbox.next_frame(LONG_S)

    frame = await outbox.next_frame(0.01)

    assert frame is not None
    assert frame.WhichOneof("frame") is None


async def test_assignment_wakes_the_writer() -> None:
    outbox = WorkOutbox()
    session = WorkerSession(
        session_id="s",
        worker_id="w",
        queues=("default",),
        holders=Holders(),
        on_assigned=outbox.wake,
        on_news=unheard,
    )
    outbox.welcome(pb.Welcome(), session)
    await outbox.next_frame(LONG_S)
    writing = asyncio.create_task(outbox.next_frame(LONG_S))
    await asyncio.wait([writing], timeout=0)

    session.assign([a_delivery(1)])

    frame = await writing
    assert frame is not None
    assert [assignment.lease.task_id for assignment in frame.assignments.assignments] == ["task-1"]


async def test_worker_that_reads_no_answers_is_asked_to_wait() -> None:
    outbox = greeted()
    outbox.statuses(statuses(outbox_module.MAX_WAITING_ANSWERS))

    with pytest.raises(TimeoutError):
        await outbox.wait_for_room(0.01)

    waiting = asyncio.create_task(outbox.wait_for_room(LONG_S))
    await outbox.next_frame(LONG_S)
    await outbox.next_frame(LONG_S)
    await waiting
