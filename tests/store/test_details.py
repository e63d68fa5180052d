"""Looking at whole records."""

from dataclasses import replace

from tailrace.server.domain.detail import TaskDetail
from tailrace.server.domain.task import TaskState
from tailrace.server.store.base import MAX_CALL_BYTES
from tests.store.builders import HEAD, STOP, a_failure, a_policy, a_submission, a_success
from tests.store.harness import START_MS
from tests.store.steps import Steps


async def test_a_waiting_task_is_shown_as_it_was_submitted(steps: Steps) -> None:
    await steps.submit(a_submission(payload=b"\x00\xff"))
    await steps.harness.advance(7)

    assert await steps.detail() == TaskDetail(
        snapshot=await steps.read(),
        request=HEAD + b"\x00\xff",
        create_ms=START_MS,
        start_ms=None,
        worker_id="",
        lease_expire_ms=None,
        delivery_count=0,
        is_revoke_requested=False,
    )


async def test_a_leased_task_shows_who_has_it_since_when_and_until_when(steps: Steps) -> None:
    await steps.submit(a_submission(lease_ms=30_000))
    await steps.harness.advance(100)
    delivery = await steps.deliver(worker_id="one")

    delivered = await steps.detail()
    assert (delivered.worker_id, delivered.start_ms, delivered.delivery_count) == ("one", None, 1)
    assert delivered.lease_expire_ms == delivery.lease_expire_ms
    await steps.harness.advance(50)
    await steps.beat(delivery)
    await steps.harness.advance(1_000)
    await steps.beat(delivery)

    started = await steps.detail()
    assert (started.worker_id, started.start_ms) == ("one", START_MS + 150)
    assert started.lease_expire_ms == START_MS + 1_150 + 30_000
    assert started.snapshot == await steps.read()


async def test_the_worker_is_who_said_so_last(steps: Steps) -> None:
    await steps.submit_one()
    delivery = await steps.deliver()
    assert (await steps.detail()).worker_id == ""

    await steps.beat(delivery, is_waiting=True, worker_id="one")
    assert (await steps.detail()).worker_id == "one"
    await steps.beat(delivery, worker_id="two with a long name" * 5)
    assert (await steps.detail()).worker_id == "two with a long name" * 5
    await steps.beat(delivery)
    assert (await steps.detail()).worker_id == "two with a long name" * 5


async def test_between_two_attempts_the_latest_one_is_shown(steps: Steps) -> None:
    await steps.submit(a_submission(retry_policy=a_policy(2)))
    delivery = await steps.deliver(worker_id="one")
    await steps.beat(delivery)
    await steps.end(a_failure("task-1", delivery.lease_token, failure=b"broken"))

    detail = await steps.detail()

    assert (detail.worker_id, detail.start_ms, detail.lease_expire_ms) == ("one", START_MS, None)
    assert (detail.snapshot.state, detail.snapshot.last_failure) == (TaskState.RETRY, b"broken")


async def test_a_request_to_stop_is_shown_as_long_as_nobody_followed_it(steps: Steps) -> None:
    delivery = await steps.submit_and_start()
    await steps.revoke()
    assert (await steps.detail()).is_revoke_requested

    await steps.release(delivery)

    detail = await steps.detail()
    assert (detail.is_revoke_requested, detail.snapshot.failure) == (False, STOP)


async def test_a_task_that_succeeded_shows_its_result_and_no_input(steps: Steps) -> None:
    await steps.submit_one()
    delivery = await steps.deliver(worker_id="one")
    await steps.harness.advance(10)
    await steps.end(a_success("task-1", delivery.lease_token, result=b"3"))

    detail = await steps.detail()

    assert detail == TaskDetail(
        snapshot=await steps.read(),
        request=HEAD,
        create_ms=START_MS,
        start_ms=START_MS + 10,
        worker_id="one",
        lease_expire_ms=None,
        delivery_count=1,
        is_revoke_requested=False,
    )
    assert detail.snapshot.result == b"3"


async def test_a_task_that_failed_shows_all_that_is_needed_to_run_it_again(steps: Steps) -> None:
    delivery = await steps.submit_and_start(a_submission("failed"))
    await steps.end(a_failure("failed", delivery.lease_token, failure=b"\x00broken"))
    await steps.submit(a_submission("revoked"))
    await steps.revoke("revoked")

    failed, revoked = await steps.detail("failed"), await steps.detail("revoked")

    assert (failed.request, failed.snapshot.failure) == (a_submission().request, b"\x00broken")
    assert (revoked.request, revoked.snapshot.failure) == (a_submission().request, STOP)


async def test_a_task_that_ended_with_nothing_is_whole_too(steps: Steps) -> None:
    await steps.submit(a_submission("no-input", payload=b""))
    delivery = await steps.submit_and_start(a_submission("no-result", priority=1))
    await steps.end(a_success("no-result", delivery.lease_token, result=None))

    no_input, no_result = await steps.detail("no-input"), await steps.detail("no-result")

    assert (no_input.request, no_input.snapshot.is_whole) == (HEAD, True)
    assert (no_result.snapshot.result, no_result.snapshot.is_whole) == (None, True)


async def test_unknown_and_expired_tasks_are_not_there(steps: Steps) -> None:
    delivery = await steps.submit_and_start(a_submission("expired", result_ttl_ms=1_000))
    await steps.end(a_success("expired", delivery.lease_token))
    await steps.submit(a_submission("task-1"))
    await steps.harness.advance(1_000)

    details = await steps.store.read_details(0, ["unknown", "task-1", "expired"])

    assert [detail and detail.snapshot.task_id for detail in details] == [None, "task-1", None]


async def test_payloads_are_left_out_once_there_are_enough_and_that_is_said(steps: Steps) -> None:
    half = MAX_CALL_BYTES // 2
    await steps.submit(*(a_submission(task_id, payload=b"x" * half) for task_id in "abc"))
    deliveries = (await steps.lease(count=2)).deliveries
    for delivery in deliveries:
        await steps.end(a_failure(delivery.task_id, delivery.lease_token, failure=b"f" * half))

    a, b, c = await steps.store.read_details(0, ["a", "b", "c"])

    assert a is not None
    assert a.snapshot.is_whole
    assert (len(a.request), len(a.snapshot.failure or b"")) == (len(HEAD) + half, half)
    assert b == replace(
        await steps.detail("b"), request=HEAD, snapshot=replace(await steps.read("b"), failure=None, is_whole=False)
    )
    assert c == replace(await steps.detail("c"), request=HEAD, snapshot=replace(await steps.read("c"), is_whole=False))


async def test_a_detail_is_kept_over_a_restart(steps: Steps) -> None:
    await steps.submit_one()
    delivery = await steps.deliver(worker_id="one")
    await steps.beat(delivery, progress=b"half")
    before = await steps.detail()

    await steps.harness.reopen()

    assert await steps.detail() == before
