from typing import Any

import pytest

from tailrace.v1 import task_pb2
from tailrace.v1 import worker_service_pb2 as wire
from tailrace.worker._leases import LeaseKey
from tailrace.worker._session import Frame, WorkerSession
from tailrace.worker._slots import Slots
from tests.unit.worker.messages import (
    a_duration,
    a_key,
    a_status,
    a_success,
    a_welcome,
    an_assignment,
    assignments,
    lease_lost,
    release_acks,
    result_acks,
    statuses,
    to_stop,
    unavailable,
)

INFO = wire.WorkerInfo(worker_id="worker-1", queues=["default"])


class Talk:
    """A session on a stream, with a clock that moves when told to."""

    def __init__(self, concurrency: int = 4, **welcome: Any) -> None:
        self.now = 0.0
        self.session = WorkerSession(INFO, slots=Slots(concurrency), retry_pause_s=float)
        self.reconnect(**welcome)

    def reconnect(self, **welcome: Any) -> tuple[wire.Hello, list[LeaseKey]]:
        hello = self.session.hello().hello
        heard = self.session.begin_stream(hello, a_welcome(**welcome), self.now)
        return hello, heard.lost

    def hear(self, response: wire.WorkResponse) -> list[LeaseKey]:
        return self.session.receive(response, self.now).lost

    def frames(self) -> list[Frame]:
        frames = []
        while (frame := self.session.next_frame(self.now)) is not None:
            frames.append(frame)
        return frames

    def say(self) -> list[wire.WorkRequest]:
        return [frame.request for frame in self.frames()]

    def run(self, *numbers: int) -> None:
        """Bring tasks to where their code runs."""
        self.hear(assignments(*(an_assignment(number) for number in numbers)))
        started = [key for frame in self.frames() for key in self.session.written(frame, self.now)]
        assert started == [a_key(number) for number in numbers]


def beat_of(request: wire.WorkRequest) -> list[tuple[str, bool]]:
    assert request.WhichOneof("frame") == "beats"
    return [(beat.lease.task_id, beat.waiting) for beat in request.beats.beats]


def kinds(requests: list[wire.WorkRequest]) -> list[str | None]:
    return [request.WhichOneof("frame") for request in requests]


def test_hello_introduces_the_worker_with_credit_for_every_slot() -> None:
    session = WorkerSession(INFO, slots=Slots(7), retry_pause_s=float)

    hello = session.hello().hello

    assert hello.protocol_version == 1
    assert hello.worker == INFO
    assert hello.flow_control.max_outstanding_tasks == 7
    assert hello.session_id == ""
    assert list(hello.held_leases) == []


def test_second_hello_names_the_session_and_the_leases_held() -> None:
    talk = Talk()
    talk.run(1, 2)

    hello, _ = talk.reconnect()

    assert hello.session_id == "session-1"
    assert [ref.task_id for ref in hello.held_leases] == ["task-1", "task-2"]


def test_task_runs_once_its_first_beat_is_written() -> None:
    talk = Talk()
    talk.hear(assignments(an_assignment(1)))

    (frame,) = talk.frames()

    assert beat_of(frame.request) == [("task-1", False)]
    assert frame.first_beats == (a_key(1),)
    assert not talk.session.is_running(a_key(1))
    assert talk.session.written(frame, talk.now) == [a_key(1)]
    assert talk.session.is_running(a_key(1))


def test_tasks_delivered_together_begin_with_one_frame() -> None:
    talk = Talk()
    talk.hear(assignments(an_assignment(1), an_assignment(2)))

    assert [beat_of(request) for request in talk.say()] == [[("task-1", False), ("task-2", False)]]


def test_task_for_which_no_slot_is_free_waits_and_says_so() -> None:
    talk = Talk(concurrency=1)
    talk.run(1)
    talk.hear(assignments(an_assignment(2, start_timeout_s=6)))
    assert talk.say() == []

    talk.now = 2.0
    assert [beat_of(request) for request in talk.say()] == [[("task-2", True)]]

    talk.session.finish(a_key(1), a_success(1))
    beats, results = talk.say()
    assert beat_of(beats) == [("task-2", False)]
    assert results.WhichOneof("frame") == "results"


def test_result_is_sent_and_forgotten_once_acknowledged() -> None:
    talk = Talk()
    talk.run(1)

    talk.session.finish(a_key(1), a_success(1))

    assert talk.say() == [wire.WorkRequest(results=wire.AttemptResults(results=[a_success(1)]))]
    assert not talk.session.idle
    talk.hear(result_acks(1))
    assert talk.session.idle


def test_result_goes_again_after_a_reconnect() -> None:
    talk = Talk()
    talk.run(1)
    talk.session.finish(a_key(1), a_success(1))
    talk.say()

    hello, _ = talk.reconnect()

    assert [ref.task_id for ref in hello.held_leases] == ["task-1"]
    assert "results" in kinds(talk.say())


def test_result_that_was_refused_for_good_is_dropped() -> None:
    talk = Talk()
    talk.run(1)
    talk.session.finish(a_key(1), a_success(1))
    talk.say()

    talk.hear(result_acks(1, error=lease_lost()))

    assert talk.session.idle
    assert talk.say() == []


def test_result_that_found_the_store_away_goes_again_and_its_lease_is_kept() -> None:
    talk = Talk()
    talk.run(1)
    talk.session.finish(a_key(1), a_success(1))
    talk.say()

    talk.hear(result_acks(1, error=unavailable()))

    assert talk.say() == []
    talk.now = 1.0
    assert kinds(talk.say()) == ["results"]
    talk.now = 10.0
    assert [beat_of(request) for request in talk.say()] == [[("task-1", False)]]


def test_lease_no_longer_held_stops_the_task_and_drops_its_result() -> None:
    talk = Talk()
    talk.run(1)

    assert talk.hear(statuses(a_status(1, held=False))) == [a_key(1)]
    talk.session.finish(a_key(1), a_success(1))

    assert kinds(talk.say()) == []
    assert talk.session.idle


def test_lost_lease_of_a_task_that_has_ended_drops_the_result() -> None:
    talk = Talk()
    talk.run(1)
    talk.session.finish(a_key(1), a_success(1))

    assert talk.hear(statuses(a_status(1, held=False))) == []
    assert talk.say() == []
    assert talk.session.idle


def test_status_that_could_not_be_judged_is_asked_for_again() -> None:
    talk = Talk()
    talk.run(1)

    assert talk.hear(statuses(a_status(1, held=False, error=unavailable()))) == []

    talk.now = 0.5
    assert [beat_of(request) for request in talk.say()] == [[("task-1", False)]]


def test_refused_progress_takes_nothing_from_what_a_status_says() -> None:
    talk = Talk()
    talk.run(1)
    status = to_stop(1)
    status.error.CopyFrom(task_pb2.ItemError(code=3, reason="LIMIT_EXCEEDED"))

    heard = talk.session.receive(statuses(status), talk.now)

    assert heard.revoked == [a_key(1)]
    talk.now = 0.5
    assert talk.say() == []


def test_slot_of_an_abandoned_task_stays_taken_until_it_ends() -> None:
    talk = Talk(concurrency=2)
    talk.run(1)
    talk.hear(statuses(a_status(1, held=False)))

    assert talk.say() == [wire.WorkRequest(flow_control=wire.FlowControl(max_outstanding_tasks=1))]

    talk.session.finish(a_key(1), None)
    assert talk.say() == [wire.WorkRequest(flow_control=wire.FlowControl(max_outstanding_tasks=2))]


def test_task_lost_before_it_began_gives_its_slot_to_the_next() -> None:
    talk = Talk(concurrency=1)
    talk.hear(assignments(an_assignment(1), an_assignment(2)))
    (frame,) = talk.frames()

    assert talk.hear(statuses(a_status(1, held=False))) == []

    assert talk.session.written(frame, talk.now) == []
    assert [beat_of(request) for request in talk.say()] == [[("task-2", False)]]


def test_waiting_task_that_was_lost_is_not_begun() -> None:
    talk = Talk(concurrency=1)
    talk.run(1)
    talk.hear(assignments(an_assignment(2)))
    talk.hear(statuses(a_status(2, held=False)))

    talk.session.finish(a_key(1), a_success(1))

    assert kinds(talk.say()) == ["results"]


def test_welcome_tells_which_leases_are_lost() -> None:
    talk = Talk()
    talk.run(1, 2)

    _, lost = talk.reconnect(leases=[a_status(1, held=True), a_status(2, held=False)])

    assert lost == [a_key(2)]
    beats = talk.say()[-1]
    assert beat_of(beats) == [("task-1", False)]


def test_running_tasks_beat_right_after_welcome() -> None:
    talk = Talk()
    talk.run(1)
    talk.now = 1.0

    talk.reconnect(leases=[a_status(1, held=True)])

    assert [beat_of(request) for request in talk.say()] == [[("task-1", False)]]


def test_task_whose_first_beat_was_lost_with_the_stream_begins_on_the_next() -> None:
    talk = Talk()
    talk.hear(assignments(an_assignment(1)))
    talk.frames()  # never written

    talk.reconnect(leases=[a_status(1, held=True)])

    (frame,) = talk.frames()
    assert beat_of(frame.request) == [("task-1", False)]
    assert talk.session.written(frame, talk.now) == [a_key(1)]


def test_silent_worker_sends_an_empty_beat_at_the_interval_of_welcome() -> None:
    talk = Talk(heartbeat_interval=a_duration(8))
    assert talk.session.next_due_at() == 8.0

    talk.now = 7.9
    assert talk.say() == []
    talk.now = 8.0
    assert talk.say() == [wire.WorkRequest(beats=wire.LeaseBeats())]


@pytest.mark.parametrize(("asked_s", "kept_s"), [(3600, 20.0), (0, 10.0)])
def test_heartbeat_is_never_slower_than_every_twenty_seconds(asked_s: float, kept_s: float) -> None:
    talk = Talk(heartbeat_interval=a_duration(asked_s))

    assert talk.session.next_due_at() == kept_s


def test_anything_said_counts_as_a_heartbeat() -> None:
    talk = Talk(heartbeat_interval=a_duration(10))
    talk.now = 9.0
    talk.run(1)
    talk.hear(statuses(a_status(1, held=False)))
    talk.session.finish(a_key(1), None)
    talk.say()

    talk.now = 18.9
    assert talk.say() == []
    talk.now = 19.0
    assert talk.say() == [wire.WorkRequest(beats=wire.LeaseBeats())]


def test_beats_go_before_results() -> None:
    talk = Talk()
    talk.run(1, 2)
    talk.now = 10.0
    talk.session.finish(a_key(1), a_success(1))

    assert kinds(talk.say()) == ["beats", "results"]


def test_draining_worker_says_so_and_gives_back_what_has_not_begun() -> None:
    talk = Talk(concurrency=2)
    talk.run(1)
    talk.hear(assignments(an_assignment(2), an_assignment(3)))

    talk.session.drain()

    drain, flow_control, releases = talk.say()
    assert drain.WhichOneof("frame") == "drain"
    assert flow_control.flow_control.max_outstanding_tasks == 0
    assert [ref.task_id for ref in releases.releases.leases] == ["task-2", "task-3"]
    assert talk.session.running() == [a_key(1)]


def test_draining_worker_gives_back_what_still_arrives() -> None:
    talk = Talk()
    talk.session.drain()
    talk.say()

    talk.hear(assignments(an_assignment(1)))

    assert kinds(talk.say()) == ["releases"]
    assert not talk.session.idle
    talk.hear(release_acks(1))
    assert talk.session.idle


def test_release_that_found_the_store_away_goes_again() -> None:
    talk = Talk()
    talk.session.drain()
    talk.hear(assignments(an_assignment(1)))
    talk.say()

    talk.hear(release_acks(1, error=unavailable()))

    talk.now = 1.0
    assert kinds(talk.say()) == ["releases"]


def test_draining_is_said_again_on_a_new_stream() -> None:
    talk = Talk()
    talk.run(1)
    talk.session.drain()
    talk.say()

    hello, _ = talk.reconnect()

    assert hello.flow_control.max_outstanding_tasks == 0
    assert kinds(talk.say()) == ["drain", "beats"]


def test_unfinished_task_that_was_given_back_sends_no_result() -> None:
    talk = Talk()
    talk.run(1)
    talk.session.drain()
    talk.say()

    assert talk.session.release_unfinished() == 1
    talk.session.finish(a_key(1), a_success(1))

    assert kinds(talk.say()) == ["releases"]


def test_interrupted_task_is_given_back() -> None:
    talk = Talk()
    talk.run(1)

    talk.session.finish(a_key(1), None)

    assert kinds(talk.say()) == ["releases"]


def test_capacity_that_changed_while_a_stream_was_being_opened_is_told_on_it() -> None:
    talk = Talk(concurrency=2)
    talk.run(1)
    hello = talk.session.hello().hello
    talk.hear(statuses(a_status(1, held=False)))
    talk.say()

    talk.session.begin_stream(hello, a_welcome(), talk.now)

    assert talk.say() == [wire.WorkRequest(flow_control=wire.FlowControl(max_outstanding_tasks=1))]


def test_server_drain_and_drained_are_passed_on() -> None:
    talk = Talk()

    assert talk.session.receive(wire.WorkResponse(server_drain=wire.ServerDrain()), 0.0).server_drain
    assert not talk.session.drained
    talk.hear(wire.WorkResponse(drained=wire.Drained()))
    assert talk.session.drained


@pytest.mark.parametrize("message", [wire.WorkResponse(), statuses(), wire.WorkResponse(welcome=a_welcome())])
def test_keepalives_and_frames_out_of_place_change_nothing(message: wire.WorkResponse) -> None:
    talk = Talk()

    assert talk.hear(message) == []
    assert talk.say() == []
    assert talk.session.idle


def test_answers_about_leases_that_are_not_held_are_ignored() -> None:
    talk = Talk()

    talk.hear(result_acks(9))
    talk.hear(release_acks(9))

    assert talk.hear(statuses(a_status(9, held=False))) == []
    assert talk.say() == []


def test_running_task_is_asked_to_stop_once_however_often_the_server_says_so() -> None:
    talk = Talk()
    talk.run(1, 2)

    asked = [talk.session.receive(statuses(to_stop(1), a_status(2, held=True)), talk.now) for _ in range(2)]

    assert [heard.revoked for heard in asked] == [[a_key(1)], []]
    assert [heard.lost for heard in asked] == [[], []]
    assert (talk.session.is_revoked(a_key(1)), talk.session.is_revoked(a_key(2))) == (True, False)
    assert talk.session.running() == [a_key(1), a_key(2)]


def test_task_that_is_to_stop_before_its_code_runs_is_noted() -> None:
    talk = Talk()
    talk.hear(assignments(an_assignment(1)))
    frames = talk.frames()

    heard = talk.session.receive(statuses(to_stop(1)), talk.now)
    talk.session.written(frames[0], talk.now)

    assert heard.revoked == []
    assert talk.session.is_revoked(a_key(1))


def test_welcome_says_which_running_tasks_are_to_stop() -> None:
    talk = Talk()
    talk.run(1)
    hello = talk.session.hello().hello

    heard = talk.session.begin_stream(hello, a_welcome(leases=[to_stop(1)]), talk.now)

    assert heard.revoked == [a_key(1)]


def test_task_of_another_worker_that_is_to_stop_is_no_news() -> None:
    talk = Talk()

    heard = talk.session.receive(statuses(to_stop(7)), talk.now)

    assert (heard.revoked, talk.session.is_revoked(a_key(7))) == ([], False)
