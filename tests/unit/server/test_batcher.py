"""Coalescing: what arrives during a store call goes into the next one, and each caller gets its own answer."""

import asyncio
from collections.abc import Sequence

import pytest

from tailrace.server.coordinator import batcher as batcher_module
from tailrace.server.coordinator.batcher import Batcher
from tailrace.server.domain.errors import StoreUnavailableError, TailraceError
from tailrace.server.store.base import MAX_CALL_BYTES, MAX_ITEMS
from tests.unit.server.turns import other_tasks_ran


class GatedCalls:
    """Store calls that are answered when the test says so: each item with its text in capitals."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.calls: list[list[str]] = []
        self.began = asyncio.Semaphore(0)
        self._gate = asyncio.Semaphore(1_000_000 if is_open else 0)

    async def __call__(self, items: Sequence[str]) -> list[str]:
        self.calls.append(list(items))
        self.began.release()
        await self._gate.acquire()
        if "fail" in items:
            raise StoreUnavailableError("the store is on fire")
        if "crash" in items:
            raise KeyError("a bug")
        return [item.upper() for item in items]

    def let_one_through(self) -> None:
        self._gate.release()


def start(batcher: Batcher[str, str], *items: str) -> asyncio.Task[list[str | TailraceError]]:
    return asyncio.create_task(batcher.run(items))


async def test_first_item_goes_at_once_and_alone() -> None:
    calls = GatedCalls(is_open=False)
    batcher = Batcher[str, str](calls)

    first = start(batcher, "a")
    await calls.began.acquire()

    assert calls.calls == [["a"]]
    calls.let_one_through()
    assert await first == ["A"]


async def test_what_arrives_during_a_call_goes_into_the_next_one_in_order() -> None:
    calls = GatedCalls(is_open=False)
    batcher = Batcher[str, str](calls)
    first = start(batcher, "a")
    await calls.began.acquire()
    others = [start(batcher, "b", "c"), start(batcher, "d"), start(batcher, "e")]
    await other_tasks_ran()

    calls.let_one_through()
    calls.let_one_through()

    assert await asyncio.gather(first, *others) == [["A"], ["B", "C"], ["D"], ["E"]]
    assert calls.calls == [["a"], ["b", "c", "d", "e"]]


async def test_only_one_call_is_under_way() -> None:
    calls = GatedCalls(is_open=False)
    batcher = Batcher[str, str](calls)
    waiting = [start(batcher, str(number)) for number in range(10)]
    await calls.began.acquire()
    await other_tasks_ran()

    assert len(calls.calls) == 1
    calls.let_one_through()
    calls.let_one_through()
    await asyncio.gather(*waiting)


async def test_call_of_no_items_asks_nobody() -> None:
    calls = GatedCalls()

    assert await Batcher[str, str](calls).run([]) == []
    assert calls.calls == []


async def test_caller_with_many_items_is_cut_into_several_calls_and_answered_in_order() -> None:
    calls = GatedCalls()
    items = [f"i{number}" for number in range(2 * MAX_ITEMS + 1)]

    answers = await Batcher[str, str](calls).run(items)

    assert answers == [item.upper() for item in items]
    assert [len(call) for call in calls.calls] == [MAX_ITEMS, MAX_ITEMS, 1]


async def test_calls_are_cut_by_size_too() -> None:
    calls = GatedCalls()
    third = MAX_CALL_BYTES // 3
    batcher = Batcher[str, str](calls, size_of=lambda item: int(item[1:]))

    await batcher.run([f"a{third}", f"b{third}", f"c{third}", "d1", "e0"])
    await batcher.run([f"f{MAX_CALL_BYTES * 3}", "g1"])

    assert [[item[0] for item in call] for call in calls.calls] == [["a", "b", "c", "d", "e"], ["f"], ["g"]]


async def test_callers_are_not_put_together_beyond_a_calls_size() -> None:
    calls = GatedCalls(is_open=False)
    batcher = Batcher[str, str](calls, size_of=lambda item: int(item[1:]))
    first = start(batcher, "a0")
    await calls.began.acquire()
    large = [start(batcher, f"{name}{MAX_CALL_BYTES // 2 + 1}") for name in "bc"]
    await other_tasks_ran()

    for _ in range(3):
        calls.let_one_through()
    await asyncio.gather(first, *large)

    assert [[item[0] for item in call] for call in calls.calls] == [["a"], ["b"], ["c"]]


async def test_callers_are_not_put_together_beyond_a_calls_items() -> None:
    calls = GatedCalls(is_open=False)
    batcher = Batcher[str, str](calls)
    first = start(batcher, "a")
    await calls.began.acquire()
    others = [start(batcher, *(["b"] * (MAX_ITEMS - 1))), start(batcher, "c"), start(batcher, "d")]
    await other_tasks_ran()

    for _ in range(3):
        calls.let_one_through()
    await asyncio.gather(first, *others)

    assert [len(call) for call in calls.calls] == [1, MAX_ITEMS, 1]


async def test_cancelled_caller_disturbs_no_other_and_its_items_still_go() -> None:
    calls = GatedCalls(is_open=False)
    batcher = Batcher[str, str](calls)
    first = start(batcher, "a")
    await calls.began.acquire()
    gone, staying = start(batcher, "b"), start(batcher, "c")
    await other_tasks_ran()

    gone.cancel()
    calls.let_one_through()
    calls.let_one_through()

    assert (await first, await staying) == (["A"], ["C"])
    assert calls.calls == [["a"], ["b", "c"]]
    with pytest.raises(asyncio.CancelledError):
        await gone


async def test_caller_cancelled_during_its_own_call_does_not_cancel_the_call() -> None:
    calls = GatedCalls(is_open=False)
    batcher = Batcher[str, str](calls)
    gone = start(batcher, "a")
    await calls.began.acquire()
    staying = start(batcher, "b")
    await other_tasks_ran()

    gone.cancel()
    calls.let_one_through()
    calls.let_one_through()

    assert await staying == ["B"]
    with pytest.raises(asyncio.CancelledError):
        await gone


async def test_error_of_a_call_answers_every_item_of_it_and_no_other() -> None:
    calls = GatedCalls(is_open=False)
    batcher = Batcher[str, str](calls)
    first = start(batcher, "a")
    await calls.began.acquire()
    batch = [start(batcher, "b", "c"), start(batcher, "fail"), start(batcher, "d")]
    await other_tasks_ran()

    for _ in range(3):
        calls.let_one_through()

    assert await first == ["A"]
    answers = await asyncio.gather(*batch)
    assert [[type(outcome) for outcome in answer] for answer in answers] == [
        [StoreUnavailableError] * 2,
        [StoreUnavailableError],
        [StoreUnavailableError],
    ]
    assert await batcher.run(["e"]) == ["E"]


async def test_fault_of_the_store_itself_reaches_every_caller_of_the_batch_and_no_other() -> None:
    calls = GatedCalls(is_open=False)
    batcher = Batcher[str, str](calls)
    first = start(batcher, "a")
    await calls.began.acquire()
    batch = [start(batcher, "b"), start(batcher, "crash"), start(batcher, "c")]
    await other_tasks_ran()

    for _ in range(3):
        calls.let_one_through()
    outcomes = await asyncio.gather(first, *batch, return_exceptions=True)

    assert outcomes[0] == ["A"]
    assert [type(outcome) for outcome in outcomes[1:]] == [KeyError] * 3
    assert await batcher.run(["d"]) == ["D"]


async def test_items_that_took_several_calls_are_answered_by_what_became_of_their_own() -> None:
    items = ["a"] * MAX_ITEMS + ["fail"] + ["b"] * MAX_ITEMS

    outcomes = await Batcher[str, str](GatedCalls()).run(items)

    assert outcomes[:MAX_ITEMS] == ["A"] * MAX_ITEMS
    assert [type(outcome) for outcome in outcomes[MAX_ITEMS:-1]] == [StoreUnavailableError] * MAX_ITEMS
    assert outcomes[-1] == "B"


async def test_store_that_does_not_answer_in_time_is_unavailable_and_asked_again() -> None:
    calls = GatedCalls(is_open=False)
    batcher = Batcher[str, str](calls, deadline_s=0.02)

    (outcome,) = await batcher.run(["a"])

    assert isinstance(outcome, StoreUnavailableError)
    assert "did not answer" in str(outcome)
    calls.let_one_through()
    assert await batcher.run(["b"]) == ["B"]


async def test_too_much_waiting_is_refused_at_once_and_room_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batcher_module, "MAX_WAITING_ITEMS", 3)
    calls = GatedCalls(is_open=False)
    batcher = Batcher[str, str](calls)
    waiting = [start(batcher, "a"), start(batcher, "b", "c")]
    await other_tasks_ran()

    with pytest.raises(StoreUnavailableError, match="too slow"):
        await batcher.run(["d"])

    for _ in range(3):
        calls.let_one_through()
    await asyncio.gather(*waiting)
    assert await batcher.run(["d"]) == ["D"]


async def test_one_call_larger_than_the_line_is_served_when_nothing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batcher_module, "MAX_WAITING_ITEMS", 3)

    assert len(await Batcher[str, str](GatedCalls()).run(["a"] * 4)) == 4


async def test_too_many_waiting_bytes_are_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batcher_module, "MAX_WAITING_BYTES", 10)
    calls = GatedCalls(is_open=False)
    batcher = Batcher[str, str](calls, size_of=len)
    waiting = start(batcher, "a" * 8)
    await other_tasks_ran()

    with pytest.raises(StoreUnavailableError, match="too slow"):
        await batcher.run(["b" * 3])

    calls.let_one_through()
    calls.let_one_through()
    await waiting
    assert await batcher.run(["b" * 3]) == ["BBB"]


async def test_answer_of_the_wrong_length_is_an_error_and_not_somebody_elses() -> None:
    async def short(items: Sequence[str]) -> list[str]:
        return [item.upper() for item in items][1:]

    batcher = Batcher[str, str](short)
    outcomes = await asyncio.gather(batcher.run(["a"]), batcher.run(["b", "c"]), return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [RuntimeError, RuntimeError]
