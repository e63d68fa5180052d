"""The tasks of the chapter, and one that fails whenever it is asked to."""

import time

from tailrace.worker import Worker

worker = Worker(queues=["default"])


@worker.task
def add(x: int, y: int) -> int:
    time.sleep(3)  # Simulate work
    return x + y


@worker.task
def fail_sometimes(data: str, *, fails: bool) -> str:
    if fails:
        raise ValueError("Something went wrong!")
    return f"Processed {data}"
