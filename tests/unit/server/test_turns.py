"""Calls on behalf of one stream: none waits long for another, and their answers come in the order of asking."""

import asyncio
from functools import partial

import pytest

from tailrace.server.api import turns as turns_module
from tailrace.server.api.turns import Turns

SOON_S = 5.0


class Calls:
    """Calls that answer when the test says so, and what was answered."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.said: list[str] = []
        self.may_answer: dict[str, asyncio.Event] = {}
        self.late = 0
        self.turns = Turns(self._came_late)

    async def ask(self, name: str, *, is_late: bool = False) -> None:
        event = self.may_answer[name] = asyncio.Event()
        if not is_late:
            event.set()
        await self.turns.ask(partial(self._call, name), self.said.append)

    async def _call(self, name: str) -> str:
        self.made.append(name)
        await self.may_answer[name].wait()
        return name

    def _came_late(self) -> None:
        self.late += 1


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    monkeypatch.setattr(turns_module, "PATIENCE_S", 0.01)
    return Calls()


async def test_answer_that_comes_at_once_is_given_before_the_next_call(calls: Calls) -> None:
    await calls.ask("a")
    assert calls.said == ["a"]
    await calls.ask("b")

    assert (calls.said, calls.late) == (["a", "b"], 0)


async def test_call_is_made_though_the_one_before_is_late_and_is_answered_after_it(calls: Calls) -> None:
    await calls.ask("a", is_late=True)
    await calls.ask("b")
    assert (calls.made, calls.said) == (["a", "b"], [])

    calls.may_answer["a"].set()
    async with asyncio.timeout(SOON_S):
        await calls.turns.all_answered()

    assert (calls.said, calls.late) == (["a", "b"], 1)


async def test_call_that_breaks_is_no_hindrance_to_the_answers_behind_it_and_is_told(calls: Calls) -> None:
    may_break = asyncio.Event()

    async def breaks() -> str:
        await may_break.wait()
        raise RuntimeError("broken")

    await calls.turns.ask(breaks, calls.said.append)
    await calls.ask("b")
    may_break.set()

    with pytest.raises(RuntimeError, match="broken"):
        await calls.turns.all_answered()
    assert calls.said == ["b"]
    with pytest.raises(RuntimeError, match="broken"):
        await calls.ask("c")


async def test_with_too_many_late_calls_the_next_waits(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns_module, "MAX_LATE_CALLS", 2)
    await calls.ask("a", is_late=True)
    await calls.ask("b", is_late=True)

    third = asyncio.create_task(calls.ask("c", is_late=True))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await asyncio.shield(third)
    for event in calls.may_answer.values():
        event.set()
    async with asyncio.timeout(SOON_S):
        await third
        await calls.turns.all_answered()

    assert calls.said == ["a", "b", "c"]


async def test_nothing_is_answered_once_nobody_is_there_to_read_it(calls: Calls) -> None:
    await calls.ask("a", is_late=True)

    calls.turns.cancel()
    async with asyncio.timeout(SOON_S):
        await calls.turns.all_answered()

    assert calls.said == []
