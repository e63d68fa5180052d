"""What attempts say of their progress."""

from dataclasses import replace

from tailrace.server.domain.task import TaskState
from tailrace.server.store.base import MAX_CALL_BYTES
from tailrace.server.store.changes import LeaseNews, QueueReady, TaskChanged
from tailrace.server.store.values import Beat, Delivery
from tests.store.builders import STOP, a_failure, a_policy, a_submission, a_success
from tests.store.redis_harness import open_redis
from tests.store.redis_listener import Listener, listening_to
from tests.store.steps import Steps


async def test_progress_is_read_with_the_task_and_makes_no_new_revision(steps: Steps) -> None:
    delivery = await steps.submit_and_start()
    started = await steps.read()
    await steps.harness.advance(1_000)

    await steps.beat(delivery, progress=b"half \x00\xff")

    assert await steps.read() == replace(started, progress=b"half \x00\xff")


async def test_the_beat_that_starts_the_attempt_may_bring_progress(steps: Steps) -> None:
    await steps.submit_one()
    delivery = await steps.deliver()

    await steps.beat(delivery, progress=b"first")

    snapshot = await steps.read()
    assert (snapshot.state, snapshot.revision, snapshot.progress) == (TaskState.STARTED, 2, b"first")


async def test_the_latest_progress_holds_and_a_beat_without_leaves_it(steps: Steps) -> None:
    delivery = await steps.submit_and_start()
    await steps.beat(delivery, progress=b"one, which is longer")
    await steps.beat(delivery, progress=b"two")

    await steps.beat(delivery)

    assert (await steps.read()).progress == b"two"


async def test_beats_of_one_call_each_bring_theirs(steps: Steps) -> None:
    await steps.submit(a_submission("a"), a_submission("b"))
    a, b = (await steps.lease(count=2, start_immediately=True)).deliveries

    await steps.store.beat_leases(0, [a_beat(a, b"a1"), a_beat(b, b"b1"), a_beat(a, b"a2"), a_beat(b, None)])

    assert [(await steps.read(task_id)).progress for task_id in "ab"] == [b"a2", b"b1"]


def a_beat(delivery: Delivery, progress: bytes | None) -> Beat:
    return Beat(task_id=delivery.task_id, lease_token=delivery.lease_token, progress=progress)


async def test_before_the_start_progress_is_dropped(steps: Steps) -> None:
    await steps.submit_one()
    delivery = await steps.deliver()

    await steps.beat(delivery, is_waiting=True, progress=b"too early")
    assert (await steps.read()).progress is None
    await steps.beat(delivery)
    assert (await steps.read()).progress is None


async def test_after_the_start_a_waiting_beat_brings_progress_like_any_other(steps: Steps) -> None:
    delivery = await steps.submit_and_start()

    await steps.beat(delivery, is_waiting=True, progress=b"half")

    assert (await steps.read()).progress == b"half"


async def test_who_lost_the_lease_makes_no_progress(steps: Steps) -> None:
    delivery = await steps.submit_and_start()
    await steps.beat(delivery, progress=b"mine")
    foreign = replace(delivery, lease_token=delivery.lease_token[:4] + b"foreign!")

    assert await steps.beat(foreign, progress=b"theirs") is None

    assert (await steps.read()).progress == b"mine"


async def test_the_next_attempt_is_handed_what_the_one_before_said_last(steps: Steps) -> None:
    first = await steps.submit_and_start(a_submission(retry_policy=a_policy(2)))
    assert first.progress is None
    await steps.beat(first, progress=b"half")
    await steps.end(a_failure("task-1", first.lease_token, next_retry_delay_ms=0))
    assert (await steps.read()).progress == b"half"

    second = await steps.deliver()

    assert second.progress == b"half"
    await steps.beat(second)
    assert (await steps.read()).progress == b"half"


async def test_progress_outlives_a_lost_lease_and_a_release(steps: Steps) -> None:
    first = await steps.submit_and_start(a_submission(lease_ms=2_000))
    await steps.beat(first, progress=b"one")
    await steps.pass_time(2_000)
    second = await steps.deliver()
    assert second.progress == b"one"
    await steps.beat(second, progress=b"two")

    await steps.release(second)

    assert (await steps.deliver()).progress == b"two"


async def test_nothing_is_left_of_it_once_the_task_is_done(steps: Steps) -> None:
    for task_id in ("succeeds", "fails", "is-revoked"):
        delivery = await steps.submit_and_start(a_submission(task_id, result_ttl_ms=60_000))
        await steps.beat(delivery, progress=b"half")
        if task_id == "succeeds":
            await steps.end(a_success(task_id, delivery.lease_token))
        elif task_id == "fails":
            await steps.end(a_failure(task_id, delivery.lease_token))
        else:
            await steps.revoke(task_id, is_forced=True)

        assert (await steps.read(task_id)).is_done
        assert (await steps.read(task_id)).progress is None
        assert (await steps.detail(task_id)).snapshot.progress is None


async def test_an_id_that_is_free_again_has_no_progress_of_the_task_before(steps: Steps) -> None:
    delivery = await steps.submit_and_start(a_submission(result_ttl_ms=1))
    await steps.beat(delivery, progress=b"half")
    await steps.end(a_success("task-1", delivery.lease_token))
    await steps.harness.advance(1)

    assert (await steps.submit_and_start()).progress is None
    assert (await steps.read()).progress is None


async def test_progress_is_left_out_where_an_answer_has_no_room_and_that_is_said(steps: Steps) -> None:
    await steps.submit(a_submission("a"), a_submission("b"))
    for delivery in (await steps.lease(count=2, start_immediately=True)).deliveries:
        await steps.beat(delivery, progress=b"p" * MAX_CALL_BYTES)

    first, second = await steps.store.read_tasks(0, ["a", "b"])

    assert first is not None
    assert second is not None
    assert (first.is_whole, len(first.progress or b"")) == (True, MAX_CALL_BYTES)
    assert (second.is_whole, second.progress) == (False, None)


async def test_answers_without_payloads_are_without_progress(steps: Steps) -> None:
    delivery = await steps.submit_and_start()
    await steps.beat(delivery, progress=b"half")

    again = await steps.submit_one()
    (revoked,) = await steps.revoke()

    assert revoked is not None
    assert (again.snapshot.progress, revoked.progress) == (None, None)


async def test_progress_is_kept_over_a_restart(steps: Steps) -> None:
    delivery = await steps.submit_and_start()
    await steps.beat(delivery, progress=b"half")

    await steps.harness.reopen()

    assert (await steps.read()).progress == b"half"


async def test_progress_is_told_as_such_to_whoever_registered_for_it(steps: Steps) -> None:
    async with listening_to(steps.store) as listener:
        delivery = await steps.submit_and_start()
        await hears_the_start(listener)
        (registered,) = await steps.store.register_waits(0, ["task-1"], with_progress=True)
        assert registered == await steps.read()

        await steps.beat(delivery, progress=b"half")

        heard = await listener.hears_of("task-1")
        assert (heard.is_progress, heard.is_done) in {(True, None), (True, False)}
        assert heard.snapshot in {None, await steps.read()}


async def test_a_beat_that_brings_none_is_not_told(steps: Steps) -> None:
    async with listening_to(steps.store) as listener:
        delivery = await steps.submit_and_start()
        await hears_the_start(listener)
        await steps.store.register_waits(0, ["task-1"], with_progress=True)

        await steps.beat(delivery)
        await steps.submit(a_submission("last", queue="sign"))

        await listener.hears_exactly(QueueReady("sign"))
        assert listener.of_task("task-1") == []


async def test_a_beat_that_starts_the_attempt_tells_of_more_than_progress(steps: Steps) -> None:
    async with listening_to(steps.store) as listener:
        await steps.submit_one()
        await steps.store.register_waits(0, ["task-1"], with_progress=True)
        delivery = await steps.deliver()
        await steps.submit(a_submission("last"))
        await listener.hears_of("last")
        listener.changes.clear()

        await steps.beat(delivery, progress=b"half")

        await listener.hears(
            lambda change: isinstance(change, TaskChanged) and change.task_id == "task-1" and not change.is_progress
        )


async def hears_the_start(listener: Listener) -> None:
    await listener.hears(lambda change: isinstance(change, QueueReady))
    await listener.hears(lambda _: len(listener.of_task("task-1")) >= 2)
    listener.changes.clear()


async def test_a_request_to_stop_is_answered_along_with_progress(steps: Steps) -> None:
    delivery = await steps.submit_and_start()
    await steps.revoke()

    held = await steps.beat_for_news(delivery, progress=b"half")

    assert held is not None
    assert (held.revocation, (await steps.read()).progress) == (STOP, b"half")


async def test_progress_reaches_other_processes_that_registered_for_it_and_no_others(redis_url: str) -> None:
    async with open_redis(redis_url) as harness, listening_to(other := await harness.second_store()) as elsewhere:
        await harness.store.submit_tasks(0, [a_submission("wanted"), a_submission("unwanted")])
        steps = Steps(harness)
        wanted, unwanted = (await steps.lease(count=2, start_immediately=True)).deliveries
        await other.register_waits(0, ["wanted"], with_progress=True)
        await other.register_waits(0, ["unwanted"])

        await steps.beat(unwanted, progress=b"half")
        await steps.beat(wanted, progress=b"half")

        heard = await elsewhere.hears_of("wanted")
        assert heard.is_progress
        assert elsewhere.of_task("unwanted") == []
        await steps.end(a_success("unwanted", unwanted.lease_token))
        assert not (await elsewhere.hears_of("unwanted")).is_progress
        assert not [change for change in elsewhere.changes if isinstance(change, LeaseNews)]
