from tailrace.v1 import task_pb2
from tailrace.v1 import worker_service_pb2 as wire
from tailrace.worker._outbox import MAX_RESULT_FRAME_BYTES, Outbox
from tests.unit.worker.messages import a_key, a_success

LARGE = 16 * 1024 * 1024


def an_outbox() -> Outbox:
    return Outbox(retry_pause_s=float)  # the first pause is 1 s, the second 2 s


def taken(outbox: Outbox, now: float = 0.0, max_frame_bytes: int = LARGE) -> list[str]:
    frame = outbox.take_results(now, max_frame_bytes)
    return [result.lease.task_id for result in frame.results] if frame else []


def test_results_go_in_the_order_in_which_they_came() -> None:
    outbox = an_outbox()
    outbox.put_result(a_success(2))
    outbox.put_result(a_success(1))

    assert taken(outbox) == ["task-2", "task-1"]
    assert taken(outbox) == []


def test_result_is_kept_until_it_is_acknowledged() -> None:
    outbox = an_outbox()
    outbox.put_result(a_success(1))
    taken(outbox)

    assert len(outbox) == 1
    assert outbox.drop(a_key(1)) is True
    assert len(outbox) == 0
    assert outbox.drop(a_key(1)) is False


def test_what_was_not_acknowledged_goes_again_on_a_new_stream() -> None:
    outbox = an_outbox()
    outbox.put_result(a_success(1))
    outbox.put_result(a_success(2))
    outbox.put_release(a_key(3))
    taken(outbox)
    outbox.take_releases(0.0)
    outbox.drop(a_key(1))

    outbox.resend_all()

    assert taken(outbox) == ["task-2"]
    assert outbox.take_releases(0.0) == wire.LeaseReleases(leases=[a_key(3).to_wire()])


def test_postponed_result_goes_again_after_a_pause_that_grows() -> None:
    outbox = an_outbox()
    outbox.put_result(a_success(1))
    taken(outbox)

    outbox.postpone(a_key(1), now=10.0)
    assert outbox.next_due_at() == 11.0
    assert taken(outbox, now=10.9) == []
    assert taken(outbox, now=11.0) == ["task-1"]

    outbox.postpone(a_key(1), now=20.0)
    assert taken(outbox, now=21.9) == []
    assert taken(outbox, now=22.0) == ["task-1"]


def test_new_stream_does_not_wait_for_a_pause() -> None:
    outbox = an_outbox()
    outbox.put_result(a_success(1))
    taken(outbox)
    outbox.postpone(a_key(1), now=0.0)

    outbox.resend_all()

    assert taken(outbox, now=0.0) == ["task-1"]
    assert outbox.next_due_at() is None


def test_frame_of_results_stays_under_three_mebibytes() -> None:
    outbox = an_outbox()
    for number in range(4):
        outbox.put_result(a_success(number, b"x" * (1024 * 1024)))

    sizes = []
    while frame := outbox.take_results(0.0, LARGE):
        sizes.append((len(frame.results), frame.ByteSize() < MAX_RESULT_FRAME_BYTES))

    assert sizes == [(2, True), (2, True)]


def test_frame_holds_at_most_a_thousand_results() -> None:
    outbox = an_outbox()
    for number in range(1001):
        outbox.put_result(a_success(number))

    assert [len(taken(outbox)), len(taken(outbox))] == [1000, 1]


def test_result_larger_than_a_frame_goes_alone() -> None:
    outbox = an_outbox()
    outbox.put_result(a_success(1))
    outbox.put_result(a_success(2, b"x" * (4 * 1024 * 1024)))
    outbox.put_result(a_success(3))

    assert [taken(outbox), taken(outbox), taken(outbox)] == [["task-1"], ["task-2"], ["task-3"]]


def test_result_that_the_server_cannot_read_becomes_a_failure() -> None:
    outbox = an_outbox()
    outbox.put_result(a_success(1, b"x" * 2000))

    frame = outbox.take_results(0.0, 1000)

    assert frame is not None
    assert frame.ByteSize() < 1000
    result = frame.results[0]
    assert result.lease == a_key(1).to_wire()
    assert result.failure.kind == task_pb2.FAILURE_KIND_SYSTEM
    assert result.failure.type == "ResultTooLarge"
    assert result.failure.non_retryable
    assert "1000" in result.failure.message


def test_result_that_just_fits_the_servers_limit_is_sent_whole() -> None:
    limit = 5 * 1024 * 1024
    outbox = an_outbox()
    outbox.put_result(a_success(1, b"x" * (limit - 200)))

    frame = outbox.take_results(0.0, limit)

    assert frame is not None
    assert frame.results[0].HasField("success")
    assert wire.WorkRequest(results=frame).ByteSize() <= limit
