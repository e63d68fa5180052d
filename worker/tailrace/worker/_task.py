"""Tasks and where a worker keeps them."""

import functools
import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any, Generic, Literal, ParamSpec, Self, TypeVar

from tailrace.client import RetryPolicy
from tailrace.client._annotations import return_type
from tailrace.client._codec import PLAIN, Codecs
from tailrace.client._formats import check_content_type
from tailrace.worker._conversion import CallShape
from tailrace.worker._curable import Curable, ErrorTypes
from tailrace.worker._place import Place

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)

ExecutorName = Literal["asyncio", "thread", "process"]

_TASK_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}")
_EXECUTORS = ("asyncio", "thread", "process")


class Task(Generic[P, R_co]):
    """A function that a worker runs on request. Called directly, it is the plain function and nothing more."""

    function: Callable[P, R_co]
    """The function as written."""
    task_type: str
    """What it is submitted as."""
    default_queue: str | None
    """The queue for submits that name none; None leaves it to the server ("default")."""
    retry: RetryPolicy | None
    """Decides over failures of tasks that were submitted without a policy of their own; None is one attempt."""
    curable: Curable
    """Which of its exceptions are worth another attempt."""
    executor: ExecutorName
    """Where it runs: on the worker's event loop, in a thread, or in a child process."""
    content_type: str | None
    """What its arguments are written as by submits that name the function, and its result where the input does not
    say; None leaves it to them."""
    codecs: Codecs
    """What its payloads go through."""
    signature: inspect.Signature | None
    """What arguments are checked against before the function is called; None where Python cannot tell it."""

    def __init__(
        self,
        function: Callable[P, R_co],
        *,
        task_type: str | None = None,
        default_queue: str | None = None,
        retry: RetryPolicy | None = None,
        retry_on: ErrorTypes | None = None,
        dont_retry_on: ErrorTypes = (),
        executor: ExecutorName | None = None,
        content_type: str | None = None,
        codecs: Codecs = PLAIN,
    ) -> None:
        check_content_type(content_type)
        functools.update_wrapper(self, function)  # first: it copies the function's own attributes over ours
        self.function = function
        self.task_type = _valid_type(function, task_type)
        self.default_queue = default_queue
        self.retry = retry
        self.curable = Curable.of(retry_on, dont_retry_on)
        self.executor = _valid_executor(function, executor)
        self.content_type = content_type
        self.codecs = codecs
        if self.executor == "process":
            codecs.check_travel()
        self.signature = _signature_of(function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the function, here and now."""
        return self.function(*args, **kwargs)

    @functools.cached_property
    def call_shape(self) -> CallShape | None:
        """What arguments are fitted to; None where Python cannot tell it."""
        # Made late: annotations may name what a module defines further down.
        return None if self.signature is None else CallShape(self.function, self.signature)

    @functools.cached_property
    def result_type(self) -> Any:
        """What results come back as to those who submit the function: what it says that it returns."""
        return return_type(self.function)

    def __copy__(self) -> Self:
        """Copy in this process, where a function need not be found by its place."""
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        return twin

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to a child process as the place of the function, which is imported there."""
        options = {
            "task_type": self.task_type,
            "default_queue": self.default_queue,
            "retry": self.retry,
            "retry_on": self.curable.retry_on,
            "dont_retry_on": self.curable.dont_retry_on,
            "executor": self.executor,
            "content_type": self.content_type,
            "codecs": self.codecs,
        }
        return _found_again, (Place.of(self), options)

    def __repr__(self) -> str:
        return f"<Task {self.task_type!r}>"


class TaskRegistry:
    """The tasks that a worker knows, by type."""

    def __init__(self) -> None:
        self._tasks: dict[str, Task[..., object]] = {}

    def __iter__(self) -> Iterator[Task[..., object]]:
        return iter(self._tasks.values())

    def __len__(self) -> int:
        return len(self._tasks)

    def add(self, task: Task[..., object]) -> None:
        """Make a task known.

        Raises:
            ValueError: Another task has this type.
        """
        known = self._tasks.get(task.task_type)
        if known is not None:
            where = f"{known.function.__module__}.{getattr(known.function, '__qualname__', known.function)}"
            raise ValueError(f"task type {task.task_type!r} is taken by {where}; give one of them another name=")
        self._tasks[task.task_type] = task

    def get(self, task_type: str) -> Task[..., object] | None:
        """Find a task; None when this worker does not know the type."""
        return self._tasks.get(task_type)


def _found_again(place: Place, options: dict[str, Any]) -> Task[..., object]:
    found: Task[..., object] | Callable[..., object] = place.find()
    return Task(found.function if isinstance(found, Task) else found, **options)


def _valid_type(function: Callable[..., object], task_type: str | None) -> str:
    if not callable(function):
        raise TypeError(f"a task is made from a function, not from {function!r}")
    name = getattr(function, "__name__", "") if task_type is None else task_type
    if not _TASK_TYPE.fullmatch(name):
        raise ValueError(
            f"{name!r} is no task type: it takes a letter or digit, then at most 127 letters, digits and ._:/-; "
            "give the task a name="
        )
    return name


def _valid_executor(function: Callable[..., object], executor: ExecutorName | None) -> ExecutorName:
    is_coroutine = inspect.iscoroutinefunction(function)
    if executor is None:
        return "asyncio" if is_coroutine else "thread"
    if executor not in _EXECUTORS:
        raise ValueError(f"executor is one of {', '.join(_EXECUTORS)}, not {executor!r}")
    if is_coroutine and executor != "asyncio":
        raise ValueError("a coroutine function runs on the asyncio executor; leave executor= out")
    if executor == "process":
        Place.of(function)
    return executor


def _signature_of(function: Callable[..., object]) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except ValueError:  # some functions written in C
        return None
