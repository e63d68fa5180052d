"""What a child process does from its start to its end."""

import contextlib
import ctypes
import faulthandler
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection

from tailrace.worker._child_logging import forward_records
from tailrace.worker._child_runner import PARENT_GONE, ChildRunner
from tailrace.worker._hooks import Hook, tell_of_failure
from tailrace.worker._pipe import Pipe, Word
from tailrace.worker._task import Task

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildFunctions:
    """What a child runs."""

    tasks: Sequence[Task[..., object]]
    on_start: Sequence[Hook] = ()
    on_stop: Sequence[Hook] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildOrders:
    """What a child is told when it starts."""

    functions: bytes
    """Its ChildFunctions, pickled: reading them imports the program's modules, whose records are to be forwarded."""
    levels: Mapping[str, int]
    """The levels of the parent's loggers."""
    parent_pid: int
    """Whose child it is."""


def run_child(connection: Connection, orders: ChildOrders) -> None:
    """Be a child, until told to leave or left alone."""
    _die_with_parent(orders.parent_pid)
    with contextlib.suppress(Exception):  # a program may have no stderr
        faulthandler.enable()  # a crash in C says where
    runner = ChildRunner(Pipe(connection))
    runner.listen()
    forward_records(orders.levels, lambda body: runner.say(Word.RECORD, body))
    functions, problem = _prepare(orders.functions)
    if functions is None:
        runner.say(Word.UNFIT, problem.encode(errors="backslashreplace"))
        sys.exit(1)
    runner.work({task.task_type: task for task in functions.tasks})
    for hook in functions.on_stop:
        _call(hook, "on_process_stop")


def _prepare(pickled: bytes) -> tuple[ChildFunctions | None, str]:
    """Import what is to be run and call the hooks. None: what was wrong is the second."""
    try:
        functions: ChildFunctions = pickle.loads(pickled)  # noqa: S301 (see above)
    except BaseException as error:  # noqa: BLE001 (a module that is imported may do anything)
        traceback.print_exception(error)
        return None, f"its tasks cannot be imported: {type(error).__name__}: {error}"
    for hook in functions.on_start:
        if problem := _call(hook, "on_process_start"):
            return None, problem
    return functions, ""


def _call(hook: Callable[[], object], name: str) -> str:
    """Call a hook. Returns what was wrong, if anything was."""
    try:
        hook()
    except BaseException as error:  # noqa: BLE001 (whoever runs the worker is told)
        return tell_of_failure(name, hook, error)
    return ""


def _die_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent dies; elsewhere than on Linux, the reader notices."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # it died before
        os._exit(PARENT_GONE)
