"""The same times while the queue is paused: nothing is handed out, and nothing waits longer than it may."""

from typing import Any

import pytest

from tailrace.v1 import task_pb2
from tests.integration.api.lease_steps import is_lost
from tests.integration.api.serving import Api, a_failure, a_success, seconds
from tests.integration.api.stream_steps import ids
from tests.integration.api.time_steps import end_of, from_now, last_failure_of, pause, resume
from tests.integration.api.work_peer import WorkPeer

RETRIES = task_pb2.RetryPolicy(max_attempts=3, initial_backoff=seconds(0))


@pytest.mark.parametrize("named", ["start_delay", "schedule_time"])
async def test_task_whose_time_has_come_waits_for_its_paused_queue(api: Api, named: str) -> None:
    await pause(api)
    when: Any = seconds(5) if named == "start_delay" else from_now(api, 5_000)
    await api.submit(**{named: when})

    states = [await api.state()]
    await api.pass_time(5_000)
    states.append(await api.state())
    assert await api.lease_many() == []
    await resume(api)
    states.append(await api.state())

    assert states == ["PENDING/DELAYED", "PENDING/QUEUE_PAUSED", "PENDING/QUEUED"]
    assert (await api.lease()).lease.task_id == "task-1"


@pytest.mark.parametrize("named", ["start_delay", "schedule_time"])
async def test_queue_that_is_resumed_early_does_not_start_a_task_early(api: Api, named: str) -> None:
    await pause(api)
    when: Any = seconds(5) if named == "start_delay" else from_now(api, 5_000)
    await api.submit(**{named: when})

    await resume(api)
    await api.pass_time(4_999)
    assert (await api.state(), await api.lease_many()) == ("PENDING/DELAYED", [])
    await api.pass_time(1)

    assert (await api.lease()).lease.task_id == "task-1"


@pytest.mark.parametrize("named", ["start_within", "start_deadline"])
async def test_task_in_a_paused_queue_is_revoked_at_its_start_deadline(api: Api, named: str) -> None:
    await pause(api)
    when: Any = seconds(5) if named == "start_within" else from_now(api, 5_000)
    await api.submit(**{named: when})

    await api.pass_time(4_999)
    assert await api.state() == "PENDING/QUEUE_PAUSED"
    await api.pass_time(1)

    assert await end_of(api) == ("REVOKED", "TIMEOUT", "StartDeadlineExceeded")
    await resume(api)
    assert await api.lease_many() == []


async def test_attempt_that_ran_too_long_while_its_queue_was_paused_waits_there_for_the_next(api: Api) -> None:
    await api.submit(execution_timeout=seconds(5), retry_policy=RETRIES, lease_duration=seconds(3600))
    lease = (await api.lease(start=True)).lease
    await pause(api)

    await api.pass_time(14_999)
    assert (await api.beat(lease)).held
    await api.pass_time(1)

    assert (await api.state(), await last_failure_of(api)) == ("RETRY/QUEUE_PAUSED", "ExecutionTimeout")
    assert await is_lost(api.store(a_success(lease)))
    assert await api.lease_many() == []
    await resume(api)
    assert (await api.lease()).attempt == 2


async def test_task_in_a_paused_queue_fails_when_its_whole_time_is_over(api: Api) -> None:
    await pause(api)
    await api.submit("waiting", total_timeout=seconds(5))
    await api.submit("delayed", total_timeout=seconds(5), start_delay=seconds(3))

    await api.pass_time(4_999)
    assert [await api.state(task_id) for task_id in ("waiting", "delayed")] == ["PENDING/QUEUE_PAUSED"] * 2
    await api.pass_time(1)

    for task_id in ("waiting", "delayed"):
        assert await end_of(api, task_id) == ("FAILURE", "TIMEOUT", "TotalTimeout")


async def test_task_that_runs_fails_when_its_whole_time_is_over_though_its_queue_is_paused(api: Api) -> None:
    await api.submit(total_timeout=seconds(5))
    lease = (await api.lease(start=True)).lease
    await pause(api)

    await api.pass_time(5_000)

    assert await end_of(api) == ("FAILURE", "TIMEOUT", "TotalTimeout")
    assert await is_lost(api.store(a_success(lease)))


async def test_retry_waits_for_its_paused_queue(api: Api) -> None:
    await api.submit(retry_policy=RETRIES)
    lease = (await api.lease(start=True)).lease
    await pause(api)

    await api.store(a_failure(lease))

    assert (await api.state(), await api.lease_many()) == ("RETRY/QUEUE_PAUSED", [])
    await resume(api)
    assert (await api.lease()).attempt == 2


async def test_open_stream_gets_what_waited_once_its_queue_is_resumed(api: Api) -> None:
    await pause(api)
    await api.submit()
    peer = WorkPeer(api)
    await peer.hello()
    assert await peer.is_quiet()

    await resume(api)

    assert ids(await peer.assigned()) == ["task-1"]
    await peer.close()
