"""Submitting to queues that may hold only so many waiting tasks."""

from dataclasses import replace

from tailrace.server.domain.task import Place, TaskState
from tailrace.server.store.changes import QueueReady
from tests.store.builders import a_submission, a_success
from tests.store.redis_listener import listening_to
from tests.store.steps import Steps


async def test_a_task_over_the_limit_is_not_accepted_and_that_is_said(steps: Steps) -> None:
    await steps.submit(a_submission("first"))

    (second,) = await steps.submit(a_submission("second"), max_queue_depth=1)

    assert (second.is_created, second.is_conflict, second.is_queue_full) == (False, False, True)
    snapshot = second.snapshot
    assert (snapshot.task_id, snapshot.state, snapshot.place) == ("second", TaskState.PENDING, Place.READY)
    assert await steps.find("second") is None
    assert (await steps.queue()).ready_count == 1
    assert await steps.drain() == ["first"]


async def test_those_of_the_call_itself_count(steps: Steps) -> None:
    outcomes = await steps.submit(*(a_submission(task_id) for task_id in "abcd"), max_queue_depth=3)

    assert [outcome.is_created for outcome in outcomes] == [True, True, True, False]
    assert [outcome.is_queue_full for outcome in outcomes] == [False, False, False, True]
    assert await steps.drain() == ["a", "b", "c"]


async def test_tasks_on_the_schedule_count(steps: Steps) -> None:
    await steps.submit(a_submission("delayed", start_delay_ms=1_000))

    (ready,) = await steps.submit(a_submission("ready"), max_queue_depth=1)
    (delayed,) = await steps.submit(a_submission("delayed-too", start_delay_ms=1_000), max_queue_depth=1)

    assert (ready.is_queue_full, delayed.is_queue_full) == (True, True)


async def test_what_workers_have_and_what_is_done_does_not_count(steps: Steps) -> None:
    done = await steps.submit_and_start(a_submission("done"))
    await steps.end(a_success("done", done.lease_token))
    await steps.submit(a_submission("held"), a_submission("revoked"))
    await steps.start()
    await steps.revoke("revoked")

    (fits,) = await steps.submit(a_submission("fits"), max_queue_depth=1)
    (full,) = await steps.submit(a_submission("full"), max_queue_depth=1)

    assert (fits.is_created, full.is_queue_full) == (True, True)


async def test_each_queue_has_its_own_room(steps: Steps) -> None:
    submissions = [a_submission(f"{queue}-{number}", queue=queue) for number in (1, 2) for queue in ("one", "two")]

    outcomes = await steps.submit(*submissions, max_queue_depth=1)

    assert [outcome.is_created for outcome in outcomes] == [True, True, False, False]


async def test_a_task_that_exists_is_answered_all_the_same(steps: Steps) -> None:
    first = await steps.submit_one(a_submission("first"))

    same, other = await steps.submit(a_submission("first"), a_submission("first", payload=b"2"), max_queue_depth=1)

    assert same == replace(first, is_created=False)
    assert other == replace(first, is_created=False, is_conflict=True)


async def test_a_task_that_was_not_accepted_makes_no_conflict(steps: Steps) -> None:
    await steps.submit(a_submission("first"))

    outcomes = await steps.submit(a_submission("x"), a_submission("x", payload=b"2"), max_queue_depth=1)

    assert [(one.is_queue_full, one.is_conflict) for one in outcomes] == [(True, False), (True, False)]


async def test_a_queue_for_which_nothing_was_accepted_is_not_known(steps: Steps) -> None:
    async with listening_to(steps.store) as listener:
        (outcome,) = await steps.submit(a_submission(), max_queue_depth=0)
        await steps.submit(a_submission("sign", queue="sign"))
        await listener.hears_exactly(QueueReady("sign"))

        assert outcome.is_queue_full
        assert [stats.queue for stats in await steps.store.list_queues(0, "", 10)] == ["sign"]
        assert (listener.queues(), listener.of_task("task-1")) == (["sign"], [])


async def test_there_is_no_limit_unless_one_is_given(steps: Steps) -> None:
    outcomes = await steps.submit(*(a_submission(f"task-{number}") for number in range(100)))

    assert all(outcome.is_created for outcome in outcomes)
