"""One set of tasks for three workers, each of which runs them its own way: asyncio, in threads, in child processes."""

import asyncio
import contextlib
import ctypes
import logging
import os
import resource
import signal
import threading
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from tailrace.worker import RetryPolicy, TaskInterrupt, Worker, current_task

logger = logging.getLogger(__name__)

PATIENCE_S = 60.0
TWICE = RetryPolicy(max_attempts=2, initial_backoff=timedelta(milliseconds=10))

asyncio_worker = Worker("asyncio", concurrency=50)
thread_worker = Worker("thread", concurrency=50)
process_worker = Worker("process", concurrency=50, processes=4)


@process_worker.on_process_start
def greet() -> None:
    logger.info("child_began: %d", os.getpid())


@process_worker.on_process_stop
def take_leave() -> None:
    logger.info("child_left: %d", os.getpid())


def echo(value: Any) -> Any:
    return value


def where() -> tuple[int, str]:
    return os.getpid(), threading.current_thread().name


def fail(depth: int) -> None:
    if depth:
        fail(depth - 1)
    raise ValueError("too deep")


def describe() -> dict[str, Any]:
    task = current_task()
    left = task.time_left
    logger.info("described")
    return {
        "id": task.id,
        "type": task.task_type,
        "queue": task.queue,
        "attempt": task.attempt,
        "headers": dict(task.headers),
        "labels": dict(task.labels),
        "revoked": task.revoked.is_set(),
        "time_left": left and left.total_seconds(),
    }


def go_on_from_checkpoint() -> Any:
    task = current_task()
    if task.attempt == 1:
        task.progress(1, 2, "half", checkpoint={"row": 7})
        raise ConnectionError("the line was cut")
    return task.checkpoint


def tell_and_wait(directory: str) -> None:
    current_task().progress(3, 9, "waiting")
    _rest(directory)


def rest(directory: str) -> str:
    return _rest(directory)


def _rest(directory: str) -> str:
    """Say that it began, wait until told to stop, and say what told it."""
    mark(directory, f"began {os.getpid()}")
    try:
        if current_task().revoked.wait(PATIENCE_S):
            mark(directory, "stopped")
            raise InterruptedError("stopped as asked")
    except TaskInterrupt:
        mark(directory, "stopped")
        raise
    return "undisturbed"


def stay(directory: str) -> str:
    """Wait deaf to all requests."""
    mark(directory, f"began {os.getpid()}")
    end = time.monotonic() + PATIENCE_S
    while (left_s := end - time.monotonic()) > 0:
        with contextlib.suppress(TaskInterrupt):
            time.sleep(left_s)
    return "undisturbed"


def finish_at_second(directory: str) -> int:
    """Stay in the first attempt; returns the number of the other."""
    if current_task().attempt == 1:
        stay(directory)
    return current_task().attempt


def take(seconds: float, directory: str) -> str:
    mark(directory, f"began {os.getpid()}")
    time.sleep(seconds)
    mark(directory, "ended")
    return "taken"


def crash_at_first(how: str, directory: str) -> int:
    """Take the process along in the first attempt; returns the attempt that did not."""
    mark(directory, f"began {os.getpid()}")
    if current_task().attempt == 1:
        crash(how)
    return current_task().attempt


def crash(how: str) -> None:
    if how == "exit":
        os._exit(7)
    if how == "segfault":
        ctypes.string_at(0)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)


def use_up_memory() -> None:
    """Ask for more than there is; the limit stays with the process."""
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (8 * 1024**3, most))
    bytearray(16 * 1024**3)


def hold_the_interpreter(seconds: float) -> str:
    """Call into C without letting go of the GIL: no other thread of this process runs meanwhile."""
    usleep = ctypes.PyDLL(None).usleep
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        usleep(int(1_000_000 * max(0.0, end - time.monotonic())))
    return f"held in attempt {current_task().attempt}"


def spin(seconds: float) -> str:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return f"spun in attempt {current_task().attempt}"


def sleep(seconds: float) -> str:
    time.sleep(seconds)
    return f"slept in attempt {current_task().attempt}"


def mark(directory: str, text: str) -> None:
    """Leave a line that outlives the process, whatever becomes of it."""
    path = Path(directory, f"{current_task().id}.{os.getpid()}.{text.split(maxsplit=1)[0]}")
    path.write_text(text, encoding="utf-8")


def on_loop(function: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    async def coroutine(*args: Any) -> Any:
        return function(*args)

    return coroutine


async def rest_on_loop(directory: str) -> str:
    mark(directory, f"began {os.getpid()}")
    try:
        await asyncio.sleep(PATIENCE_S)
    except asyncio.CancelledError:
        mark(directory, "stopped")
        raise
    return "undisturbed"


async def tell_and_wait_on_loop(directory: str) -> None:
    current_task().progress(3, 9, "waiting")
    await rest_on_loop(directory)


async def stay_on_loop(directory: str) -> str:
    mark(directory, f"began {os.getpid()}")
    end = time.monotonic() + PATIENCE_S
    while (left_s := end - time.monotonic()) > 0:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(left_s)
    return "undisturbed"


async def finish_at_second_on_loop(directory: str) -> int:
    if current_task().attempt == 1:
        await stay_on_loop(directory)
    return current_task().attempt


async def take_on_loop(seconds: float, directory: str) -> str:
    mark(directory, f"began {os.getpid()}")
    await asyncio.sleep(seconds)
    mark(directory, "ended")
    return "taken"


COROUTINES: dict[Callable[..., Any], Callable[..., Awaitable[Any]]] = {
    rest: rest_on_loop,
    tell_and_wait: tell_and_wait_on_loop,
    stay: stay_on_loop,
    take: take_on_loop,
    finish_at_second: finish_at_second_on_loop,
}
PLAIN = (
    echo,
    where,
    fail,
    describe,
    rest,
    tell_and_wait,
    stay,
    take,
    finish_at_second,
    crash_at_first,
    crash,
    use_up_memory,
    hold_the_interpreter,
    spin,
    sleep,
)

for plain in PLAIN:
    thread_worker.task(plain)
    process_worker.task(executor="process")(plain)
    asyncio_worker.task(name=plain.__name__)(COROUTINES.get(plain) or on_loop(plain))
thread_worker.task(retry=TWICE)(go_on_from_checkpoint)
process_worker.task(retry=TWICE, executor="process")(go_on_from_checkpoint)
asyncio_worker.task(retry=TWICE, name="go_on_from_checkpoint")(on_loop(go_on_from_checkpoint))
