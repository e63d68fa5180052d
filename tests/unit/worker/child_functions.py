"""What the child processes of tests run: at the top level of a module, as it has to be."""

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time

from tailrace.worker import TaskInterrupt, current_task

logger = logging.getLogger(__name__)


def pid() -> int:
    return os.getpid()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def rest() -> None:
    current_task().progress(1)
    time.sleep(60)


def rest_again() -> str:
    """Wait, be told to stop, and return all the same."""
    try:
        current_task().progress(1)  # may end with the interrupt already: whoever hears of it asks for that
        time.sleep(60)
    except TaskInterrupt:
        return "finished"
    return "undisturbed"


def say_much() -> int:
    """Do nothing but speak to the worker, for as long as it takes to be told to stop."""
    number = 0
    while True:
        number += 1
        current_task().progress(number)


def log() -> None:
    logger.debug("not wanted")
    logger.warning("%d %s", 1, "thing", extra={"customer": "acme", "handle": object()})
    try:
        fail_to_start()
    except ConnectionError:
        logger.exception("it failed")


def fail_to_start() -> None:
    raise ConnectionError("no database")


def begin() -> None:
    logger.warning("began")


def leave() -> None:
    logger.warning("left")


def leave_badly() -> None:
    raise ConnectionError("no goodbye")


def fork_and_exit() -> str:
    """Have another process end by itself before this one does."""
    forked = os.fork()
    if not forked:
        sys.exit(3)
    _, status = os.waitpid(forked, 0)
    return f"it ended with {os.waitstatus_to_exitcode(status)}"


def fork_and_return() -> str:
    forked = os.fork()
    if not forked:
        return "forked"
    _, status = os.waitpid(forked, 0)
    return f"it ended with {os.waitstatus_to_exitcode(status)}"


def fork_and_log() -> str:
    forked = os.fork()
    if not forked:
        logger.warning("in a forked process")
        current_task().progress(2)
        os._exit(0)
    os.waitpid(forked, 0)
    return "logged"


def terminate_another() -> str:
    """Do as multiprocessing.Pool does with its own processes."""
    other = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    other.start()
    other.terminate()
    other.join(5)
    exit_code = other.exitcode
    other.kill()
    other.join()
    return f"it ended with {exit_code}"


def close_all_files() -> None:
    os.closerange(3, 1000)


def leave_a_fork_behind() -> int:
    """Die in the midst of saying something, while a forked process lives on."""
    forked = os.fork()
    if not forked:
        time.sleep(30)
        os._exit(0)
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGKILL)).start()
    while True:
        logger.warning("x" * 8_000_000)
