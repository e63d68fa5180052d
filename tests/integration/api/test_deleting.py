"""DeleteTask: the record of a task that is done, before its time."""

import grpc
import pytest

from tests.integration.api.looking_steps import delete, fail, listed
from tests.integration.api.serving import Api, refused, seconds

NOT_FOUND = (grpc.StatusCode.NOT_FOUND, "TASK_NOT_FOUND")


async def test_task_that_is_done_is_gone(api: Api) -> None:
    await api.submit()
    await api.run()

    await delete(api)

    assert (await refused(api.result())).outcome == NOT_FOUND
    assert await listed(api) == []
    await api.submit()
    await api.run()


async def test_failed_task_is_gone_with_its_input(api: Api) -> None:
    await fail(api)

    await delete(api)

    assert (await refused(api.result())).outcome == NOT_FOUND
    await api.submit(data=b"another request altogether")


@pytest.mark.parametrize("delay_s", [0, 60])
async def test_waiting_task_stays(api: Api, delay_s: int) -> None:
    await api.submit(start_delay=seconds(delay_s))

    refusal = await refused(delete(api))

    assert refusal.outcome == (grpc.StatusCode.FAILED_PRECONDITION, "TASK_NOT_TERMINAL")
    assert "task-1" in refusal.message
    await api.pass_time(60_000)
    await api.run()


async def test_running_task_stays(api: Api) -> None:
    await api.submit()
    await api.lease(start=True)

    refusal = await refused(delete(api, allow_missing=True))

    assert refusal.reason == "TASK_NOT_TERMINAL"
    assert await api.state() == "STARTED"


async def test_unknown_task_is_not_found_unless_it_may_be_missing(api: Api) -> None:
    refusal = await refused(delete(api, "unknown"))
    await delete(api, "unknown", allow_missing=True)

    assert refusal.outcome == NOT_FOUND


async def test_expired_task_is_not_found(api: Api) -> None:
    await fail(api, result_ttl=seconds(60))
    await api.harness.advance(60_000)

    assert (await refused(delete(api))).outcome == NOT_FOUND


@pytest.mark.parametrize("task_id", ["", "a b", "a" * 129, "\N{SNOWMAN}"])
async def test_id_that_is_none_is_refused_even_where_it_may_be_missing(lone_api: Api, task_id: str) -> None:
    refusal = await refused(delete(lone_api, task_id, allow_missing=True))

    assert refusal.outcome == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
