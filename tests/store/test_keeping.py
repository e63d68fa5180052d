"""What is accepted is kept: through a restart, and through calls that are repeated because their answer was lost."""

from collections.abc import Awaitable, Callable

import pytest

from tailrace.server.domain.errors import StoreUnavailableError
from tailrace.server.domain.retry import RetryPolicy
from tailrace.server.domain.task import Submission, TaskState
from tailrace.server.store.values import Beat, Delivery, Release
from tests.store.builders import LOST, a_failure, a_lease_request, a_policy, a_revocation, a_submission, a_success
from tests.store.harness import Harness
from tests.store.steps import Steps

POLICY = RetryPolicy(
    max_attempts=7,
    initial_backoff_ms=1_500,
    max_backoff_ms=9_999,
    backoff_multiplier=1.1,
    non_retryable_types=("KeyError", "com.acme.Däclined"),
)


def everywhere() -> list[Submission]:
    return [
        a_submission("ready", priority=3),
        a_submission("scheduled", start_delay_ms=5_000),
        a_submission("succeeded", queue="q"),
        a_submission("failed", queue="q"),
        a_submission("revoked", queue="q"),
        a_submission("retrying", queue="q", retry_policy=POLICY),
        a_submission("running", queue="q"),
        a_submission("delivered", queue="q"),
    ]


async def spread(steps: Steps) -> dict[str, Delivery]:
    """Bring a task to every place and state."""
    await steps.submit(*everywhere())
    deliveries = {d.task_id: d for d in (await steps.lease("q", count=6)).deliveries}
    token = {task_id: delivery.lease_token for task_id, delivery in deliveries.items()}
    await steps.end(a_success("succeeded", token["succeeded"]))
    await steps.end(a_failure("failed", token["failed"]))
    await steps.end(a_revocation("revoked", token["revoked"]))
    await steps.end(a_failure("retrying", token["retrying"]))
    await steps.beat(deliveries["running"])
    return deliveries


async def test_a_restart_keeps_every_task_where_it_was(steps: Steps) -> None:
    await spread(steps)
    task_ids = [submission.task_id for submission in everywhere()]
    before = await steps.store.read_tasks(0, task_ids)
    assert None not in before

    await steps.harness.reopen()

    assert await steps.store.read_tasks(0, task_ids) == before


async def test_after_a_restart_life_goes_on(steps: Steps) -> None:
    deliveries = await spread(steps)

    await steps.harness.reopen()

    assert await steps.beat(deliveries["delivered"]) is not None
    stored = await steps.end(a_success("running", deliveries["running"].lease_token))
    assert stored is not None
    duplicate = await steps.end(a_success("succeeded", deliveries["succeeded"].lease_token))
    assert duplicate is not None
    assert duplicate.is_duplicate
    assert await steps.drain() == ["ready"]
    assert (await steps.promote()).next_due_ms == 750  # half of POLICY's first backoff
    await steps.harness.advance(5_000)
    assert (await steps.promote()).count == 2
    assert await steps.drain("default", "q") == ["scheduled", "retrying"]


async def test_a_restart_keeps_the_order_of_queues(steps: Steps) -> None:
    await steps.submit(*(a_submission(task_id) for task_id in ("b", "a", "c")))
    await steps.release(await steps.deliver())
    await steps.harness.reopen()
    await steps.submit(a_submission("d"))

    assert await steps.drain() == ["b", "a", "c", "d"]


async def test_a_restart_keeps_the_whole_policy(steps: Steps) -> None:
    await steps.submit(a_submission("one", retry_policy=POLICY), a_submission("two", retry_policy=POLICY))
    one, two = (await steps.lease(count=2)).deliveries
    await steps.harness.reopen()

    final = await steps.end(a_failure("one", one.lease_token, failure_type="com.acme.Däclined"))
    again = await steps.end(a_failure("two", two.lease_token, jitter=65_535))

    assert final is not None
    assert again is not None
    assert (final.state, again.state) == (TaskState.FAILURE, TaskState.RETRY)
    assert (await steps.promote()).next_due_ms == 1_500


async def test_to_close_twice_is_to_close_once_and_a_closed_store_says_so(harness: Harness) -> None:
    store = harness.store
    await store.close()
    await store.close()

    with pytest.raises(StoreUnavailableError):
        await store.read_tasks(0, ["task-1"])


Call = Callable[[Steps, Delivery], Awaitable[object]]
CALLS: dict[str, Call] = {
    "submit": lambda steps, _: steps.submit(a_submission("task-1"), a_submission("new"), a_submission("task-1")),
    "read": lambda steps, _: steps.store.read_tasks(0, ["task-1", "task-2"]),
    "register": lambda steps, _: steps.store.register_waits(0, ["task-1", "task-2"]),
    "beat": lambda steps, d: steps.store.beat_leases(0, [Beat(task_id=d.task_id, lease_token=d.lease_token)]),
    "waiting_beat": lambda steps, d: steps.beat(d, is_waiting=True),
    "success": lambda steps, d: steps.end(a_success(d.task_id, d.lease_token)),
    "failure": lambda steps, d: steps.end(a_failure(d.task_id, d.lease_token)),
    "retry": lambda steps, d: steps.end(a_failure(d.task_id, d.lease_token, default_retry_policy=a_policy(2))),
    "revoked": lambda steps, d: steps.end(a_revocation(d.task_id, d.lease_token)),
    "release": lambda steps, d: steps.store.release_leases(
        0, [Release(task_id=d.task_id, lease_token=d.lease_token)], LOST
    ),
    "reap": lambda steps, _: steps.reap(),
    "promote": lambda steps, _: steps.promote(),
    "expire": lambda steps, _: steps.expire(),
}


@pytest.mark.parametrize("name", CALLS)
async def test_a_call_repeated_because_its_answer_was_lost_leaves_the_store_as_it_was(steps: Steps, name: str) -> None:
    await steps.submit(a_submission("task-1"), a_submission("task-2"), a_submission("task-3", start_delay_ms=1))
    first, _ = (await steps.lease(count=2)).deliveries
    await steps.harness.advance(1)
    await CALLS[name](steps, first)
    task_ids = ["task-1", "task-2", "task-3", "new"]
    before = await steps.store.read_tasks(0, task_ids)

    await CALLS[name](steps, first)

    assert await steps.store.read_tasks(0, task_ids) == before
    ready = await steps.drain()
    assert len(ready) == len(set(ready))
    assert await steps.drain() == []


async def test_a_lease_call_whose_answer_was_lost_costs_the_tasks_ten_seconds_and_nothing_else(steps: Steps) -> None:
    await steps.submit(a_submission("a"), a_submission("b"))
    before = await steps.store.read_tasks(0, ["a", "b"])
    await steps.store.lease_tasks(0, a_lease_request(count=2))

    await steps.store.lease_tasks(0, a_lease_request(count=2))
    await steps.pass_time(10_000)

    assert await steps.store.read_tasks(0, ["a", "b"]) == before
    assert await steps.drain() == ["a", "b"]
