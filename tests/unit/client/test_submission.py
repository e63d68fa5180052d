"""What a caller says about a task, as a request."""

import json
from datetime import UTC, datetime, timedelta, timezone

import grpc
import pytest

from tailrace.client import PayloadError, RetryPolicy
from tailrace.client._batches import Chunk, by_index, chunks, submit_requests
from tailrace.client._conversion import Conversion
from tailrace.client._options import SubmitOptions
from tailrace.client._status import CallStatus
from tailrace.client._submission import submit_request
from tailrace.v1.task_pb2 import ItemError, TaskSpec
from tailrace.v1.task_service_pb2 import SubmitItem, SubmitRequest, SubmitResponse

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
TOKYO = timezone(timedelta(hours=9))
UNAVAILABLE = CallStatus(code=grpc.StatusCode.UNAVAILABLE, message="gone")


class Decorated:
    task_type = "math.add"
    default_queue = "math"

    def __call__(self, x: int, y: int) -> int:
        return x + y


add = Decorated()


def test_a_plain_submission_leaves_everything_to_its_default() -> None:
    request = submit_request("add", (1, 2), {"z": 3}, SubmitOptions(task_id="t1"), Conversion())

    assert json.loads(request.spec.input.data) == {"args": [1, 2], "kwargs": {"z": 3}}
    request.spec.ClearField("input")
    assert request == SubmitRequest(task_id="t1", spec=TaskSpec(task_type="add"))


def test_every_option_is_in_the_request() -> None:
    options = SubmitOptions(
        queue="slow",
        priority=5,
        delay=timedelta(minutes=1),
        start_within=timedelta(minutes=2),
        execution_timeout=timedelta(minutes=3),
        total_timeout=timedelta(minutes=4),
        retry=RetryPolicy(max_attempts=3),
        lease_duration=timedelta(seconds=10),
        result_ttl=timedelta(0),
        labels={"customer": "7"},
        headers={"tenant": "acme"},
        task_id="t1",
        parent_task_id="t0",
        return_existing=True,
    )

    request = submit_request("add", (), {}, options, Conversion())

    assert (request.task_id, request.parent_task_id, request.return_existing) == ("t1", "t0", True)
    spec = request.spec
    assert (spec.queue, spec.priority, dict(spec.headers)) == ("slow", 5, {"tenant": "acme"})
    assert dict(spec.labels) == {"customer": "7"}
    assert spec.start_delay.ToTimedelta() == timedelta(minutes=1)
    assert spec.start_within.ToTimedelta() == timedelta(minutes=2)
    assert spec.execution_timeout.ToTimedelta() == timedelta(minutes=3)
    assert spec.total_timeout.ToTimedelta() == timedelta(minutes=4)
    assert spec.lease_duration.ToTimedelta() == timedelta(seconds=10)
    assert spec.HasField("result_ttl")
    assert spec.result_ttl.ToTimedelta() == timedelta(0)
    assert spec.retry_policy.max_attempts == 3
    assert not spec.HasField("schedule_time")
    assert not spec.HasField("start_deadline")


def test_points_in_time_are_in_the_request_whatever_their_zone() -> None:
    options = SubmitOptions(schedule_time=NOON.astimezone(TOKYO), start_deadline=NOON + timedelta(microseconds=1))

    spec = submit_request("add", (), {}, options, Conversion()).spec

    assert spec.schedule_time.ToDatetime(tzinfo=UTC) == NOON
    assert spec.start_deadline.ToDatetime(tzinfo=UTC) == NOON + timedelta(microseconds=1)
    assert not spec.HasField("start_delay")
    assert not spec.HasField("start_within")


def test_a_submission_without_an_id_gets_one_of_its_own() -> None:
    made = {submit_request("add", (), {}, SubmitOptions(), Conversion()).task_id for _ in range(3)}

    assert len(made) == 3
    assert all(made)


def test_a_decorated_function_stands_for_its_type_and_its_queue() -> None:
    spec = submit_request(add, (1, 2), {}, SubmitOptions(), Conversion()).spec

    assert (spec.task_type, spec.queue) == ("math.add", "math")


def test_the_submitters_queue_goes_before_the_functions() -> None:
    assert submit_request(add, (), {}, SubmitOptions(queue="urgent"), Conversion()).spec.queue == "urgent"


def test_a_function_without_a_task_type_is_refused_with_what_to_do() -> None:
    with pytest.raises(TypeError, match=r"@worker\.task"):
        submit_request(len, (), {}, SubmitOptions(), Conversion())  # type: ignore[arg-type]


def test_items_of_a_batch_are_submissions_in_order() -> None:
    requests = submit_requests("add", [(1, 2), [3, 4]], SubmitOptions(queue="q"), Conversion())

    assert [json.loads(request.spec.input.data)["args"] for request in requests] == [[1, 2], [3, 4]]
    assert {request.spec.queue for request in requests} == {"q"}
    assert requests[0].task_id < requests[1].task_id


def test_an_item_that_is_no_tuple_is_refused_by_its_place() -> None:
    with pytest.raises(TypeError, match="item 1 is a str"):
        submit_requests("greet", [("Ada",), "Bob"], SubmitOptions(), Conversion())


def test_an_argument_that_cannot_be_carried_is_named_with_its_item() -> None:
    with pytest.raises(PayloadError, match=r"^item 1: args\[0\] is a complex") as caught:
        submit_requests("greet", [("Ada",), (1j,)], SubmitOptions(), Conversion())

    assert caught.value.path == "[1].args[0]"


def test_items_cannot_share_one_task_id() -> None:
    with pytest.raises(ValueError, match="task_id"):
        submit_requests("greet", [("Ada",)], SubmitOptions(task_id="t1"), Conversion())


def a_request(task_id: str, size: int = 0) -> SubmitRequest:
    request = SubmitRequest(task_id=task_id, spec=TaskSpec(task_type="t"))
    request.spec.input.data = b"x" * size
    return request


def test_a_batch_is_cut_at_a_thousand_items() -> None:
    cut = list(chunks([a_request(str(number)) for number in range(2001)]))

    assert [len(part) for part in cut] == [1000, 1000, 1]
    assert [request.task_id for part in cut for request in part] == [str(number) for number in range(2001)]


def test_a_batch_is_cut_before_it_is_too_large_and_a_giant_goes_alone() -> None:
    sizes = [1_700_000, 1_700_000, 1_700_000, 9_000_000, 1]

    cut = list(chunks([a_request(str(index), size) for index, size in enumerate(sizes)]))

    assert [[request.task_id for request in part] for part in cut] == [["0", "1"], ["2"], ["3"], ["4"]]


def test_no_items_are_no_calls() -> None:
    assert list(chunks([])) == []


def accepted(task_id: str) -> SubmitItem:
    return SubmitItem(task_id=task_id, submitted=SubmitResponse(created=True))


def refused(
    task_id: str, code: grpc.StatusCode = grpc.StatusCode.INVALID_ARGUMENT, reason: str = "INVALID_REQUEST"
) -> SubmitItem:
    return SubmitItem(task_id=task_id, error=ItemError(code=code.value[0], reason=reason, message=f"no {task_id}"))


def test_a_batch_whose_items_were_all_answered_is_settled() -> None:
    chunk = Chunk([a_request("a"), a_request("b")])

    assert chunk.settle([accepted("a"), refused("b")]) is None
    assert {task_id: type(error).__name__ for task_id, error in chunk.errors.items()} == {"b": "InvalidRequestError"}
    assert chunk.errors["b"].task_id == "b"


def test_items_the_store_did_not_answer_for_are_sent_again_alone() -> None:
    chunk = Chunk([a_request("a"), a_request("b")])

    status = chunk.settle([accepted("a"), refused("b", grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")])

    assert status is not None
    assert status.reason == "STORE_UNAVAILABLE"
    assert [request.task_id for request in chunk.call().requests] == ["b"]
    assert chunk.errors == {}


def test_giving_up_keeps_what_each_item_was_told() -> None:
    chunk = Chunk([a_request("a"), a_request("b"), a_request("c")])
    chunk.settle([accepted("a"), refused("b", grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")])

    chunk.give_up(UNAVAILABLE)

    assert {task_id: type(error).__name__ for task_id, error in chunk.errors.items()} == {
        "b": "StoreUnavailableError",
        "c": "ServerUnavailableError",
    }


def test_an_item_that_was_left_out_of_the_answer_is_not_taken_for_accepted() -> None:
    chunk = Chunk([a_request("a"), a_request("b")])

    status = chunk.settle([accepted("a")])

    assert status is not None
    chunk.give_up(status)
    assert set(chunk.errors) == {"b"}


def test_errors_are_numbered_by_the_items_they_belong_to() -> None:
    error = PayloadError("no")

    assert by_index([a_request("a"), a_request("b")], {"b": error}) == {1: error}
