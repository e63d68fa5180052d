"""Usages that every type checker takes, and what they come to. Never run."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Any, assert_type

from tailrace.client import AsyncClient, AsyncioResult, AsyncResult, Client, TaskFunction
from tailrace.worker import Task
from tests.typing.tasks import Order, add, fetch, fetch_later, greet


def calls_of_the_function_itself() -> None:
    assert_type(add(1), int)
    assert_type(greet("Ada", loud=True), str)


def submits(client: Client) -> None:
    assert_type(client.submit(add, 1, 2), AsyncResult[int])
    assert_type(client.submit(add, 1), AsyncResult[int])
    assert_type(client.submit(add, x=1, y=2).get(timeout=10), int)
    assert_type(client.submit(greet, "Ada", loud=True).get(), str)
    assert_type(client.submit(fetch, 7).get(), Order)
    assert_type(client.submit(fetch_later, 7).get(), Order)
    assert_type(client.options(queue="slow").submit(add, 1, 2), AsyncResult[int])
    assert_type(client.options(content_type="application/msgpack").submit(fetch, 7).get(), Order)


def submits_by_name(client: Client) -> None:
    assert_type(client.submit("add", 1, "anything", loud=1), AsyncResult[Any])
    assert_type(client.submit("add", 1).get(), Any)
    assert_type(client.submit("add", 1).returning(Order), AsyncResult[Order])
    assert_type(client.result("an-id").returning(list[Order]).get(), list[Order])
    assert_type(client.result("an-id"), AsyncResult[Any])


def many(client: Client) -> None:
    results = client.map(add, [(1, 2), (3,)])
    assert_type(results, list[AsyncResult[int]])
    assert_type(client.map(fetch, [(1,), [2]]), list[AsyncResult[Order]])
    assert_type(client.options(priority=1).map(greet, [("Ada",)]), list[AsyncResult[str]])
    assert_type(client.map("add", [(1, 2)]), list[AsyncResult[Any]])
    assert_type(client.gather(results), list[int])
    assert_type(client.gather(results, return_exceptions=True), list[int | Exception])
    for result in client.as_completed(results, timeout=10):
        assert_type(result, AsyncResult[int])
    assert_type(client.imap(add, [(1, 2), (3,)]), Iterator[AsyncResult[int]])
    assert_type(client.options(priority=1).imap(fetch, [(1,)], look_ahead=10), Iterator[AsyncResult[Order]])
    assert_type(client.imap("add", [(1, 2)]), Iterator[AsyncResult[Any]])
    for drawn in client.as_completed(client.imap(fetch_later, [(1,)])):
        assert_type(drawn.get(), Order)
    client.revoke(*results, "an-id", force=True)


def keeps(result: AsyncResult[int], any_result: AsyncResult) -> AsyncResult[object]:
    assert_type(any_result.get(), Any)
    assert_type(result.resubmit(), AsyncResult[int])
    return result  # a result that is an int is one that is an object


def takes(task: TaskFunction[..., Order]) -> None:
    assert_type(task.task_type, str)


def hands_over() -> None:
    takes(Task(Order))


async def submits_in_asyncio(client: AsyncClient) -> None:
    result = await client.submit(add, 1, 2)
    assert_type(result, AsyncioResult[int])
    assert_type(await result.get(timeout=10), int)
    assert_type(await result, int)
    assert_type(await (await client.submit(fetch, 7)), Order)
    assert_type(await (await client.submit("add", 7)), Any)
    assert_type(await client.options(priority=1).submit(fetch, 7), AsyncioResult[Order])
    assert_type((await client.submit("fetch", 7)).returning(Order), AsyncioResult[Order])
    results = await client.map(add, [(1, 2), (3,)])
    assert_type(results, list[AsyncioResult[int]])
    assert_type(await client.options(priority=1).map(fetch, [(1,)]), list[AsyncioResult[Order]])
    assert_type(await client.gather(results), list[int])
    assert_type(await client.gather(results, return_exceptions=True), list[int | Exception])
    async for each in client.as_completed(results):
        assert_type(each, AsyncioResult[int])
    await client.revoke(*results)


async def draws_in_asyncio(client: AsyncClient, rows: AsyncIterator[tuple[int]]) -> None:
    assert_type(await client.map(add, rows), list[AsyncioResult[int]])
    assert_type(await client.options(priority=1).map("add", rows), list[AsyncioResult[Any]])
    assert_type(client.imap(fetch, rows), AsyncGenerator[AsyncioResult[Order], None])
    assert_type(client.options(priority=1).imap(add, [(1,)]), AsyncGenerator[AsyncioResult[int], None])
    assert_type(client.imap("add", rows, look_ahead=10), AsyncGenerator[AsyncioResult[Any], None])
    async for each in client.as_completed(client.imap(fetch, rows)):
        assert_type(await each, Order)
