"""What callers and data go through when Redis is away, slow, restarted, full, or forgets its scripts."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
from structlog.testing import capture_logs

from tailrace.server.domain.errors import StoreFullError, StoreUnavailableError
from tailrace.server.domain.task import TaskState
from tailrace.server.store.base import REAP_GAP_MS
from tailrace.server.store.changes import EpochBreak, TaskChanged
from tailrace.server.store.redis import connection, notifications
from tailrace.server.store.values import Beat, Release, Revocation
from tests.redis_server import RedisServer, redis_server
from tests.store.builders import LOST, MISSED, STOP, a_failure, a_lease_request, a_submission, a_success
from tests.store.redis_harness import RedisHarness, open_redis
from tests.store.redis_listener import listening_to
from tests.wait import eventually_async


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """Run a Redis that may be ill-treated; each test leaves it running."""
    with redis_server(appendonly="yes", appendfsync="always") as server:
        yield server


@pytest.fixture
async def harness(server: RedisServer) -> AsyncIterator[RedisHarness]:
    async with open_redis(server.url) as harness:
        yield harness


@contextmanager
def stopped(server: RedisServer) -> Iterator[None]:
    """Have Redis neither answer nor hang up."""
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


async def test_calls_fail_soon_while_redis_is_away_and_work_again_when_it_is_back(
    server: RedisServer, harness: RedisHarness
) -> None:
    await harness.store.submit_tasks(0, [a_submission()])
    server.kill()
    try:
        async with asyncio.timeout(connection.CALL_DEADLINE_S):
            # The first call may find a connection of which nobody has noticed yet that it is broken.
            with pytest.raises(StoreUnavailableError, match="the server's Redis"):
                await harness.store.read_tasks(0, ["task-1"])
            with pytest.raises(StoreUnavailableError, match="the server's Redis cannot be reached"):
                await harness.store.read_tasks(0, ["task-1"])
    finally:
        server.start()

    snapshot = (await harness.store.read_tasks(0, ["task-1"]))[0]

    assert snapshot is not None
    assert snapshot.state is TaskState.PENDING


async def test_what_was_done_before_a_crash_is_still_done_after_it(server: RedisServer, harness: RedisHarness) -> None:
    await harness.store.submit_tasks(0, [a_submission("done"), a_submission("held"), a_submission("ready")])
    done, held = (await harness.store.lease_tasks(0, a_lease_request(count=2))).deliveries
    await harness.store.store_results(0, [a_success("done", done.lease_token)])
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)

    repeated = await harness.store.store_results(
        0, [a_success("done", done.lease_token), a_success("held", held.lease_token)]
    )
    left = await harness.store.lease_tasks(0, a_lease_request(count=3, first_nonce=3))

    assert [stored and stored.is_duplicate for stored in repeated] == [True, False]
    assert [delivery.task_id for delivery in left.deliveries] == ["ready"]


async def test_a_command_that_was_certainly_not_executed_is_tried_again_for_a_while(
    server: RedisServer, harness: RedisHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.kill()
    with pytest.raises(StoreUnavailableError):
        await harness.store.submit_tasks(0, [a_submission()])
    monkeypatch.setattr(connection, "UNSENT_PATIENCE_S", 15.0)
    call = asyncio.create_task(harness.store.submit_tasks(0, [a_submission()]))
    await asyncio.to_thread(server.start)

    assert (await call)[0].is_created


async def test_a_redis_that_does_not_answer_is_given_up_and_the_outcome_is_in_doubt(
    server: RedisServer, harness: RedisHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CALL_DEADLINE_S", 0.2)
    async with listening_to(harness.store) as listener:
        with stopped(server):
            with pytest.raises(StoreUnavailableError, match="the server's Redis did not answer in time"):
                await harness.store.submit_tasks(0, [a_submission()])
            await listener.hears_exactly(TaskChanged(task_id="task-1"))
    monkeypatch.undo()

    await harness.store.submit_tasks(0, [a_submission()])

    assert (await harness.store.read_tasks(0, ["task-1"]))[0] is not None


async def test_what_a_caller_who_went_away_has_changed_is_told_all_the_same(
    server: RedisServer, harness: RedisHarness
) -> None:
    async with listening_to(harness.store) as listener:
        with stopped(server), pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await harness.store.submit_tasks(0, [a_submission()])

        assert (await listener.hears_of("task-1")).snapshot is not None


async def test_a_subscription_that_went_dead_without_a_word_is_found_out_and_renewed(
    server: RedisServer, harness: RedisHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifications, "SILENCE_S", 0.1)
    await harness.reopen()

    async with listening_to(harness.store) as listener:
        with stopped(server), capture_logs() as logs:
            await eventually_async(lambda: logs, "the silence is noticed")
        await listener.hears(lambda change: isinstance(change, EpochBreak))

    assert logs[0]["event"] == "notifications_interrupted"
    assert logs[0]["error"] == "Redis did not answer in time"


async def test_a_quiet_subscription_that_answers_is_left_as_it_is(
    harness: RedisHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifications, "SILENCE_S", 0.4)
    await harness.reopen()
    pings_before = await pings(harness)

    async with listening_to(harness.store) as listener:
        while await pings(harness) < pings_before + 2:
            await harness.store.read_tasks(0, ["task-1"])

    assert listener.changes == []


async def pings(harness: RedisHarness) -> int:
    statistics = await harness.admin.info("commandstats")
    return int(statistics.get("cmdstat_ping", {"calls": 0})["calls"])


async def test_answers_go_to_those_who_asked_after_callers_went_away(
    server: RedisServer, harness: RedisHarness
) -> None:
    await harness.store.submit_tasks(0, [a_submission(f"task-{number}") for number in range(40)])
    with stopped(server):
        for number in range(20):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await harness.store.read_tasks(0, [f"task-{number}"])

    answers = await asyncio.gather(*(harness.store.read_tasks(0, [f"task-{number}"]) for number in range(40)))

    found = [snapshot and snapshot.task_id for answer in answers for snapshot in answer]
    assert found == [f"task-{number}" for number in range(40)]


async def test_scripts_that_redis_forgot_are_loaded_again(harness: RedisHarness) -> None:
    await harness.admin.script_flush()

    assert (await harness.store.submit_tasks(0, [a_submission()]))[0].is_created


@asynccontextmanager
async def full(harness: RedisHarness) -> AsyncIterator[None]:
    """Let Redis take nothing that may need more memory."""
    await harness.admin.config_set("maxmemory", "1")
    try:
        yield
    finally:
        await harness.admin.config_set("maxmemory", "0")


async def test_a_full_redis_refuses_new_tasks(harness: RedisHarness) -> None:
    async with full(harness):
        with pytest.raises(StoreFullError, match="the server's Redis has reached its maxmemory"):
            await harness.store.submit_tasks(0, [a_submission()])

    assert await harness.store.read_tasks(0, ["task-1"]) == [None]


async def test_a_server_can_start_on_a_full_redis(harness: RedisHarness) -> None:
    await harness.store.submit_tasks(0, [a_submission()])
    async with full(harness):
        await harness.reopen()

        assert (await harness.store.read_tasks(0, ["task-1"]))[0] is not None


async def test_a_full_redis_lets_accepted_tasks_end(harness: RedisHarness) -> None:
    store = harness.store
    names = ["succeeds", "fails", "released", "lost"]
    await store.submit_tasks(0, [a_submission(name) for name in names])
    await store.submit_tasks(0, [a_submission("delayed", start_delay_ms=1)])
    deliveries = (await store.lease_tasks(0, a_lease_request(count=4))).deliveries
    tokens = {delivery.task_id: delivery.lease_token for delivery in deliveries}
    ends = [a_success("succeeds", tokens["succeeds"]), a_failure("fails", tokens["fails"])]

    async with full(harness):
        assert (await store.register_waits(0, ["lost"]))[0] is not None
        assert await store.beat_leases(0, [Beat(task_id="succeeds", lease_token=tokens["succeeds"])]) != [None]
        assert None not in await store.store_results(0, ends)
        release = Release(task_id="released", lease_token=tokens["released"])
        assert await store.release_leases(0, [release], LOST) == [True]
        assert len((await store.lease_tasks(0, a_lease_request(first_nonce=5))).deliveries) == 1
        assert (await store.reap_leases(0, 10, LOST)).count == 0
    await harness.advance(REAP_GAP_MS)
    async with full(harness):
        assert (await store.promote_due(0, 10)).count == 1
        assert (await store.reap_leases(0, 10, LOST)).count == 0
    await harness.advance(REAP_GAP_MS)
    async with full(harness):
        assert (await store.reap_leases(0, 10, LOST)).count == 2
    await harness.advance(a_submission().result_ttl_ms)
    async with full(harness):
        assert (await store.expire_done(0, 10)).count == 2


async def test_a_full_redis_lets_tasks_be_revoked(harness: RedisHarness) -> None:
    store = harness.store
    await store.submit_tasks(0, [a_submission("started"), a_submission("forced"), a_submission("ready")])
    deliveries = (await store.lease_tasks(0, a_lease_request(count=2))).deliveries
    await store.beat_leases(0, [Beat(task_id=d.task_id, lease_token=d.lease_token) for d in deliveries])

    async with full(harness):
        for task_id in ("started", "forced", "ready"):
            revocation = Revocation(task_id=task_id, failure=STOP, is_forced=task_id == "forced")
            assert await store.revoke_tasks(0, [revocation]) != [None]

    held, lost = await store.beat_leases(0, [Beat(task_id=d.task_id, lease_token=d.lease_token) for d in deliveries])
    assert held is not None
    assert (held.revocation, lost) == (STOP, None)


async def test_a_full_redis_takes_progress_and_holds_tasks_to_their_deadlines(harness: RedisHarness) -> None:
    store = harness.store
    await store.submit_tasks(0, [a_submission("runs", start_within_ms=1_000)])
    token = (await store.lease_tasks(0, a_lease_request())).deliveries[0].lease_token
    late, later = (a_submission("late", start_within_ms=999), a_submission("later", start_within_ms=1_000))
    await store.submit_tasks(0, [late, later])
    beat = Beat(task_id="runs", lease_token=token, progress=b"half of it", worker_id="worker-1")

    async with full(harness):
        assert await store.beat_leases(0, [beat]) != [None]
    await harness.advance(1_000)
    async with full(harness):
        assert (await store.end_overdue(0, MISSED, [0])).count == 1
        assert (await store.lease_tasks(0, a_lease_request())).deliveries == ()

    read = await store.read_tasks(0, ["runs", "late", "later"])
    assert [snapshot and (snapshot.state, snapshot.progress, snapshot.failure) for snapshot in read] == [
        (TaskState.STARTED, b"half of it", None),
        (TaskState.REVOKED, None, MISSED.start),
        (TaskState.REVOKED, None, MISSED.start),
    ]


async def test_a_full_redis_lets_operators_act_and_workers_speak(harness: RedisHarness) -> None:
    store = harness.store
    await store.submit_tasks(0, [a_submission(name) for name in ("purged", "deleted")])
    await store.submit_tasks(0, [a_submission("later", queue="slow", start_delay_ms=60_000)])
    await store.submit_tasks(0, [a_submission("speaks", queue="talks")])
    (speaks,) = (await store.lease_tasks(0, a_lease_request("talks"))).deliveries
    beat = Beat(task_id="speaks", lease_token=speaks.lease_token, progress=b"half")
    await store.revoke_tasks(0, [Revocation(task_id="deleted", failure=STOP)])

    async with full(harness):
        assert await store.beat_leases(0, [beat]) != [None]
        assert (await store.read_details(0, ["speaks"]))[0] is not None
        assert await store.delete_tasks(0, ["deleted"]) == [True]
        assert (await store.pause_queue(0, "default", is_paused=True)).is_paused
        assert (await store.purge_queue(0, "default", "", 10, STOP)).count == 1
        assert len((await store.list_tasks(0, "", 10, with_payloads=True)).details) == 3
        assert len(await store.list_queues(0, "", 10)) == 3
        assert (await store.audit_tasks(0, "", 10)).repairs == {}
