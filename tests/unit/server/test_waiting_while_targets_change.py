"""Targets that come and go while their subscription is open, submits that are followed, a store that lost its data."""

import asyncio
from collections.abc import Sequence

import pytest

from tailrace.server.domain.errors import StoreEmptiedError, TailraceError
from tailrace.server.domain.task import TaskSnapshot
from tailrace.server.store.changes import EpochBreak, StoreEmptied, TaskChanged
from tailrace.server.waiting import entries, reading, subscription
from tests.store.builders import a_submission
from tests.unit.server.turns import other_tasks_ran
from tests.unit.server.waiting_scene import Scene, Told
from tests.wait import eventually_async


async def test_target_that_was_added_later_is_answered_and_followed(scene: Scene) -> None:
    await scene.submit("a", "b")
    told = await Told(scene.waiting.subscribe({"a": None})).until_answered()

    told.subscription.add({"a": None, "b": None})
    await told.until_answered()
    await scene.run("a")
    await scene.run("b")

    await told.until(lambda told: told.subscription.is_all_done, "all ends are told")
    assert [snapshot.task_id for snapshot in told.snapshots if snapshot.state == "PENDING"] == ["a", "b"]


async def test_target_that_was_dropped_is_told_of_no_more_though_its_news_were_waiting(scene: Scene) -> None:
    await scene.submit("a", "b")
    told = await Told(scene.waiting.subscribe({"a": None, "b": None})).until_answered()
    await scene.run("a")
    await eventually_async(lambda: not told.subscription.is_answered, "there are news")

    told.subscription.drop(["a", "a", "unknown"])
    await scene.run("b")

    await told.until(lambda told: told.subscription.is_all_done, "what is left is told")
    assert [snapshot.task_id for snapshot in told.snapshots if snapshot.is_done] == ["b"]
    assert (scene.waiting.task_count, scene.waiting.kept_bytes) == (0, 0)


async def test_target_counts_until_the_last_word_of_it_was_taken(scene: Scene) -> None:
    await scene.submit("a")
    told = Told(scene.waiting.subscribe({"a": None, "unknown": None}))
    await scene.run("a")
    await eventually_async(lambda: scene.waiting.task_count == 1, "the unknown one was heard of")
    assert told.subscription.target_count == 2

    await told.until_state("SUCCESS")
    await told.until(lambda told: told.not_found == ["unknown"], "the unknown one is told")

    assert told.subscription.target_count == 0


async def test_expected_task_is_not_asked_for_and_no_change_of_it_is_missed(scene: Scene) -> None:
    told = Told(scene.waiting.subscribe({}))
    told.subscription.expect("a")
    (submitted,) = await scene.harness.store.submit_tasks(0, [a_submission("a", is_watched=True)])
    await scene.run("a")
    await other_tasks_ran()
    assert told.subscription.is_answered

    told.subscription.accepted("a", submitted.snapshot.revision)
    assert told.subscription.is_answered
    told.subscription.release("a")

    await told.until_state("SUCCESS")
    assert (told.states, scene.coordinator.registered) == (["SUCCESS"], [])


async def test_what_the_answer_to_a_submit_told_is_not_told_again(scene: Scene) -> None:
    told = Told(scene.waiting.subscribe({}))
    told.subscription.expect("a")
    await scene.harness.store.submit_tasks(0, [a_submission("a", is_watched=True)])
    told.subscription.accepted("a", 1)
    told.subscription.release("a")
    await other_tasks_ran()
    assert told.subscription.is_answered

    await scene.run("a")

    await told.until_state("SUCCESS")
    assert "PENDING" not in told.states


async def test_expected_task_that_existed_is_told_as_if_it_had_been_added(scene: Scene) -> None:
    await scene.submit("a")
    await scene.run("a")
    told = Told(scene.waiting.subscribe({}))

    told.subscription.expect("a")
    told.subscription.accepted("a", None)
    told.subscription.release("a")

    await told.until_state("SUCCESS")
    assert told.snapshots[0].result == b"3"


async def test_expected_task_that_was_not_accepted_is_forgotten_once_that_was_told(scene: Scene) -> None:
    subscription = scene.waiting.subscribe({})
    subscription.expect("a")
    assert scene.waiting.task_count == 1

    subscription.release("a")
    subscription.release("a")

    assert (scene.waiting.task_count, subscription.is_all_done) == (0, True)


async def test_task_that_is_added_while_it_is_being_submitted_is_followed_though_the_submit_fails(scene: Scene) -> None:
    await scene.submit("a")
    told = Told(scene.waiting.subscribe({}))
    for task_id in ("a", "unknown"):
        told.subscription.expect(task_id)
    told.subscription.add({"a": None, "unknown": None})

    for task_id in ("a", "unknown"):
        told.subscription.release(task_id)

    await told.until(lambda told: told.states == ["PENDING"] and told.not_found == ["unknown"], "both are answered")
    await scene.run("a")
    await told.until_state("SUCCESS")


async def test_answer_to_a_submit_is_the_first_one_for_who_wants_ends_only(scene: Scene) -> None:
    told = Told(scene.waiting.subscribe({}, done_only=True))
    told.subscription.add({"a": None})
    told.subscription.expect("a")
    await scene.harness.store.submit_tasks(0, [a_submission("a", is_watched=True)])
    told.subscription.accepted("a", 1)
    told.subscription.release("a")

    await scene.start("a")
    await other_tasks_ran()

    assert (await told.subscription.take()).snapshots == ()
    told.subscription.close()


async def test_news_that_waited_when_their_task_was_submitted_again_wait_for_the_answer(scene: Scene) -> None:
    await scene.submit("a")
    told = Told(scene.waiting.subscribe({"a": None}))
    await eventually_async(lambda: told.subscription._changed, "there are news")

    told.subscription.expect("a")

    assert (await told.subscription.take()).snapshots == ()
    told.subscription.accepted("a", None)
    told.subscription.release("a")
    await told.until_answered()
    assert told.states == ["PENDING"]


async def test_news_that_are_being_read_when_their_task_is_submitted_again_wait_for_the_answer(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "MAX_KEPT_BYTES", 0)
    await scene.submit("a")
    await scene.run("a")
    told = Told(scene.waiting.subscribe({"a": None}))
    await eventually_async(lambda: told.subscription._changed, "there are news")
    real, is_read, may_answer = scene.coordinator.read, asyncio.Event(), asyncio.Event()

    async def slow(task_ids: Sequence[str]) -> list[TaskSnapshot | TailraceError | None]:
        outcomes = await real(task_ids)
        is_read.set()
        await may_answer.wait()
        return outcomes

    monkeypatch.setattr(scene.coordinator, "read", slow)
    taking = asyncio.ensure_future(told.subscription.take())
    await is_read.wait()

    told.subscription.expect("a")
    may_answer.set()

    assert (await taking).snapshots == ()
    told.subscription.accepted("a", None)
    told.subscription.release("a")
    await told.until_state("SUCCESS")


async def test_task_that_is_submitted_while_it_is_followed_is_not_told_to_be_unknown(scene: Scene) -> None:
    told = Told(scene.waiting.subscribe({"a": None}))
    told.subscription.expect("a")
    await eventually_async(scene.coordinator.answered.is_set, "the store was asked")
    await other_tasks_ran()

    await scene.harness.store.submit_tasks(0, [a_submission("a", is_watched=True)])
    told.subscription.accepted("a", 1)
    told.subscription.release("a")
    await scene.run("a")

    await told.until_state("SUCCESS")
    assert told.not_found == []


async def test_epoch_break_while_a_task_is_expected_does_not_make_it_unknown(scene: Scene) -> None:
    told = Told(scene.waiting.subscribe({}))
    told.subscription.expect("a")
    scene.waiting.apply(EpochBreak())
    await eventually_async(scene.coordinator.answered.is_set, "the store was asked")
    await other_tasks_ran()
    await scene.harness.store.submit_tasks(0, [a_submission("a", is_watched=True)])
    told.subscription.accepted("a", 1)
    told.subscription.release("a")

    await scene.run("a")

    await told.until_state("SUCCESS")
    assert told.not_found == []


async def test_who_joins_a_task_that_another_one_expects_has_it_read(scene: Scene) -> None:
    expecting = scene.waiting.subscribe({})
    expecting.expect("a")
    await scene.submit("a")
    await other_tasks_ran()

    told = await Told(scene.waiting.subscribe({"a": None})).until_answered()

    assert (told.states, scene.coordinator.registered) == (["PENDING"], [["a"]])


async def test_many_targets_of_one_caller_do_not_hold_up_those_of_others(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscription, "BULK", 10)
    monkeypatch.setattr(reading, "READ_CHUNK", 12)
    monkeypatch.setattr(reading, "READ_SHARE", 4)
    await scene.submit("a")
    greedy = scene.waiting.subscribe({f"unknown-{number}": None for number in range(400)})

    told = await Told(scene.waiting.subscribe({"a": None})).until_answered()

    assert told.states == ["PENDING"]
    assert not greedy.is_answered
    assert len(scene.coordinator.registered) <= 5
    greedy.close()


async def test_change_of_one_task_is_told_while_thousands_of_others_have_no_answer_yet(scene: Scene) -> None:
    names = [f"unknown-{number}" for number in range(20_000)]
    scene.coordinator.is_away = True
    await scene.submit("a")
    subscription = scene.waiting.subscribe(dict.fromkeys(names), done_only=True)
    subscription.add({"a": None})
    (snapshot,) = await scene.harness.store.read_tasks(0, ["a"])

    scene.waiting.apply(TaskChanged(task_id="a", snapshot=snapshot, is_done=False))
    news = await subscription.take()

    assert [snapshot.task_id for snapshot in news.snapshots] == ["a"]
    subscription.close()


async def test_waits_for_what_the_store_had_end_when_it_lost_its_data(scene: Scene) -> None:
    await scene.submit("a")
    told = await Told(scene.waiting.subscribe({"a": None, "b": None})).until_answered()
    empty = scene.waiting.subscribe({})

    scene.waiting.apply(StoreEmptied())

    await told.subscription.wait(60)
    with pytest.raises(StoreEmptiedError):
        await told.subscription.take()
    assert (await empty.take()).snapshots == ()
    assert (scene.waiting.task_count, scene.waiting.kept_bytes) == (0, 0)


async def test_wait_for_what_was_submitted_ends_too_when_the_store_lost_its_data(scene: Scene) -> None:
    subscription = scene.waiting.subscribe({})
    subscription.expect("a")
    await scene.harness.store.submit_tasks(0, [a_submission("a", is_watched=True)])
    subscription.accepted("a", 1)
    subscription.release("a")

    scene.waiting.apply(StoreEmptied())

    with pytest.raises(StoreEmptiedError):
        await subscription.take()


async def test_submit_that_was_under_way_when_the_store_lost_its_data_is_nothing_to_trip_over(scene: Scene) -> None:
    await scene.submit("a")
    told = await Told(scene.waiting.subscribe({"a": None})).until_answered()
    told.subscription.expect("b")

    scene.waiting.apply(StoreEmptied())
    told.subscription.accepted("b", 1)
    told.subscription.release("b")

    with pytest.raises(StoreEmptiedError):
        await told.subscription.take()
    assert scene.waiting.task_count == 0


async def test_wait_after_the_store_lost_its_data_works(scene: Scene) -> None:
    await scene.submit("a")
    await Told(scene.waiting.subscribe({"a": None})).until_answered()
    scene.waiting.apply(StoreEmptied())

    told = await Told(scene.waiting.subscribe({"a": None})).until_answered()
    await scene.run("a")

    await told.until_state("SUCCESS")


async def test_entry_that_is_yet_to_be_answered_is_not_counted_as_read_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "READ_AGAIN_TICK_S", 0.01)
    monkeypatch.setattr(reading, "STORE_BACKOFF_S", 0.05)
    await scene.submit("a")
    scene.coordinator.is_away = True
    other = scene.waiting.subscribe({"a": None})
    await eventually_async(lambda: len(scene.coordinator.registered) > 5, "the store is asked again and again")

    assert scene.waiting.read_again_count == 0
    other.close()


async def told_of_an_absence(scene: Scene, task_id: str) -> Told:
    """Have it found out that a task does not exist, and not taken yet."""
    told = Told(scene.waiting.subscribe({task_id: None}))
    await eventually_async(lambda: scene.waiting.task_count == 0, "the absence was heard of")
    return told


async def test_target_that_was_not_there_and_is_added_again_is_told_as_it_is_by_then(scene: Scene) -> None:
    told = await told_of_an_absence(scene, "a")
    await scene.submit("a")

    told.subscription.add({"a": None})

    await told.until_state("PENDING")
    assert (told.not_found, told.subscription.done_count) == ([], 0)
    await scene.run("a")
    await told.until(lambda told: told.subscription.is_all_done, "its end is told")


async def test_target_that_was_not_there_and_is_dropped_is_told_of_no_more(scene: Scene) -> None:
    told = await told_of_an_absence(scene, "a")

    told.subscription.drop(["a"])

    assert (await told.subscription.take()).not_found == ()
    assert told.subscription.target_count == 0


async def test_target_that_was_not_there_and_is_submitted_is_not_told_to_be_missing(scene: Scene) -> None:
    told = await told_of_an_absence(scene, "a")

    told.subscription.expect("a")
    (submitted,) = await scene.harness.store.submit_tasks(0, [a_submission("a", is_watched=True)])
    told.subscription.accepted("a", submitted.snapshot.revision)
    told.subscription.release("a")
    await scene.run("a")

    await told.until(lambda told: told.subscription.is_all_done, "its end is told")
    assert (told.not_found, told.states[-1]) == ([], "SUCCESS")


async def test_target_that_was_not_there_is_answered_though_its_submit_is_refused(scene: Scene) -> None:
    told = await told_of_an_absence(scene, "a")

    told.subscription.expect("a")
    told.subscription.release("a")

    await told.until(lambda told: told.not_found == ["a"], "it is not there")
    assert told.subscription.is_all_done
