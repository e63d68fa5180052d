"""The synchronous client against a real server: what becomes of a task."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from tailrace.client import (
    Client,
    InvalidRequestError,
    LimitExceededError,
    PayloadError,
    RetryPolicy,
    TaskFailedError,
    TaskIdConflictError,
    TaskNotFoundError,
    TaskRevokedError,
    TaskState,
    WaitTimeoutError,
)
from tailrace.client._task_id import new_task_id
from tailrace.testing import run_server
from tailrace.v1.task_pb2 import Payload
from tests.integration.hand_worker import TRACEBACK, HandWorker, arguments_of


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with run_server() as server:
        yield server.address


@pytest.fixture
def client(address: str) -> Iterator[Client]:
    with Client(address, call_timeout=20) as connected:
        yield connected


@pytest.fixture
def worker(address: str) -> Iterator[HandWorker]:
    worker = HandWorker(address)
    yield worker
    worker.close()


def test_a_task_returns_its_value(client: Client, worker: HandWorker) -> None:
    result = client.submit("add", 10, y=20)
    assignment = worker.take()
    worker.succeed(assignment, 30)

    assert arguments_of(assignment) == {"args": [10], "kwargs": {"y": 20}}
    assert result.get(timeout=10) == 30
    assert (result.state, result.ready(), result.successful(), result.failed()) == ("SUCCESS", True, True, False)
    assert (result.result, result.traceback) == (30, None)


def test_a_task_goes_through_its_states(client: Client, worker: HandWorker) -> None:
    result = client.submit("add", 1, 2)

    states = [result.state]
    assignment = worker.take()
    states.append(result.state)
    assert (result.ready(), result.successful(), result.failed(), result.result) == (False, False, False, None)
    worker.succeed(assignment, 3)
    states.append(result.state)

    assert states == [TaskState.PENDING, TaskState.STARTED, TaskState.SUCCESS]


def test_a_waiting_thread_is_told_the_moment_the_task_is_done(client: Client, worker: HandWorker) -> None:
    result = client.submit("add", 1, 2)
    assignment = worker.take()
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(result.get, 20)
        worker.succeed(assignment, 3)

        assert waiting.result(10) == 3


def test_a_task_that_raised_a_builtin_raises_it_here(client: Client, worker: HandWorker) -> None:
    result = client.submit("divide", 1, 0)
    worker.fail(worker.take(), type="ZeroDivisionError", message="division by zero")

    with pytest.raises(ZeroDivisionError, match=r"^division by zero$") as caught:
        result.get(timeout=10)

    assert isinstance(caught.value.__cause__, TaskFailedError)
    assert caught.value.__cause__.traceback == TRACEBACK
    assert (result.state, result.failed(), result.successful()) == ("FAILURE", True, False)
    assert result.traceback == TRACEBACK
    assert isinstance(result.result, ZeroDivisionError)


def test_a_failure_of_another_language_is_a_failed_task(client: Client, worker: HandWorker) -> None:
    result = client.submit("charge", 1)
    worker.fail(worker.take(), type="com.acme.PaymentDeclined", message="card expired")

    with pytest.raises(TaskFailedError) as caught:
        result.get(timeout=10)

    assert str(caught.value) == "com.acme.PaymentDeclined: card expired"
    assert (caught.value.kind, caught.value.task_id) == ("APPLICATION", result.id)


class DeclinedError(Exception):
    pass


def test_a_registered_exception_is_raised_as_itself(client: Client, worker: HandWorker) -> None:
    client.register_exception(DeclinedError, name="com.acme.PaymentDeclined")
    result = client.submit("charge", 1)
    worker.fail(worker.take(), type="com.acme.PaymentDeclined", message="card expired")

    with pytest.raises(DeclinedError, match="card expired"):
        result.get(timeout=10)


def test_a_revoked_task_raises_that_and_did_not_fail(client: Client, worker: HandWorker) -> None:
    result = client.submit("add", 1, 2)
    worker.revoke(worker.take(), "no longer wanted")

    with pytest.raises(TaskRevokedError, match="no longer wanted"):
        result.get(timeout=10)

    assert (result.state, result.failed(), result.ready()) == ("REVOKED", False, True)


def test_a_task_that_returns_nothing_returns_none(client: Client, worker: HandWorker) -> None:
    result = client.submit("log", "a line")
    worker.succeed_with(worker.take(), Payload())

    assert result.get(timeout=10) is None
    assert result.successful()


def test_a_value_that_is_no_json_is_refused_by_its_type(client: Client, worker: HandWorker) -> None:
    result = client.submit("render", 1)
    worker.succeed_with(worker.take(), Payload(content_type="image/png", data=b"\x89PNG"))

    with pytest.raises(PayloadError, match="image/png"):
        result.get(timeout=10)
    assert result.wait() is TaskState.SUCCESS


def test_a_wait_that_timed_out_can_be_repeated(client: Client, worker: HandWorker) -> None:
    result = client.submit("add", 1, 2)
    assignment = worker.take()

    with pytest.raises(WaitTimeoutError, match=result.id):
        result.get(timeout=0.2)
    with pytest.raises(TimeoutError):
        result.get(timeout=timedelta(0))
    worker.succeed(assignment, 3)

    assert result.get(timeout=10) == 3


def test_a_wait_of_no_time_sees_what_is_done(client: Client, worker: HandWorker) -> None:
    result = client.submit("add", 1, 2)
    worker.succeed(worker.take(), 3)

    assert client.result(result.id).get(timeout=0) == 3


def test_a_result_is_found_again_by_its_id(client: Client, address: str, worker: HandWorker) -> None:
    task_id = client.submit("add", 1, 2).id
    worker.succeed(worker.take(), 3)

    with Client(address) as another:
        assert another.result(task_id).get(timeout=10) == 3


def test_an_id_nobody_submitted_is_unknown_whatever_is_asked(client: Client) -> None:
    result = client.result("nobody-submitted-this")

    for question in (
        result.get,
        result.wait,
        result.ready,
        result.successful,
        result.failed,
        lambda: result.state,
        lambda: result.result,
        lambda: result.traceback,
    ):
        with pytest.raises(TaskNotFoundError) as caught:
            question()
        assert caught.value.task_id == "nobody-submitted-this"


def test_a_retried_task_shows_its_latest_failure_while_it_goes_on(client: Client, worker: HandWorker) -> None:
    policy = RetryPolicy(max_attempts=2, initial_backoff=timedelta(0))
    result = client.options(retry=policy).submit("flaky")
    worker.fail(worker.take())

    assert result.state is TaskState.RETRY
    assert result.traceback == TRACEBACK
    worker.succeed(worker.take(), "at last")
    assert result.get(timeout=10) == "at last"
    assert result.traceback is None


def test_a_failure_the_policy_excludes_is_not_retried(client: Client, worker: HandWorker) -> None:
    policy = RetryPolicy(max_attempts=5, non_retryable_types=(ValueError,))
    result = client.options(retry=policy).submit("picky")
    worker.fail(worker.take())

    with pytest.raises(ValueError, match="no"):
        result.get(timeout=10)


def test_options_reach_the_worker(client: Client, address: str) -> None:
    slow = HandWorker(address, queue="slow")
    client.options(queue="slow", priority=3, headers={"tenant": "acme"}, lease_duration=timedelta(seconds=7)).submit(
        "a"
    )

    spec = slow.take().spec
    slow.close()

    assert (spec.queue, spec.priority, dict(spec.headers)) == ("slow", 3, {"tenant": "acme"})
    assert spec.lease_duration.ToTimedelta() == timedelta(seconds=7)


def test_a_result_that_is_not_kept_leaves_the_end(client: Client, worker: HandWorker) -> None:
    result = client.options(result_ttl=timedelta(0)).submit("add", 1, 2)
    worker.succeed(worker.take(), 3)

    assert result.get(timeout=10) is None
    assert result.successful()


def test_the_same_submission_under_the_same_id_is_one_task(client: Client, worker: HandWorker) -> None:
    options = client.options(task_id=new_task_id())
    first = options.submit("add", 1, 2)
    worker.succeed(worker.take(), 3)

    again = options.submit("add", 1, 2)

    assert again.id == first.id
    assert again.get(timeout=10) == 3


def test_an_id_taken_by_another_task_is_refused_unless_that_one_will_do(client: Client, worker: HandWorker) -> None:
    task_id = new_task_id()
    client.options(task_id=task_id).submit("add", 1, 2)

    with pytest.raises(TaskIdConflictError) as caught:
        client.options(task_id=task_id).submit("add", 5, 6)
    existing = client.options(task_id=task_id, return_existing=True).submit("add", 5, 6)
    worker.succeed(worker.take(), 3)

    assert caught.value.task_id == task_id
    assert existing.get(timeout=10) == 3


@pytest.mark.parametrize(
    ("task_type", "options"),
    [
        ("no spaces", {}),
        ("", {}),
        ("add", {"queue": "{}"}),
        ("add", {"priority": 10}),
        ("add", {"delay": timedelta(seconds=-1)}),
        ("add", {"task_id": "a\nb"}),
        ("add", {"result_ttl": timedelta(days=365)}),
    ],
)
def test_what_is_malformed_is_refused_and_named(client: Client, task_type: str, options: dict[str, object]) -> None:
    with pytest.raises(InvalidRequestError):
        client.options(**options).submit(task_type)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [3 * 1024 * 1024, 20 * 1024 * 1024])
def test_arguments_that_are_too_large_exceed_a_limit(client: Client, size: int) -> None:
    with pytest.raises(LimitExceededError):
        client.submit("store", "x" * size)


def test_the_server_tells_its_limits(client: Client) -> None:
    info = client.server_info()

    assert info.max_wait_targets == 1000
    assert info.max_batch_size == 1000
    assert info.min_lease_duration == timedelta(seconds=2)
    assert info.default_result_ttl == timedelta(hours=24)


def test_many_tasks_are_submitted_at_once_and_yielded_as_they_are_done(client: Client, worker: HandWorker) -> None:
    results = client.map("square", [(number,) for number in range(20)])
    with ThreadPoolExecutor(1) as threads:
        working = threads.submit(worker.work_through, 20)
        done = list(client.as_completed(results, timeout=30))
        working.result(30)

    assert {result.id for result in done} == {result.id for result in results}
    assert [result.get() for result in results] == [number * number for number in range(20)]


def test_what_is_done_and_what_is_unknown_need_not_be_waited_for(client: Client, worker: HandWorker) -> None:
    done, unknown, open_ = client.submit("a"), client.result("unknown"), client.options(queue="never").submit("b")
    worker.succeed(worker.take(), 1)
    done.wait(10)
    completed = client.as_completed([open_, unknown, done, done], timeout=0.3)

    assert [next(completed), next(completed), next(completed)] == [done, done, unknown]
    with pytest.raises(WaitTimeoutError, match=open_.id):
        next(completed)


def test_nothing_to_wait_for_is_over_at_once(client: Client) -> None:
    assert client.map("square", []) == []
    assert list(client.as_completed([])) == []


def test_more_tasks_than_a_stream_or_a_batch_takes(client: Client, address: str) -> None:
    results = client.options(queue="never").map("square", [(number,) for number in range(2100)])

    assert len({result.id for result in results}) == 2100
    with pytest.raises(WaitTimeoutError):
        list(client.as_completed(results, timeout=0.5))
    assert results[2099].state is TaskState.PENDING
