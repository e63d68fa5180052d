"""Usages that every type checker refuses: each line is marked, with what mypy calls its error. Never run."""

from tailrace.client import AsyncClient, AsyncResult, Client
from tests.typing.tasks import Order, add, fetch, greet, worker


def wrong_arguments(client: Client) -> None:
    client.submit(add, 1, "x")  # wrong: call-overload
    client.submit(add)  # wrong: call-overload
    client.submit(add, 1, 2, 3)  # wrong: call-overload
    client.submit(add, 1, z=3)  # wrong: arg-type, call-arg
    client.submit(greet, "Ada", True)  # wrong: call-overload
    client.submit(fetch, "7")  # wrong: call-overload
    client.submit(7)  # wrong: call-overload
    client.submit(print, 1)  # wrong: call-overload
    client.options(priority=1).submit(add, "1")  # wrong: call-overload
    client.options(priority=1).submit(fetch, "7")  # wrong: call-overload


def wrong_options(client: Client) -> None:
    client.options(priority="high")  # wrong: arg-type
    client.options(colour="red")  # wrong: call-arg
    Client(codecs=[object()])  # wrong: list-item


def wrong_results(client: Client) -> None:
    text: str = client.submit(add, 1).get()  # wrong: assignment
    order: Order = client.submit(fetch, 7)  # wrong: assignment
    number: int = client.submit("add", 1).returning(Order).get()  # wrong: assignment
    texts: list[str] = client.gather(client.map(add, [(1, 2)]))  # wrong: arg-type
    del text, order, number, texts


def wrong_map(client: Client) -> None:
    client.map(add, [1, 2])  # wrong: arg-type, list-item
    client.map(print, [(1,)])  # wrong: call-overload
    client.imap(add, [1, 2])  # wrong: arg-type, list-item
    client.imap(print, [(1,)])  # wrong: call-overload
    texts: list[AsyncResult[str]] = list(client.imap(add, [(1, 2)]))  # wrong: arg-type
    del texts


async def wrong_in_asyncio(client: AsyncClient) -> None:
    await client.submit(add, 1, "x")  # wrong: call-overload
    await client.options(priority=1).submit(fetch, "7")  # wrong: call-overload
    text: str = await (await client.submit(add, 1)).get()  # wrong: assignment
    number: int = await (await client.submit(fetch, 1))  # wrong: call-overload
    await client.map(add, [1, 2])  # wrong: arg-type, list-item
    del text, number


def wrong_calls() -> None:
    add("1")  # wrong: arg-type
    text: str = add(1)  # wrong: assignment
    del text


@worker.task(executor="carrier pigeon")  # wrong: call-overload, untyped-decorator
def send() -> None:
    pass
