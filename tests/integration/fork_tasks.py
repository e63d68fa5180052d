"""Tasks of a worker whose processes fork others, or that come too late for its children."""

import multiprocessing
import time

from tailrace.worker import Worker

worker = Worker(concurrency=4, processes=1)


@worker.task(executor="process")
def in_process() -> int | None:
    return exit_code_of_terminated()


@worker.task
def in_thread() -> int | None:
    return exit_code_of_terminated()


def exit_code_of_terminated() -> int | None:
    """Do as multiprocessing.Pool does when it ends."""
    other = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    other.start()
    try:
        other.terminate()
        other.join(5)
        return other.exitcode
    finally:
        other.kill()
        other.join()


@worker.task
def declare() -> None:
    worker.task(executor="process")(late)


def late() -> None:
    raise AssertionError("no child knows of this")
