"""What a task learns of its attempt, and what it may say of its progress."""

import contextvars
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tailrace.client import PayloadError
from tailrace.client._payload import decode_value, encode_value
from tailrace.v1 import task_pb2
from tailrace.v1 import worker_service_pb2 as wire
from tailrace.worker import CurrentTask, Progress, Worker, current_task
from tailrace.worker._execution import Execution
from tests.unit.worker.messages import a_duration, a_key, an_assignment

T = Any


class Listener:
    """Runs functions as tasks and keeps what they say of their progress."""

    def __init__(self) -> None:
        self.heard: list[task_pb2.Progress] = []

    def run(self, function: Callable[[], T], assignment: wire.Assignment | None = None) -> T:
        values: list[T] = []
        task = Worker().task(name="add")(lambda: values.append(function()))
        execution = Execution(
            a_key(), assignment or an_assignment(), task, lambda _, __: None, on_progress=self.heard.append
        )
        result = contextvars.Context().run(execution.run)
        assert result.WhichOneof("outcome") == "success", result.failure.traceback
        return values[0]


def after(progress: task_pb2.Progress) -> wire.Assignment:
    assignment = an_assignment(attempt=2)
    assignment.last_progress.CopyFrom(progress)
    return assignment


def test_first_attempt_finds_no_progress_and_no_checkpoint() -> None:
    assert Listener().run(lambda: (current_task().last_progress, current_task().checkpoint)) == (None, None)


def test_later_attempt_finds_what_the_earlier_one_left() -> None:
    left = task_pb2.Progress(current=3, total=9, message="rows", details=encode_value({"row": 3}))

    last, checkpoint = Listener().run(lambda: (current_task().last_progress, current_task().checkpoint), after(left))

    assert last == Progress.from_wire(left)
    assert checkpoint == {"row": 3}


def test_total_that_was_not_known_is_none() -> None:
    last = Listener().run(lambda: current_task().last_progress, after(task_pb2.Progress(current=3)))

    assert (last.current, last.total, last.message) == (3, None, "")


def test_checkpoint_is_a_fresh_copy_every_time() -> None:
    def change_it() -> Any:
        current_task().checkpoint.append(2)
        return current_task().checkpoint

    assert Listener().run(change_it, after(task_pb2.Progress(details=encode_value([1])))) == [1]


def test_checkpoint_that_is_not_json_is_refused_where_it_is_asked_for() -> None:
    foreign = task_pb2.Payload(content_type="application/protobuf", data=b"\x01")

    def ask() -> str:
        with pytest.raises(PayloadError, match="application/protobuf") as caught:
            _ = current_task().checkpoint
        return str(caught.value.path)

    assert Listener().run(ask, after(task_pb2.Progress(details=foreign))) == "details"


def test_labels_are_there_and_read_only() -> None:
    spec = task_pb2.TaskSpec(task_type="add", labels={"tenant": "acme"})

    labels = Listener().run(lambda: current_task().labels, an_assignment(spec=spec))

    assert dict(labels) == {"tenant": "acme"}
    with pytest.raises(TypeError):
        labels["tenant"] = "other"


def test_time_left_is_what_the_execution_timeout_leaves() -> None:
    spec = task_pb2.TaskSpec(task_type="add", execution_timeout=a_duration(60))

    deadline, left = Listener().run(
        lambda: (current_task().deadline, current_task().time_left), an_assignment(spec=spec)
    )

    assert deadline is not None
    assert timedelta(seconds=50) < left <= timedelta(seconds=60)


def test_task_without_execution_timeout_has_no_deadline() -> None:
    assert Listener().run(lambda: (current_task().deadline, current_task().time_left)) == (None, None)


def test_no_time_is_left_after_the_deadline() -> None:
    task = CurrentTask(id="1", task_type="add", queue="default", attempt=1, headers={}, parent_task_id=None, deadline=0)

    assert task.time_left == timedelta(0)


def test_progress_is_passed_on_as_it_was_said() -> None:
    listener = Listener()

    listener.run(lambda: current_task().progress(3, 9, "rows", checkpoint={"row": 3}))
    listener.run(lambda: current_task().progress(4))

    assert listener.heard == [
        task_pb2.Progress(current=3, total=9, message="rows", details=encode_value({"row": 3})),
        task_pb2.Progress(current=4),
    ]


def test_checkpoint_stays_until_another_one_is_said() -> None:
    listener = Listener()

    def say() -> None:
        for number, checkpoint in enumerate([None, {"row": 7}, None, {}]):
            current_task().progress(number, checkpoint=checkpoint)

    listener.run(say, after(task_pb2.Progress(details=encode_value({"row": 5}))))

    assert [decode_value(progress.details) for progress in listener.heard] == [{"row": 5}, {"row": 7}, {"row": 7}, {}]


def test_values_at_their_limits_are_taken() -> None:
    listener = Listener()

    listener.run(lambda: current_task().progress(2**63 - 1, 0, "é" * 512, checkpoint="x" * (16 * 1024 - 2)))

    assert (len(listener.heard[0].message.encode()), len(listener.heard[0].details.data)) == (1024, 16 * 1024)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"current": 2**63}, "current must be from 0 to 9223372036854775807, not 9223372036854775808"),
        ({"current": -1}, "current must be from 0 to"),
        ({"current": 1, "total": -1}, "total must be from 0 to"),
        ({"current": 1, "message": "é" * 513}, "message takes 1026 bytes, at most 1024 are kept"),
        (
            {"current": 1, "checkpoint": "x" * (16 * 1024 - 1)},
            "checkpoint takes 16385 bytes as it is sent, at most 16384",
        ),
    ],
)
def test_progress_over_a_limit_is_refused_where_it_is_said_naming_the_limit(said: dict[str, Any], told: str) -> None:
    listener = Listener()

    def say() -> None:
        with pytest.raises(ValueError, match=told):
            current_task().progress(**said)

    listener.run(say)

    assert listener.heard == []


@pytest.mark.parametrize(("name", "units"), [("current", 0.5), ("total", 1.0), ("current", True)])
def test_units_are_whole_numbers(name: str, units: object) -> None:
    def say() -> None:
        with pytest.raises(TypeError, match=f"{name} must be an int"):
            current_task().progress(**{"current": 1, name: units})  # type: ignore[arg-type]

    Listener().run(say)


def test_checkpoint_that_json_cannot_carry_is_refused_by_its_place() -> None:
    def say() -> str:
        with pytest.raises(PayloadError, match=r"^checkpoint\.rows\[1\] is a object") as caught:
            current_task().progress(1, checkpoint={"rows": [1, object()]})
        return str(caught.value.path)

    assert Listener().run(say) == "checkpoint.rows[1]"


def test_refused_progress_leaves_the_checkpoint_as_it_was() -> None:
    listener = Listener()

    def say() -> None:
        current_task().progress(1, checkpoint="kept")
        with pytest.raises(ValueError, match="checkpoint takes"):
            current_task().progress(2, checkpoint="x" * 20_000)
        current_task().progress(3)

    listener.run(say)

    assert [decode_value(progress.details) for progress in listener.heard] == ["kept", "kept"]
