"""When the session says what tasks told it of their progress."""

import pytest

from tailrace.client._payload import encode_value
from tailrace.v1 import task_pb2
from tailrace.v1 import worker_service_pb2 as wire
from tests.unit.worker.messages import a_key, a_status, a_success, an_assignment, assignments, statuses, unavailable
from tests.unit.worker.test_session import Talk, beat_of, kinds


def tell(talk: Talk, current: int, number: int = 1, *, details: task_pb2.Payload | None = None) -> bool:
    progress = task_pb2.Progress(current=current, details=details)
    return talk.session.tell_progress(a_key(number), progress, talk.now)


def told(requests: list[wire.WorkRequest]) -> list[list[tuple[str, int | None]]]:
    """Give who was said to be how far, frame by frame; None: a mere sign of life."""
    return [
        [
            (beat.lease.task_id, beat.progress.current if beat.HasField("progress") else None)
            for beat in request.beats.beats
        ]
        for request in requests
    ]


def a_failure(number: int = 1) -> wire.AttemptResult:
    failure = task_pb2.Failure(kind=task_pb2.FAILURE_KIND_APPLICATION, type="ValueError")
    return wire.AttemptResult(lease=a_key(number).to_wire(), failure=failure)


def test_progress_is_told_with_a_beat_at_once() -> None:
    talk = Talk()
    talk.run(1, 2)

    assert tell(talk, 5)

    assert talk.session.next_due_at() == 0.0
    assert told(talk.say()) == [[("task-1", 5)]]


def test_progress_is_told_once() -> None:
    talk = Talk()
    talk.run(1)
    tell(talk, 5)
    talk.say()

    talk.now = 10.0

    assert told(talk.say()) == [[("task-1", None)]]


def test_of_what_is_said_within_half_a_second_the_last_is_told() -> None:
    talk = Talk()
    talk.run(1)
    tell(talk, 1)
    talk.say()

    talk.now = 0.1
    assert [tell(talk, number) for number in (2, 3, 4)] == [True, False, False]

    assert talk.say() == []
    assert talk.session.next_due_at() == 0.5
    talk.now = 0.5
    assert told(talk.say()) == [[("task-1", 4)]]


def test_progress_keeps_the_lease_alive_as_any_beat_does() -> None:
    talk = Talk()
    talk.run(1)
    talk.now = 5.0
    tell(talk, 1)
    talk.say()

    talk.now = 14.9
    assert told(talk.say()) == []
    talk.now = 15.0
    assert told(talk.say()) == [[("task-1", None)]]


def test_what_a_crowd_says_goes_in_frames_that_a_server_reads_and_none_says_more_than_twice_a_second() -> None:
    crowd = range(1, 1501)
    talk = Talk(concurrency=len(crowd))
    talk.hear(assignments(*(an_assignment(number) for number in crowd)))
    for frame in talk.frames():
        talk.session.written(frame, talk.now)
    checkpoint = encode_value("x" * 16_000)
    for number in crowd:
        tell(talk, 1, number, details=checkpoint)

    frames = []
    while (said := talk.session.next_frame(talk.now)) is not None:
        frames.append(said.request)
        tell(talk, 2, 1, details=checkpoint)

    assert max(request.ByteSize() for request in frames) < 4 * 1024 * 1024
    assert [name for beats in told(frames) for name, _ in beats] == [f"task-{number}" for number in crowd]


@pytest.mark.parametrize("abandoned", [False, True])
def test_last_word_of_an_attempt_that_fails_goes_ahead_of_the_failure(abandoned: bool) -> None:
    talk = Talk()
    talk.run(1)
    tell(talk, 1)
    talk.say()
    tell(talk, 2)

    if abandoned:
        talk.session.abandon(a_key(1), a_failure())
    else:
        talk.session.finish(a_key(1), a_failure())

    requests = talk.say()
    assert kinds(requests) == ["flow_control", "beats", "results"][0 if abandoned else 1 :]
    assert told(requests[-2:-1]) == [[("task-1", 2)]]


def test_last_word_of_a_task_that_is_given_back_goes_ahead_of_the_release() -> None:
    talk = Talk()
    talk.run(1)
    tell(talk, 1)

    talk.session.drain()
    talk.session.release_unfinished()

    requests = talk.say()
    assert kinds(requests) == ["drain", "flow_control", "beats", "releases"]
    assert told(requests[2:3]) == [[("task-1", 1)]]


def test_success_needs_no_last_word() -> None:
    talk = Talk()
    talk.run(1)
    tell(talk, 1)
    talk.say()
    tell(talk, 2)

    talk.session.finish(a_key(1), a_success())

    assert kinds(talk.say()) == ["results"]


def test_progress_of_a_task_that_does_not_run_is_not_told() -> None:
    talk = Talk(concurrency=1)
    talk.run(1)
    talk.hear(assignments(an_assignment(2)))

    assert [tell(talk, 1, number) for number in (2, 9)] == [False, False]
    talk.hear(statuses(a_status(1, held=False)))
    assert not tell(talk, 1)
    talk.say()
    assert talk.session.running() == []


@pytest.mark.parametrize("lost_with", ["stream", "store"])
def test_progress_that_may_have_been_lost_is_told_again(lost_with: str) -> None:
    talk = Talk()
    talk.run(1)
    tell(talk, 5)
    talk.say()

    talk.now = 0.5
    if lost_with == "stream":
        talk.reconnect(leases=[a_status(1, held=True)])
    else:
        talk.now = 0.0
        talk.hear(statuses(a_status(1, held=False, error=unavailable())))
        talk.now = 0.5

    assert told(talk.say()) == [[("task-1", 5)]]


def test_task_whose_progress_the_server_refuses_goes_on() -> None:
    talk = Talk()
    talk.run(1)
    tell(talk, 5)
    talk.say()
    refused = task_pb2.ItemError(code=3, reason="LIMIT_EXCEEDED", message="beats[0].progress.details.data")

    assert talk.hear(statuses(a_status(1, held=True, error=refused))) == []

    assert talk.session.is_running(a_key(1))
    talk.now = 10.0
    assert [beat_of(request) for request in talk.say()] == [[("task-1", False)]]


def test_progress_that_must_wait_lets_the_writer_rest_when_the_others_of_a_full_frame_are_gone() -> None:
    crowd = range(1, 1002)
    talk = Talk(concurrency=len(crowd))
    talk.hear(assignments(*(an_assignment(number) for number in crowd)))
    for frame in talk.frames():
        talk.session.written(frame, talk.now)
    talk.now = 10.0
    full = talk.session.next_frame(talk.now)
    assert full is not None
    assert len(full.request.beats.beats) == 1000

    talk.hear(statuses(a_status(1001, held=False)))
    tell(talk, 1)

    assert kinds(talk.say()) == ["flow_control"]
    assert talk.session.next_due_at() == 10.5
    talk.now = 10.5
    assert ("task-1", 1) in told(talk.say())[0]
