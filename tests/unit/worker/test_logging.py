import asyncio
import contextvars
import io
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tailrace.worker import TaskIdFilter, Worker, log_task_ids
from tailrace.worker._execution import Execution
from tests.unit.worker.messages import a_key, an_assignment


class Page:
    """A handler and what it wrote."""

    def __init__(self) -> None:
        self._text = io.StringIO()
        self.handler = logging.StreamHandler(self._text)
        self.handler.setFormatter(logging.Formatter("%(task_id)s %(message)s", defaults={"task_id": "unmarked"}))

    @property
    def lines(self) -> list[str]:
        return self._text.getvalue().splitlines()


@pytest.fixture
def page() -> Iterator[Page]:
    page = Page()
    logging.getLogger().addHandler(page.handler)
    yield page
    logging.getLogger().removeHandler(page.handler)
    for handler in logging.getLogger().handlers:
        for known in [known for known in handler.filters if isinstance(known, TaskIdFilter)]:
            handler.removeFilter(known)


def run(function: Callable[[], Any]) -> None:
    task = Worker().task(name="add")(function)
    execution = Execution(a_key(), an_assignment(), task, lambda _, __: None)
    if task.executor == "asyncio":
        contextvars.Context().run(asyncio.run, execution.run_async())
    else:
        contextvars.Context().run(execution.run)


def speak() -> None:
    logging.getLogger("shop.orders").warning("spoken")


async def speak_later() -> None:
    await asyncio.to_thread(speak)


@pytest.mark.parametrize("function", [speak, speak_later])
def test_record_made_inside_a_task_carries_its_id(page: Page, function: Callable[[], Any]) -> None:
    log_task_ids(page.handler)

    run(function)

    assert page.lines == ["task-1 spoken"]


def test_record_made_outside_a_task_carries_a_dash(page: Page) -> None:
    log_task_ids(page.handler)

    speak()

    assert page.lines == ["- spoken"]


def test_record_that_names_its_task_keeps_it(page: Page) -> None:
    log_task_ids(page.handler)

    run(lambda: logging.getLogger("shop").warning("about another", extra={"task_id": "task-7"}))

    assert page.lines == ["task-7 about another"]


def test_roots_handlers_are_meant_when_none_is_named(page: Page) -> None:
    log_task_ids()
    log_task_ids()

    run(speak)

    assert page.lines == ["task-1 spoken"]
    assert [type(known) for known in page.handler.filters] == [TaskIdFilter]


def test_sdks_own_records_carry_it_unasked(page: Page) -> None:
    def speak_for_the_sdk() -> None:
        logging.getLogger("tailrace.worker").warning("spoken")

    run(speak_for_the_sdk)
    speak_for_the_sdk()

    assert page.lines == ["task-1 spoken", "- spoken"]


def test_programs_own_records_are_left_alone_until_it_asks(page: Page) -> None:
    run(speak)

    assert page.lines == ["unmarked spoken"]
