"""Accepting tasks, once each."""

from dataclasses import replace

from tailrace.server.domain.task import Place, TaskSnapshot, TaskState
from tests.store.builders import a_failure, a_submission, a_success
from tests.store.conftest import OpenHarness
from tests.store.harness import START_MS
from tests.store.steps import Steps


async def test_a_submitted_task_is_pending_and_ready(steps: Steps) -> None:
    submitted = await steps.submit_one(a_submission("task-1"))

    expected = TaskSnapshot(
        task_id="task-1", state=TaskState.PENDING, place=Place.READY, revision=1, attempt=0, update_ms=START_MS
    )
    assert submitted.is_created
    assert not submitted.is_conflict
    assert submitted.snapshot == expected
    assert await steps.read("task-1") == expected


async def test_an_id_that_nobody_submitted_is_unknown_and_not_pending(steps: Steps) -> None:
    await steps.submit_one(a_submission("task-1"))

    assert await steps.store.read_tasks(0, ["no", "task-1", "nor-this"]) == [None, await steps.read("task-1"), None]


async def test_the_same_submission_again_is_answered_with_the_first(steps: Steps) -> None:
    first = await steps.submit_one()
    await steps.harness.advance(1_000)

    second = await steps.submit_one()

    assert second == replace(first, is_created=False)
    assert await steps.drain() == ["task-1"]


async def test_policies_and_times_do_not_make_it_another_request(steps: Steps) -> None:
    await steps.submit_one(a_submission(priority=1))

    again = await steps.submit_one(a_submission(priority=9, lease_ms=5_000, result_ttl_ms=1))

    assert (again.is_created, again.is_conflict) == (False, False)


async def test_an_id_taken_by_another_request_is_a_conflict_that_changes_nothing(steps: Steps) -> None:
    first = await steps.submit_one(a_submission(payload=b"one"))

    second = await steps.submit_one(a_submission(payload=b"two"))

    assert second == replace(first, is_created=False, is_conflict=True)
    assert (await steps.deliver()).request == a_submission(payload=b"one").request


async def test_return_existing_takes_the_task_that_has_the_id_whatever_it_is(steps: Steps) -> None:
    first = await steps.submit_one(a_submission(payload=b"one"))

    second = await steps.submit_one(a_submission(payload=b"two", return_existing=True))

    assert second == replace(first, is_created=False)


async def test_a_resubmission_tells_how_far_the_task_is_without_its_payloads(steps: Steps) -> None:
    delivery = await steps.submit_and_start()
    await steps.end(a_success("task-1", delivery.lease_token))
    done = await steps.read()
    assert done.result is not None

    again = await steps.submit_one()

    assert again.snapshot == replace(done, result=None)


async def test_a_resubmission_of_a_failed_task_does_not_run_it_again(steps: Steps) -> None:
    delivery = await steps.submit_and_start()
    await steps.end(a_failure("task-1", delivery.lease_token))

    again = await steps.submit_one()

    assert not again.is_created
    assert (again.snapshot.state, again.snapshot.failure) == (TaskState.FAILURE, None)
    assert await steps.drain() == []


async def test_items_of_a_call_are_taken_in_order_and_see_those_before_them(steps: Steps) -> None:
    same, other = a_submission("a", payload=b"1"), a_submission("a", payload=b"2")

    outcomes = await steps.submit(same, a_submission("b"), same, other)

    assert [(o.snapshot.task_id, o.is_created, o.is_conflict) for o in outcomes] == [
        ("a", True, False),
        ("b", True, False),
        ("a", False, False),
        ("a", False, True),
    ]
    assert await steps.drain() == ["a", "b"]


async def test_a_task_with_a_delay_is_on_the_schedule(steps: Steps) -> None:
    submitted = await steps.submit_one(a_submission(start_delay_ms=500))

    assert (submitted.snapshot.state, submitted.snapshot.place) == (TaskState.PENDING, Place.SCHEDULE)
    assert await steps.drain() == []


async def test_ids_payloads_and_queues_come_back_as_they_went_in(steps: Steps) -> None:
    task_id, payload = "Zürich::{1}-\U0001f30a", bytes(range(256)) * 8
    submission = a_submission(task_id, queue="a.b-c_d", payload=payload)

    await steps.submit(submission)

    delivery = await steps.deliver("a.b-c_d")
    assert (delivery.task_id, delivery.request) == (task_id, submission.request)


async def test_a_partition_knows_nothing_of_the_tasks_of_others(open_harness: OpenHarness) -> None:
    harness = await open_harness(partitions=4)
    await harness.store.submit_tasks(2, [a_submission("in-two")])
    await harness.store.submit_tasks(3, [a_submission("in-three")])

    here = Steps(harness)

    assert harness.store.partitions == 4
    assert await here.drain() == []
    assert (await harness.store.read_tasks(2, ["in-two"]))[0] is not None
    assert (await harness.store.reap_leases(2, 10, b"")).next_due_ms is None
