"""What the child processes of tests run: at the top level of a module, as it has to be."""

import logging
import os
import signal
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
