"""The Python twin of examples/go/worker/tasks.go."""

import time

from tailrace.worker import Worker

worker = Worker(queues=["python"])


@worker.task()
def add(x: int, y: int) -> int:
    return x + y


@worker.task()
def fail(message: str) -> None:
    raise ValueError(message)


@worker.task()
def sleep(seconds: float) -> float:
    time.sleep(seconds)
    return seconds
