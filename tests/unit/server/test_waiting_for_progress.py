"""Progress is told to those who want it, not too often, the last word always, and never after the end."""

import asyncio
import itertools

import pytest

from tailrace.server.domain import limits
from tailrace.server.store.changes import EpochBreak, TaskChanged
from tests.store.builders import a_success
from tests.unit.server.turns import other_tasks_ran
from tests.unit.server.waiting_scene import Scene, Told
from tests.wait import eventually_async


async def started(scene: Scene, task_id: str = "a") -> bytes:
    await scene.submit(task_id)
    return await scene.start(task_id)


async def test_progress_is_told_though_the_revision_stays(scene: Scene) -> None:
    token = await started(scene)
    told = await Told(scene.waiting.subscribe({"a": None}, include_progress=True)).until_answered()

    await scene.say_progress("a", token, b"half")

    await told.until(lambda told: b"half" in told.progress, "the progress is told")
    assert (told.progress, told.revisions) == ([None, b"half"], [2, 2])


async def test_progress_wakes_nobody_who_does_not_want_it(scene: Scene) -> None:
    token = await started(scene)
    plain = await Told(scene.waiting.subscribe({"a": None})).until_answered()
    eager = await Told(scene.waiting.subscribe({"a": None}, include_progress=True)).until_answered()
    waiting = asyncio.create_task(plain.subscription.wait(60))

    await scene.say_progress("a", token, b"half")

    await eager.until(lambda told: b"half" in told.progress, "the progress is told")
    await other_tasks_ran()
    assert not waiting.done()
    assert plain.subscription.is_answered
    waiting.cancel()


async def test_only_tasks_of_which_somebody_wants_progress_are_registered_for_it(scene: Scene) -> None:
    await scene.submit("a", "b")
    await Told(scene.waiting.subscribe({"a": None, "b": None})).until_answered()
    assert scene.coordinator.registered_for_progress == []

    await Told(scene.waiting.subscribe({"b": None}, include_progress=True)).until_answered()
    await Told(scene.waiting.subscribe({"b": None}, include_progress=True)).until_answered()

    assert scene.coordinator.registered_for_progress == ["b"]


async def test_progress_in_quick_succession_is_told_as_the_first_and_the_last(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PROGRESS_INTERVAL_S", 0.3)
    token = await started(scene)
    told = await Told(scene.waiting.subscribe({"a": None}, include_progress=True)).until_answered()
    loop = asyncio.get_running_loop()
    answered_at = loop.time()

    for number in range(20):
        await scene.say_progress("a", token, b"%d" % number)

    await told.until(lambda told: b"19" in told.progress, "the last progress is told")
    assert loop.time() - answered_at >= 0.29
    assert told.progress == [None, b"19"]


async def test_two_tellings_of_progress_are_half_a_second_apart_at_least(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PROGRESS_INTERVAL_S", 0.1)
    token = await started(scene)
    told = await Told(scene.waiting.subscribe({"a": None}, include_progress=True)).until_answered()
    loop = asyncio.get_running_loop()
    times = [loop.time()]
    beating = asyncio.create_task(beat_on(scene, token))

    while len(times) < 6:
        count = len(told.snapshots)
        await told.until(lambda told, count=count: len(told.snapshots) > count, "more is told")  # type: ignore[misc]
        times.append(loop.time())

    beating.cancel()
    assert min(later - earlier for earlier, later in itertools.pairwise(times)) >= 0.095


async def beat_on(scene: Scene, token: bytes) -> None:
    number = 0
    while True:
        await scene.say_progress("a", token, b"%d" % number)
        number += 1


async def test_progress_that_was_to_be_told_is_not_told_after_the_end(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PROGRESS_INTERVAL_S", 0.2)
    token = await started(scene)
    told = await Told(scene.waiting.subscribe({"a": None, "b": None}, include_progress=True)).until_answered()
    await scene.say_progress("a", token, b"nearly")
    await scene.harness.store.store_results(0, [a_success("a", token)])
    await told.until_state("SUCCESS")

    scene.waiting.apply(TaskChanged(task_id="a", is_progress=True))
    after_the_interval = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.25, after_the_interval.set_result, None)
    await after_the_interval

    assert (await told.subscription.take()).snapshots == ()
    assert told.progress == [None, None]


async def test_progress_heard_of_without_its_text_is_read_when_it_is_taken(scene: Scene) -> None:
    token = await started(scene)
    told = await Told(scene.waiting.subscribe({"a": None}, include_progress=True)).until_answered()
    scene.hears = False
    await scene.say_progress("a", token, b"half")

    for _ in range(50):
        scene.waiting.apply(TaskChanged(task_id="a", is_progress=True))

    await told.until(lambda told: b"half" in told.progress, "the progress is told")
    assert (told.progress, scene.coordinator.read_count) == ([None, b"half"], 1)


async def test_many_who_want_the_progress_of_a_task_cost_one_read(scene: Scene) -> None:
    token = await started(scene)
    all_told = [Told(scene.waiting.subscribe({"a": None}, include_progress=True)) for _ in range(20)]
    for told in all_told:
        await told.until_answered()
    scene.hears = False
    await scene.say_progress("a", token, b"half")

    scene.waiting.apply(TaskChanged(task_id="a", is_progress=True))

    for told in all_told:
        await told.until(lambda told: b"half" in told.progress, "the progress is told")
    assert scene.coordinator.read_count == 1


async def test_progress_during_the_registration_is_told(scene: Scene) -> None:
    token = await started(scene)
    scene.coordinator.let_go.clear()
    told = Told(scene.waiting.subscribe({"a": 2}, include_progress=True))
    await scene.coordinator.answered.wait()
    scene.hears = False
    await scene.say_progress("a", token, b"half")
    scene.waiting.apply(TaskChanged(task_id="a", is_progress=True))

    scene.coordinator.let_go.set()

    await told.until(lambda told: b"half" in told.progress, "the progress is told")
    assert told.progress == [b"half"]


async def test_progress_passes_who_has_seen_the_revision_already(scene: Scene) -> None:
    token = await started(scene)
    await scene.say_progress("a", token, b"half")

    told = await Told(scene.waiting.subscribe({"a": 2}, include_progress=True)).until_answered()
    plain = await Told(scene.waiting.subscribe({"a": 2})).until_answered()

    assert (told.progress, plain.progress) == ([b"half"], [])


async def test_progress_missed_while_nothing_was_heard_is_told_after_the_epoch_break(scene: Scene) -> None:
    token = await started(scene)
    told = await Told(scene.waiting.subscribe({"a": None}, include_progress=True)).until_answered()
    scene.hears = False
    await scene.say_progress("a", token, b"half")

    scene.waiting.apply(EpochBreak())

    await told.until(lambda told: b"half" in told.progress, "the progress is told")


async def test_done_only_with_progress_tells_progress_and_the_end(scene: Scene) -> None:
    await scene.submit("a")
    subscription = scene.waiting.subscribe({"a": None}, done_only=True, include_progress=True)
    told = await Told(subscription).until_answered()
    token = await scene.start("a")
    await scene.say_progress("a", token, b"half")
    await told.until(lambda told: b"half" in told.progress, "the progress is told")
    await scene.harness.store.store_results(0, [a_success("a", token)])
    await told.until_state("SUCCESS")

    assert told.states == ["PENDING", "STARTED", "SUCCESS"]


async def test_newcomer_is_told_the_progress_of_now(scene: Scene) -> None:
    token = await started(scene)
    await Told(scene.waiting.subscribe({"a": None})).until_answered()
    await scene.say_progress("a", token, b"half")
    await eventually_async(lambda: scene.waiting._entries.get("a").snapshot.progress == b"half", "it was heard of")  # type: ignore[union-attr]

    told = await Told(scene.waiting.subscribe({"a": None})).until_answered()

    assert told.progress == [b"half"]
