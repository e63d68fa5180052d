import inspect
import pickle
import threading
from datetime import timedelta

import pytest

from tailrace.v1.task_pb2 import Payload
from tailrace.worker import RetryPolicy, Task, Worker
from tailrace.worker._task import ExecutorName


def test_decorated_function_can_be_called_as_before() -> None:
    worker = Worker()

    @worker.task
    def add(x: int, y: int) -> int:
        """Add two numbers."""
        return x + y

    assert add(1, y=2) == 3
    assert add.__doc__ == "Add two numbers."
    assert list(inspect.signature(add).parameters) == ["x", "y"]


def test_function_name_is_the_task_type_unless_another_is_given() -> None:
    worker = Worker()

    @worker.task
    def add() -> None: ...

    @worker.task()
    def subtract() -> None: ...

    @worker.task(name="billing.charge")
    def charge() -> None: ...

    assert [add.task_type, subtract.task_type, charge.task_type] == ["add", "subtract", "billing.charge"]


def test_declared_options_are_kept() -> None:
    policy = RetryPolicy(max_attempts=3, initial_backoff=timedelta(seconds=2))

    task = Worker().task(retry=policy, queue="slow")(max)

    assert (task.retry, task.default_queue, task.function) == (policy, "slow", max)


def test_task_without_options_leaves_everything_to_others() -> None:
    task = Worker().task(max)

    assert (task.retry, task.default_queue) == (None, None)


def test_coroutine_functions_run_on_the_event_loop_and_others_in_threads() -> None:
    worker = Worker()

    @worker.task
    async def fetch() -> None: ...

    @worker.task
    def compute() -> None: ...

    @worker.task(executor="asyncio")
    def quick() -> None: ...

    assert [fetch.executor, compute.executor, quick.executor] == ["asyncio", "thread", "asyncio"]


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_coroutine_function_is_refused_by_other_executors(executor: ExecutorName) -> None:
    async def fetch() -> None: ...

    with pytest.raises(ValueError, match="coroutine function"):
        Worker().task(executor=executor)(fetch)


def test_function_that_a_child_process_could_not_import_is_refused_by_the_process_executor() -> None:
    def local() -> None: ...

    with pytest.raises(ValueError, match=r"local.* is not at the top level of a module"):
        Worker().task(executor="process")(local)


def at_the_top() -> None: ...


class Reversed:
    content_encoding = "reversed"
    lock: object = None

    def encode(self, data: bytes) -> bytes:
        return data[::-1]

    def decode(self, data: bytes) -> bytes:
        return data[::-1]


def test_task_arrives_in_a_child_process_with_all_its_options() -> None:
    policy = RetryPolicy(max_attempts=3)
    task = Worker(codecs=[Reversed()]).task(
        name="up",
        retry=policy,
        retry_on=OSError,
        dont_retry_on=KeyError,
        executor="process",
        queue="slow",
        content_type="application/msgpack",
    )(at_the_top)

    arrived = pickle.loads(pickle.dumps(task))

    options = [name for name in inspect.signature(Task.__init__).parameters if name not in {"self", "function"}]
    assert sorted(task.__reduce__()[1][1]) == sorted(options)
    assert (arrived.function, arrived.task_type, arrived.retry) == (at_the_top, "up", policy)
    assert (arrived.curable, arrived.executor, arrived.default_queue) == (task.curable, "process", "slow")
    assert arrived.content_type == "application/msgpack"
    assert arrived.codecs.encode(Payload(data=b"abc"), path="result").data == b"cba"


def test_codec_that_cannot_be_pickled_is_refused_by_the_process_executor_alone() -> None:
    codec = Reversed()
    codec.lock = threading.Lock()
    worker = Worker(codecs=[codec])

    worker.task(name="here")(at_the_top)
    with pytest.raises(ValueError, match=r"codec 'reversed' cannot be pickled.*child processes.*lock"):
        worker.task(executor="process")(at_the_top)


@Worker().task(executor="process")
def decorated() -> int:
    return 7


def test_task_that_has_taken_its_functions_name_is_found_by_it() -> None:
    assert pickle.loads(pickle.dumps(decorated)).function is decorated.function


def test_unknown_executor_is_refused() -> None:
    with pytest.raises(ValueError, match="asyncio, thread, process"):
        Worker().task(executor="fiber")(max)  # type: ignore[call-overload]


def test_second_task_of_one_type_is_refused_naming_the_first() -> None:
    worker = Worker()
    worker.task(name="add")(max)

    with pytest.raises(ValueError, match=r"'add' is taken by builtins\.max"):
        worker.task(name="add")(min)


@pytest.mark.parametrize("name", ["", "_private", "has space", "a" * 129, "brace{}", "new\nline", "add\n"])
def test_name_that_is_no_task_type_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="give the task a name="):
        Worker().task(name=name)(max)


def test_lambda_needs_a_name() -> None:
    with pytest.raises(ValueError, match="<lambda>"):
        Worker().task(lambda: None)


def test_what_cannot_be_called_is_no_task() -> None:
    with pytest.raises(TypeError, match="made from a function"):
        Worker().task("add")  # type: ignore[call-overload]


def test_one_function_can_be_a_task_of_two_workers() -> None:
    first, second = Worker(), Worker()

    @first.task
    async def fetch() -> None: ...

    again = second.task(fetch)

    assert isinstance(again, Task)
    assert again.function is fetch.function
    assert again.executor == "asyncio"


def test_functions_own_attributes_do_not_disturb_the_task() -> None:
    def add() -> None: ...

    add.retry = "mine"  # type: ignore[attr-defined]

    assert Worker().task(add).retry is None
