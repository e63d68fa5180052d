"""Waiting on a real store: the outcome now, every change after it, and the truth in the end whatever got lost."""

import pytest

from tailrace.server.domain.task import TaskState
from tailrace.server.store.changes import TaskChanged
from tests.store.builders import a_failure, a_success
from tests.unit.server.waiting_scene import Scene, Told


async def test_outcome_of_the_moment_is_told_first(scene: Scene) -> None:
    await scene.submit("a")

    told = await Told(scene.waiting.subscribe({"a": None})).until_answered()

    assert (told.states, told.revisions) == (["PENDING"], [1])


async def test_every_change_is_told_until_the_end(scene: Scene) -> None:
    await scene.submit("a")
    told = await Told(scene.waiting.subscribe({"a": None})).until_answered()

    token = await scene.start("a")
    await told.until_state("STARTED")
    await scene.harness.store.store_results(0, [a_success("a", token)])
    await told.until_state("SUCCESS")

    assert told.states == ["PENDING", "STARTED", "SUCCESS"]
    assert told.snapshots[-1].result == b"3"
    assert (told.subscription.is_all_done, told.subscription.done_count) == (True, 1)


async def test_task_that_changed_twice_is_told_once_as_it_is_now(scene: Scene) -> None:
    await scene.submit("a")
    told = await Told(scene.waiting.subscribe({"a": None})).until_answered()
    scene.hears = False
    token = await scene.start("a")
    (started,) = await scene.harness.store.read_tasks(0, ["a"])
    await scene.harness.store.store_results(0, [a_success("a", token)])
    (ended,) = await scene.harness.store.read_tasks(0, ["a"])

    scene.waiting.apply(TaskChanged(task_id="a", snapshot=started, is_done=False))
    scene.waiting.apply(TaskChanged(task_id="a", snapshot=ended, is_done=True))

    await told.until_state("SUCCESS")
    assert told.states == ["PENDING", "SUCCESS"]


async def test_notices_in_the_wrong_order_never_lead_back(scene: Scene) -> None:
    await scene.submit("a")
    told = await Told(scene.waiting.subscribe({"a": None})).until_answered()
    scene.hears = False
    token = await scene.start("a")
    (started,) = await scene.harness.store.read_tasks(0, ["a"])
    await scene.harness.store.store_results(0, [a_failure("a", token)])
    (failed,) = await scene.harness.store.read_tasks(0, ["a"])

    scene.waiting.apply(TaskChanged(task_id="a", snapshot=failed, is_done=True))
    scene.waiting.apply(TaskChanged(task_id="a", snapshot=started, is_done=False))

    await told.until(lambda told: told.subscription.is_all_done, "the end is told")
    assert told.states == ["PENDING", "FAILURE"]
    assert told.subscription.has_failed


async def test_change_before_the_store_was_asked_is_in_the_first_outcome(scene: Scene) -> None:
    await scene.submit("a")
    subscription = scene.waiting.subscribe({"a": None})
    await scene.run("a")

    told = await Told(subscription).until_state("SUCCESS")

    assert told.subscription.is_all_done


@pytest.mark.parametrize("carries_outcome", [True, False])
async def test_change_during_the_registration_is_told(scene: Scene, carries_outcome: bool) -> None:
    await scene.submit("a")
    scene.coordinator.let_go.clear()
    told = Told(scene.waiting.subscribe({"a": None}))
    await scene.coordinator.answered.wait()
    scene.hears = carries_outcome
    await scene.run("a")
    if not carries_outcome:
        scene.waiting.apply(TaskChanged(task_id="a"))

    scene.coordinator.let_go.set()

    await told.until_state("SUCCESS")
    assert told.subscription.is_all_done


async def test_change_heard_of_before_the_registration_was_answered_answers_it(scene: Scene) -> None:
    await scene.submit("a")
    scene.coordinator.let_go.clear()
    told = Told(scene.waiting.subscribe({"a": None}))
    await scene.coordinator.answered.wait()

    await scene.run("a")

    await told.until_state("SUCCESS")
    scene.coordinator.let_go.set()


async def test_done_only_tells_the_outcome_of_the_moment_and_then_the_end(scene: Scene) -> None:
    await scene.submit("a")
    told = await Told(scene.waiting.subscribe({"a": None}, done_only=True)).until_answered()

    await scene.run("a")

    await told.until_state("SUCCESS")
    assert told.states == ["PENDING", "SUCCESS"]


async def test_done_only_costs_no_read_for_what_is_no_end(scene: Scene) -> None:
    await scene.submit("a")
    await Told(scene.waiting.subscribe({"a": None}, done_only=True)).until_answered()
    scene.hears = False

    scene.waiting.apply(TaskChanged(task_id="a", is_done=False))
    other = await Told(scene.waiting.subscribe({"unknown": None})).until_answered()

    assert other.not_found == ["unknown"]
    assert scene.coordinator.registered == [["a"], ["unknown"]]


@pytest.mark.parametrize(("seen", "expected"), [(1, []), (2, ["PENDING"]), (7, ["PENDING"]), (None, ["PENDING"])])
async def test_only_the_very_revision_seen_last_is_held_back(
    scene: Scene, seen: int | None, expected: list[str]
) -> None:
    await scene.submit("a")

    told = await Told(scene.waiting.subscribe({"a": seen})).until_answered()

    assert told.states == expected


@pytest.mark.parametrize("seen", [None, 1, 3, 9])
async def test_end_is_told_whatever_was_seen(scene: Scene, seen: int | None) -> None:
    await scene.submit("a")
    await scene.run("a")

    told = await Told(scene.waiting.subscribe({"a": seen}, done_only=True)).until_answered()

    assert (told.states, told.revisions) == (["SUCCESS"], [3])
    assert told.subscription.is_all_done


async def test_change_after_the_revision_seen_is_told(scene: Scene) -> None:
    await scene.submit("a")
    told = await Told(scene.waiting.subscribe({"a": 1})).until_answered()

    await scene.start("a")

    await told.until_state("STARTED")
    assert told.states == ["STARTED"]


async def test_unknown_id_is_told_once_and_counts_as_done(scene: Scene) -> None:
    await scene.submit("a")
    told = await Told(scene.waiting.subscribe({"a": None, "unknown": None})).until_answered()

    assert (told.states, told.not_found) == (["PENDING"], ["unknown"])
    assert (told.subscription.done_count, told.subscription.is_all_done) == (1, False)
    await scene.fail("a")
    await told.until_state("FAILURE")
    assert (told.subscription.done_count, told.subscription.is_all_done) == (2, True)
    assert told.not_found == ["unknown"]


async def test_failure_is_remembered_and_an_unknown_id_is_none(scene: Scene) -> None:
    await scene.submit("a", "b")
    told = await Told(scene.waiting.subscribe({"a": None, "b": None, "unknown": None})).until_answered()

    await scene.run("a")
    await told.until_state("SUCCESS")
    assert not told.subscription.has_failed
    await scene.fail("b")
    await told.until_state("FAILURE")
    assert told.subscription.has_failed


async def test_task_submitted_while_its_absence_was_reported_is_found_by_who_asks_then(scene: Scene) -> None:
    scene.hears = False
    scene.coordinator.let_go.clear()
    early = Told(scene.waiting.subscribe({"a": None}))
    await scene.coordinator.answered.wait()
    await scene.submit("a")
    late = Told(scene.waiting.subscribe({"a": None}))

    scene.coordinator.let_go.set()

    await early.until_answered()
    await late.until_answered()
    assert (early.not_found, late.not_found, late.states) == (["a"], [], ["PENDING"])


async def test_task_whose_submission_was_heard_of_is_not_told_to_be_unknown(scene: Scene) -> None:
    scene.coordinator.let_go.clear()
    told = Told(scene.waiting.subscribe({"a": None}))
    await scene.coordinator.answered.wait()
    await scene.submit("a")
    await told.until_state("PENDING")

    scene.coordinator.let_go.set()

    await scene.run("a")
    await told.until_state("SUCCESS")
    assert told.not_found == []


async def test_task_is_registered_once_however_many_wait(scene: Scene) -> None:
    await scene.submit("a")
    waits = [Told(scene.waiting.subscribe({"a": None})) for _ in range(20)]
    for told in waits:
        await told.until_answered()
    more = await Told(scene.waiting.subscribe({"a": None})).until_answered()

    await scene.run("a")

    for told in (*waits, more):
        await told.until_state("SUCCESS")
    assert scene.coordinator.registered == [["a"]]


async def test_nothing_is_kept_of_tasks_that_nobody_waits_for(scene: Scene) -> None:
    await scene.submit("a", "b", "c")
    one = scene.waiting.subscribe({"a": None, "b": None, "unknown": None})
    other = scene.waiting.subscribe({"b": None, "c": None})
    await Told(one).until_answered()
    await Told(other).until_answered()
    assert scene.waiting.task_count == 3

    one.close()
    one.close()
    assert scene.waiting.task_count == 2
    other.close()
    assert scene.waiting.task_count == 0


async def test_nothing_is_kept_of_tasks_whose_end_was_told(scene: Scene) -> None:
    await scene.submit("a")
    told = await Told(scene.waiting.subscribe({"a": None})).until_answered()

    await scene.run("a", result=b"x" * 1_000)

    await told.until_state("SUCCESS")
    assert (scene.waiting.task_count, scene.waiting.kept_bytes) == (0, 0)


async def test_answer_for_a_task_that_nobody_waits_for_any_more_is_dropped(scene: Scene) -> None:
    await scene.submit("a")
    scene.coordinator.let_go.clear()
    subscription = scene.waiting.subscribe({"a": None})
    await scene.coordinator.answered.wait()

    subscription.close()
    scene.coordinator.let_go.set()
    scene.waiting.apply(TaskChanged(task_id="a"))
    await Told(scene.waiting.subscribe({"unknown": None})).until_answered()

    assert scene.waiting.task_count == 0


async def test_thousands_of_targets_are_answered(scene: Scene) -> None:
    names = [f"task-{number}" for number in range(2_500)]
    for begin in range(0, len(names), 250):
        await scene.submit(*names[begin : begin + 250])

    told = await Told(scene.waiting.subscribe(dict.fromkeys(names))).until_answered()

    assert {snapshot.task_id for snapshot in told.snapshots} == set(names)
    assert {snapshot.state for snapshot in told.snapshots} == {TaskState.PENDING}
