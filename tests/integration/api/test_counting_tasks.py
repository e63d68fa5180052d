"""A scrape tells exactly what happened to tasks, whichever way it happened, over each store."""

from collections.abc import AsyncIterator

import pytest

from tailrace.server.metrics import queue_depths
from tailrace.v1 import admin_service_pb2, task_pb2, task_service_pb2, worker_service_pb2
from tests.integration.api.scraping import metered, scrape
from tests.integration.api.serving import CALL_S, MIB, Api, a_failure, a_request, a_success, refused, seconds
from tests.store.harness import SECOND_REPLICA_ID, Harness
from tests.store.redis_harness import RedisHarness

ADD, MAIL = ("default", "add"), ("mail", "mail.send")
TWICE = task_pb2.RetryPolicy(max_attempts=2, initial_backoff=seconds(1), max_backoff=seconds(1))


@pytest.fixture
async def api(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    monkeypatch.setattr(queue_depths, "READ_EVERY_S", 0)
    async with metered(harness) as api:
        yield api


async def revoke(api: Api, task_id: str, *, is_forced: bool = False) -> None:
    mode = task_service_pb2.REVOKE_MODE_FORCE if is_forced else task_service_pb2.REVOKE_MODE_REQUEST
    request = task_service_pb2.RevokeRequest(task_ids=[task_id], mode=mode)
    await api.tasks.Revoke(request, timeout=CALL_S)


async def begin(api: Api, task_id: str, **fields: object) -> worker_service_pb2.LeaseRef:
    """Submit a task and start it."""
    await api.submit(task_id, **fields)
    assignment = await api.lease(start=True, queue=str(fields.get("queue", "default")))
    assert assignment.lease.task_id == task_id
    return assignment.lease


async def submit_again_and_otherwise(api: Api) -> None:
    """Submits that make no task."""
    await api.tasks.Submit(a_request("success"), timeout=CALL_S)
    await refused(api.tasks.Submit(a_request("success", data=b"other"), timeout=CALL_S))
    await refused(api.tasks.Submit(a_request("bad", queue="no queue"), timeout=CALL_S))
    requests = [a_request("success"), a_request("bad", task_type="no type")]
    batch = task_service_pb2.BatchSubmitRequest(requests=requests)
    await api.tasks.BatchSubmit(batch, timeout=CALL_S)


async def succeed(api: Api) -> None:
    lease = await begin(api, "success")
    await api.beat(lease)
    await api.store(a_success(lease))
    assert (await api.store(a_success(lease))).duplicate
    await refused(api.store(a_success(worker_service_pb2.LeaseRef(task_id="success", lease_token=b"stale"))))


async def succeed_without_a_beat(api: Api) -> None:
    await api.submit("unbeaten")
    await api.store(a_success((await api.lease()).lease))


async def fail_twice(api: Api) -> None:
    await api.store(a_failure(await begin(api, "failed", retry_policy=TWICE)))
    await api.pass_time(1_000)
    await api.store(a_failure((await api.lease(start=True)).lease))
    assert await api.state("failed") == "FAILURE"


async def be_too_large(api: Api) -> None:
    lease = await begin(api, "large")
    await api.store(a_success(lease, bytes(MIB + 1)))


async def lose_three_leases(api: Api) -> None:
    await begin(api, "lost")
    for _ in range(2):
        await api.pass_time(30_001)
        assert (await api.lease(start=True)).lease.task_id == "lost"
    await api.pass_time(30_001)
    assert await api.state("lost") == "FAILURE"


async def deliver_in_vain(api: Api) -> None:
    """The delivery is not confirmed; then it is revoked while it waits."""
    await api.submit("unconfirmed")
    await api.lease()
    await api.pass_time(10_001)
    await revoke(api, "unconfirmed")
    await revoke(api, "unconfirmed")


async def release_and_succeed(api: Api) -> None:
    lease = await begin(api, "released")
    await api.workers.ReleaseTasks(worker_service_pb2.ReleaseTasksRequest(leases=[lease]), timeout=CALL_S)
    await api.run("released")


async def revoke_what_runs(api: Api) -> None:
    lease = await begin(api, "asked")
    await revoke(api, "asked")
    await api.store(a_failure(lease))
    await begin(api, "forced")
    await revoke(api, "forced", is_forced=True)
    lease = await begin(api, "gave-up")
    await api.store(
        worker_service_pb2.AttemptResult(lease=lease, revoked=worker_service_pb2.RevokedOutcome(message="no"))
    )


async def run_out_of_time(api: Api) -> None:
    await api.submit("too-late", start_within=seconds(1))
    await api.submit("in-all", total_timeout=seconds(1), queue="mail", task_type="mail.send")
    await api.pass_time(1_001)
    assert [await api.state("too-late"), await api.state("in-all")] == ["REVOKED", "FAILURE"]
    lease = await begin(api, "too-long", execution_timeout=seconds(1), retry_policy=TWICE)
    for _ in range(4):
        await api.pass_time(3_000)
        await api.beat(lease)
    await api.pass_time(1_000)
    assert await api.state("too-long") == "RETRY/QUEUED"
    await api.run("too-long")


async def purge(api: Api) -> None:
    for task_id, fields in (("one", {}), ("two", {}), ("three", {"start_delay": seconds(60)})):
        await api.submit(task_id, queue="mail", task_type="mail.send", **fields)
    request = admin_service_pb2.PurgeQueueRequest(queue="mail", force=True)
    assert (await api.admin.PurgeQueue(request, timeout=CALL_S)).purge_count == 3


async def leave_some(api: Api) -> None:
    """What stays: one that runs, one that waits, as a failed one is to be run again, and one for later."""
    await begin(api, "running")
    again = task_service_pb2.ResubmitTaskRequest(task_id="failed", new_task_id="failed-again")
    for _ in range(2):
        await api.tasks.ResubmitTask(again, timeout=CALL_S)
    await api.submit("later", start_delay=seconds(3_600), queue="mail", task_type="mail.send")


STEPS = (
    succeed,
    submit_again_and_otherwise,
    succeed_without_a_beat,
    fail_twice,
    be_too_large,
    lose_three_leases,
    deliver_in_vain,
    release_and_succeed,
    revoke_what_runs,
    run_out_of_time,
    purge,
    leave_some,
)


async def test_a_scrape_after_a_known_run_tells_just_what_happened(api: Api) -> None:
    for step in STEPS:
        await step(api)

    scraped = await scrape(api)

    assert scraped.values("tailrace_tasks_submitted_total") == {ADD: 14, MAIL: 5}
    assert scraped.values("tailrace_tasks_done_total") == {
        (*ADD, "SUCCESS", ""): 4,
        (*ADD, "FAILURE", "APPLICATION"): 1,
        (*ADD, "FAILURE", "SYSTEM"): 1,
        (*ADD, "FAILURE", "LEASE_EXPIRED"): 1,
        (*ADD, "REVOKED", "REVOKED"): 4,
        (*ADD, "REVOKED", "TIMEOUT"): 1,
        (*MAIL, "FAILURE", "TIMEOUT"): 1,
        (*MAIL, "REVOKED", "REVOKED"): 3,
    }
    assert scraped.values("tailrace_retries_total") == {
        (*ADD, "APPLICATION"): 1,
        (*ADD, "LEASE_EXPIRED"): 2,
        (*ADD, "TIMEOUT"): 1,
    }
    assert scraped.values("tailrace_leases_lost_total") == {ADD: 3}
    assert scraped.values("tailrace_deliveries_total") == {"default": 17}
    assert scraped.values("tailrace_deliveries_unconfirmed_total") == {"default": 1}
    assert scraped.values("tailrace_releases_total") == {"default": 1}
    assert scraped.values("tailrace_queue_wait_seconds_count") == {"default": 16}
    assert scraped.values("tailrace_attempt_duration_seconds_count") == {"add": 9}
    assert scraped.values("tailrace_queue_tasks") == {
        ("default", "ready"): 1,
        ("default", "schedule"): 0,
        ("default", "lease"): 1,
        ("mail", "ready"): 0,
        ("mail", "schedule"): 1,
        ("mail", "lease"): 0,
    }


async def test_hundred_releases_in_a_row_count_as_a_lost_lease(api: Api) -> None:
    await api.submit()
    for _ in range(100):
        lease = (await api.lease(start=True)).lease
        await api.workers.ReleaseTasks(worker_service_pb2.ReleaseTasksRequest(leases=[lease]), timeout=CALL_S)

    scraped = await scrape(api)

    assert scraped.values("tailrace_releases_total") == {"default": 100}
    assert scraped.values("tailrace_leases_lost_total") == {ADD: 1}
    assert scraped.values("tailrace_retries_total") == {(*ADD, "LEASE_EXPIRED"): 1}


async def test_the_wait_lasts_from_when_a_task_could_start_until_it_does(api: Api) -> None:
    await api.submit("at-once")
    await api.submit("delayed", start_delay=seconds(60), priority=9)
    await api.pass_time(70_000)
    await api.lease(start=True)  # the delayed one, after 10 s
    await api.lease()
    await api.pass_time(11_000)  # its delivery is not confirmed: it waited on
    lease = (await api.lease(start=True)).lease  # the other one, after 81 s
    await api.store(a_failure(lease, next_retry_delay=seconds(5)))

    scraped = await scrape(api)

    assert scraped.values("tailrace_queue_wait_seconds_sum") == {"default": 10 + 81}
    buckets = scraped.values("tailrace_queue_wait_seconds_bucket")
    assert (buckets["default", "5.0"], buckets["default", "10.0"]) == (0, 1)
    assert (buckets["default", "60.0"], buckets["default", "300.0"], buckets["default", "+Inf"]) == (1, 2, 2)


async def test_the_wait_for_a_retry_begins_with_the_end_of_its_backoff(api: Api) -> None:
    policy = task_pb2.RetryPolicy(max_attempts=9, initial_backoff=seconds(0))
    lease = await begin(api, "task-1", retry_policy=policy)
    await api.harness.advance(1_000)
    await api.store(a_failure(lease, next_retry_delay=seconds(5)))
    await api.pass_time(8_000)
    lease = (await api.lease(start=True)).lease  # 3 s after it was due
    await api.store(a_failure(lease))
    await api.harness.advance(500)
    await api.lease(start=True)

    scraped = await scrape(api)

    assert scraped.values("tailrace_queue_wait_seconds_sum") == {"default": 3.5}
    assert scraped.values("tailrace_attempt_duration_seconds_sum") == {"add": 1}


async def test_the_oldest_ready_task_tells_its_age_and_a_paused_queue_that_it_is(api: Api) -> None:
    await api.submit()
    await api.admin.PauseQueue(admin_service_pb2.PauseQueueRequest(queue="default"), timeout=CALL_S)
    await api.harness.advance(2_500)

    scraped = await scrape(api)

    assert scraped.values("tailrace_queue_oldest_age_seconds") == {"default": 2.5}
    assert scraped.values("tailrace_queue_paused") == {"default": 1}


async def test_each_transition_is_counted_by_the_server_that_made_it(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_depths, "READ_EVERY_S", 0)
    from redis.asyncio import Redis

    async with Redis.from_url(redis_url, protocol=2) as admin:
        harness = RedisHarness(redis_url, admin, 1)
        await harness.advance(0)
        async with metered(harness) as one, metered(harness, harness._new_store(SECOND_REPLICA_ID)) as other:
            await one.submit_many("task-1", "task-2", "task-3")
            await one.tasks.Submit(a_request("task-1"), timeout=CALL_S)
            lease = (await other.lease(start=True)).lease
            await one.store(a_success(lease))
            await other.store(a_success(lease))
            await other.submit("task-4")

            scrapes = [await scrape(one), await scrape(other)]

            assert [each.values("tailrace_tasks_submitted_total") for each in scrapes] == [{ADD: 3}, {ADD: 1}]
            assert [each.values("tailrace_deliveries_total") for each in scrapes] == [{}, {"default": 1}]
            assert [each.values("tailrace_tasks_done_total") for each in scrapes] == [{(*ADD, "SUCCESS", ""): 1}, {}]
            for each in scrapes:
                assert each.values("tailrace_queue_tasks")["default", "ready"] == 3
        await harness.close()
