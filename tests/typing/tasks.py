"""Tasks that the files beside this one submit."""

from collections.abc import Awaitable
from dataclasses import dataclass

from tailrace.worker import Worker

worker = Worker()


@dataclass
class Order:
    number: int


@worker.task
def add(x: int, y: int = 1) -> int:
    return x + y


@worker.task(name="greet", queue="slow")
def greet(name: str, *, loud: bool = False) -> str:
    return name.upper() if loud else name


@worker.task
async def fetch(number: int) -> Order:
    return Order(number)


@worker.task(executor="asyncio")
def fetch_later(number: int) -> Awaitable[Order]:
    return fetch(number)
