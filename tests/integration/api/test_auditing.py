"""A server walks through its records by itself and puts right what somebody broke."""

import pytest
from redis.asyncio import Redis

from tailrace.server.maintenance import auditor as auditor_module
from tests.integration.api.serving import a_success, seconds, serving
from tests.store.redis_harness import RedisHarness
from tests.wait import eventually_async


async def test_task_that_no_index_holds_any_more_is_found_again_and_run(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auditor_module, "REST_S", 0.01)
    monkeypatch.setattr(auditor_module, "WALK_REST_S", 0.01)
    async with Redis.from_url(redis_url, protocol=2) as admin:
        harness = RedisHarness(redis_url, admin, 1)
        await harness.advance(0)
        async with serving(harness) as api:
            await api.submit(start_delay=seconds(5))
            assert await admin.zrem(f"{harness.prefix()}sched", "task-1") == 1

            await eventually_async(lambda: bool(api.server.auditor.audit_repairs), "the audit found it")

            (assignment,) = await api.lease_many(wait_s=10)
            await api.store(a_success(assignment.lease))
            assert api.server.auditor.audit_repairs == {"schedule_missing": 1}
            assert await api.state() == "SUCCESS"
        await harness.close()
