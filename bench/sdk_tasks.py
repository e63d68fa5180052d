"""The task of `bench.sdk`, which costs nothing itself."""

from tailrace.worker import Worker

worker = Worker(queues=["bench"], concurrency=500)


@worker.task
async def echo(value: int) -> int:
    return value
