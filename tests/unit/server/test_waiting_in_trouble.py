"""Waiting when something is missing: memory, a notice, the store; late perhaps, but with the truth."""

import asyncio
from collections.abc import Awaitable, Sequence

import pytest

from tailrace.server.domain.errors import StoreUnavailableError, TailraceError
from tailrace.server.domain.task import TaskSnapshot
from tailrace.server.store.changes import EpochBreak
from tailrace.server.waiting import entries, news, reading
from tailrace.server.waiting.waiting import Waiting
from tests.unit.server.waiting_scene import Scene, Told
from tests.wait import eventually_async


async def test_results_beyond_the_memory_for_them_are_read_when_they_are_taken(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "MAX_KEPT_BYTES", 25)
    names = ["a", "b", "c", "d"]
    await scene.submit(*names)
    told = await Told(scene.waiting.subscribe(dict.fromkeys(names))).until_answered()

    for name in names:
        await scene.run(name, result=name.encode() * 10)
    assert scene.waiting.kept_bytes <= 25

    await told.until(lambda told: told.subscription.is_all_done, "all ends are told")
    assert {s.task_id: s.result for s in told.snapshots if s.is_done} == {name: name.encode() * 10 for name in names}
    assert scene.waiting.kept_bytes == 0


async def test_outcomes_already_taken_are_told_though_the_next_cannot_be_read(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "MAX_KEPT_BYTES", 15)
    await scene.submit("a", "b")
    told = await Told(scene.waiting.subscribe({"a": None, "b": None}, done_only=True)).until_answered()
    await scene.run("a", result=b"a" * 10)
    await scene.run("b", result=b"b" * 10)
    await eventually_async(lambda: scene.waiting.kept_bytes == 10, "one result is kept")

    scene.coordinator.is_away = True
    first = await told.subscription.take()
    with pytest.raises(StoreUnavailableError):
        await told.subscription.take()
    scene.coordinator.is_away = False
    second = await told.subscription.take()

    assert [snapshot.result for snapshot in first.snapshots] == [b"a" * 10]
    assert [snapshot.result for snapshot in second.snapshots] == [b"b" * 10]
    assert told.subscription.is_all_done


async def test_news_are_cut_to_what_fits_into_a_message(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(news, "FILL_MESSAGE_BYTES", 1_000)
    names = ["a", "b", "c", "d", "e"]
    await scene.submit(*names)
    for name, size in zip(names, (400, 400, 400, 5_000, 1), strict=True):
        await scene.run(name, result=b"x" * size)
    subscription = scene.waiting.subscribe(dict.fromkeys(names))
    await eventually_async(lambda: scene.waiting.kept_bytes == 6_201, "all results were read")

    portions = [await subscription.take() for _ in range(5)]

    sizes = [[len(snapshot.result or b"") for snapshot in portion.snapshots] for portion in portions]
    assert sizes == [[400, 400], [400], [5_000], [1], []]
    assert {snapshot.task_id for portion in portions for snapshot in portion.snapshots} == set(names)


async def test_epoch_break_has_everything_read_anew(scene: Scene) -> None:
    await scene.submit("a", "b")
    told = await Told(scene.waiting.subscribe({"a": None, "b": None})).until_answered()
    scene.hears = False
    await scene.run("a")

    scene.waiting.apply(EpochBreak())

    await told.until_state("SUCCESS")
    assert told.states == ["PENDING", "PENDING", "SUCCESS"]


async def test_who_comes_after_an_epoch_break_is_not_told_what_was_before_it(scene: Scene) -> None:
    await scene.submit("a")
    await Told(scene.waiting.subscribe({"a": None})).until_answered()
    scene.hears = False
    await scene.run("a")

    scene.waiting.apply(EpochBreak())
    told = await Told(scene.waiting.subscribe({"a": None})).until_answered()

    assert told.states == ["SUCCESS"]


async def test_lost_notice_costs_a_while_and_no_more(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "READ_AGAIN_S", 0.02)
    monkeypatch.setattr(reading, "READ_AGAIN_TICK_S", 0.02)
    async with asyncio.TaskGroup() as tasks:
        waiting = Waiting(scene.coordinator)
        running = tasks.create_task(waiting.run())
        await scene.submit("a")
        told = await Told(waiting.subscribe({"a": None})).until_answered()

        await scene.run("a")

        await told.until_state("SUCCESS")
        assert waiting.read_again_count > 0
        running.cancel()


async def test_store_that_was_away_is_asked_again(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "STORE_BACKOFF_S", 0.01)
    await scene.submit("a")
    scene.coordinator.is_away = True
    subscription = scene.waiting.subscribe({"a": None})
    await eventually_async(lambda: len(scene.coordinator.registered) > 3, "the store is asked again")
    assert not subscription.is_answered

    scene.coordinator.is_away = False

    told = await Told(subscription).until_answered()
    assert told.states == ["PENDING"]


async def test_bug_in_reading_is_survived(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "STORE_BACKOFF_S", 0.01)
    await scene.submit("a")
    real = scene.coordinator.register_waits
    failed = asyncio.Event()

    def broken(task_ids: Sequence[str], **_: bool) -> Awaitable[list[TaskSnapshot | TailraceError | None]]:
        failed.set()
        scene.coordinator.register_waits = real  # type: ignore[method-assign]
        raise KeyError("a bug")

    scene.coordinator.register_waits = broken  # type: ignore[method-assign,assignment]
    told = await Told(scene.waiting.subscribe({"a": None})).until_answered()

    assert failed.is_set()
    assert told.states == ["PENDING"]
