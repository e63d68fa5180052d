"""GetResult and BatchGetResults: what is, what will be within the time given, and never more than a message holds."""

import asyncio

import grpc
import pytest

from tailrace.v1 import task_pb2
from tailrace.v1.task_service_pb2 import (
    BatchGetResultsRequest,
    BatchGetResultsResponse,
    GetResultRequest,
    GetServerInfoRequest,
)
from tests.integration.api.serving import CALL_S, MIB, Api, a_failure, a_success, refused, seconds
from tests.wait import eventually_async

LONG_POLL_S = 30.0
INVALID_ARGUMENT = grpc.StatusCode.INVALID_ARGUMENT


async def get(api: Api, task_id: str = "task-1", *, wait_s: float = 0, after_revision: int = 0) -> task_pb2.TaskResult:
    request = GetResultRequest(task_id=task_id, wait_timeout=seconds(wait_s), after_revision=after_revision)
    return (await api.tasks.GetResult(request, timeout=CALL_S + wait_s)).task


async def poll(api: Api, task_id: str = "task-1", *, after_revision: int = 0) -> asyncio.Task[task_pb2.TaskResult]:
    """Begin a long poll; returns once the server is waiting."""
    polling = asyncio.create_task(get(api, task_id, wait_s=LONG_POLL_S, after_revision=after_revision))
    await eventually_async(lambda: polling.done() or api.server.waiting.task_count > 0, "the server waits")
    return polling


async def batch(api: Api, *task_ids: str) -> BatchGetResultsResponse:
    return await api.tasks.BatchGetResults(BatchGetResultsRequest(task_ids=task_ids), timeout=CALL_S)


async def test_life_of_a_task_is_told_state_by_state(api: Api) -> None:
    await api.submit()
    states = [await api.state()]
    assignment = await api.lease()
    states.append(await api.state())
    await api.beat(assignment.lease)
    states.append(await api.state())
    await api.store(a_success(assignment.lease))
    states.append(await api.state())

    assert states == ["PENDING/QUEUED", "PENDING/DISPATCHED", "STARTED", "SUCCESS"]


async def test_result_comes_as_the_worker_sent_it_and_says_when_it_goes(api: Api) -> None:
    await api.submit(result_ttl=seconds(60))
    await api.run(data=b"\x00\xff3")

    task = await api.result()

    assert (task.result.content_type, task.result.data) == ("application/json", b"\x00\xff3")
    assert (task.done, task.attempt, task.revision) == (True, 1, 3)
    assert task.expire_time.ToMilliseconds() == api.harness.now_ms + 60_000
    assert not task.HasField("failure")


async def test_failure_comes_as_the_worker_sent_it(api: Api) -> None:
    await api.submit()
    assignment = await api.lease(start=True)
    await api.store(a_failure(assignment.lease, traceback="line 7"))

    task = await api.result()

    assert (task.state, task.done) == (task_pb2.TASK_STATE_FAILURE, True)
    assert (task.failure.kind, task.failure.type) == (task_pb2.FAILURE_KIND_APPLICATION, "ValueError")
    assert (task.failure.message, task.failure.traceback) == ("no", "line 7")
    assert not task.HasField("last_failure")


async def test_attempt_that_failed_is_told_while_the_task_goes_on(api: Api) -> None:
    await api.submit(retry_policy=task_pb2.RetryPolicy(max_attempts=2))
    assignment = await api.lease(start=True)
    await api.store(a_failure(assignment.lease))

    task = await api.result()

    assert (task.state, task.pending_reason) == (task_pb2.TASK_STATE_RETRY, task_pb2.PENDING_REASON_DELAYED)
    assert task.last_failure.type == "ValueError"
    assert not task.HasField("failure")


async def test_unknown_id_is_not_found_and_never_pending(api: Api) -> None:
    refusal = await refused(get(api, "nobody-submitted-this"))

    assert (refusal.code, refusal.reason) == (grpc.StatusCode.NOT_FOUND, "TASK_NOT_FOUND")
    assert (await refused(get(api, "nobody-submitted-this", wait_s=LONG_POLL_S))).reason == "TASK_NOT_FOUND"


async def test_record_is_gone_when_its_time_is_over(api: Api) -> None:
    await api.submit(result_ttl=seconds(60))
    await api.run()
    await api.pass_time(59_999)
    assert await api.state() == "SUCCESS"

    await api.pass_time(1)

    assert (await refused(api.result())).reason == "TASK_NOT_FOUND"


async def test_task_whose_result_nobody_wants_keeps_none_and_goes_after_a_minute(api: Api) -> None:
    await api.submit(result_ttl=seconds(0))
    await api.run()

    task = await api.result()

    assert (task.done, task.HasField("result")) == (True, False)
    assert task.expire_time.ToMilliseconds() == api.harness.now_ms + 60_000


async def test_long_poll_answers_when_the_task_is_done_and_not_before(api: Api) -> None:
    await api.submit()
    polling = await poll(api)
    assignment = await api.lease(start=True)
    assert await api.state() == "STARTED"
    assert not polling.done()

    await api.store(a_success(assignment.lease))

    task = await polling
    assert (task.state, task.result.data) == (task_pb2.TASK_STATE_SUCCESS, b"3")
    assert api.server.waiting.task_count == 0


async def test_long_poll_after_a_revision_answers_at_the_next_change(api: Api) -> None:
    await api.submit()
    polling = await poll(api, after_revision=1)

    await api.lease(start=True)

    task = await polling
    assert (task.state, task.revision) == (task_pb2.TASK_STATE_STARTED, 2)


@pytest.mark.parametrize("after_revision", [2, 7])
async def test_another_revision_than_the_one_seen_is_told_at_once(api: Api, after_revision: int) -> None:
    await api.submit()

    assert (await get(api, wait_s=LONG_POLL_S, after_revision=after_revision)).revision == 1


@pytest.mark.parametrize("after_revision", [0, 3])
async def test_end_is_told_at_once(api: Api, after_revision: int) -> None:
    await api.submit()
    await api.run()

    assert (await get(api, wait_s=LONG_POLL_S, after_revision=after_revision)).done


async def test_long_poll_that_times_out_tells_what_is_by_then(api: Api) -> None:
    await api.submit()
    polling = asyncio.create_task(get(api, wait_s=0.5))
    await eventually_async(lambda: polling.done() or api.server.waiting.task_count > 0, "the server waits")
    await api.lease(start=True)

    task = await polling

    assert (task.state, task.revision) == (task_pb2.TASK_STATE_STARTED, 2)


async def test_long_poll_whose_caller_has_gone_leaves_nothing_behind(lone_api: Api) -> None:
    await lone_api.submit()
    polling = await poll(lone_api)

    polling.cancel()

    await eventually_async(lambda: lone_api.server.waiting.task_count == 0, "nobody waits any more")


@pytest.mark.parametrize(
    ("wait", "field"),
    [
        (GetResultRequest(task_id="task-1", wait_timeout=seconds(60.001)), "wait_timeout"),
        (GetResultRequest(task_id="task-1", wait_timeout=seconds(-1)), "wait_timeout"),
        (GetResultRequest(task_id="task-1", after_revision=-1), "after_revision"),
        (GetResultRequest(task_id="{}"), "task_id"),
        (GetResultRequest(task_id="task-1\n"), "task_id"),
        (GetResultRequest(), "task_id"),
    ],
)
async def test_malformed_question_is_refused_by_field(lone_api: Api, wait: GetResultRequest, field: str) -> None:
    await lone_api.submit()

    refusal = await refused(lone_api.tasks.GetResult(wait, timeout=CALL_S))

    assert (refusal.code, refusal.reason) == (INVALID_ARGUMENT, "INVALID_REQUEST")
    assert refusal.message.startswith(f"{field}: ")


async def test_batch_answers_each_id_by_itself_in_order(api: Api) -> None:
    await api.submit("done")
    await api.run("done")
    await api.submit("waiting")

    response = await batch(api, "waiting", "unknown", "no id\n", "done", "waiting")

    outcomes = [(item.task_id, item.task.task_id, item.error.reason) for item in response.items]
    assert outcomes == [
        ("waiting", "waiting", ""),
        ("unknown", "", "TASK_NOT_FOUND"),
        ("no id\n", "", "INVALID_REQUEST"),
        ("done", "done", ""),
        ("waiting", "waiting", ""),
    ]
    assert response.items[3].task.result.data == b"3"
    assert response.items[1].error.metadata == {"task_id": "unknown"}
    assert not response.remaining_task_ids


async def test_batch_is_cut_to_what_a_message_holds_and_says_what_is_left(api: Api) -> None:
    names = [f"task-{number}" for number in range(9)]
    for name in names:
        await api.submit(name)
        await api.run(name, data=name.encode().ljust(MIB - 100))

    asked, sizes, told = list(names), [], []
    while asked:
        response = await batch(api, *asked)
        sizes.append(response.ByteSize())
        told += [(item.task_id, item.task.result.data.decode().strip()) for item in response.items]
        asked = list(response.remaining_task_ids)

    assert told == [(name, name) for name in names]
    assert max(sizes) < 4 * MIB
    assert len(sizes) < 5


async def test_results_of_the_largest_size_allowed_are_told_one_a_message(sqlite_large: Api) -> None:
    sizes = {"a": 3 * MIB - 1_000, "b": 3 * MIB}
    for name, size in sizes.items():
        await sqlite_large.submit(name)
        await sqlite_large.run(name, data=b"x" * size)

    first = await batch(sqlite_large, "a", "b")
    second = await batch(sqlite_large, *first.remaining_task_ids)

    answers = [{item.task_id: len(item.task.result.data) for item in response.items} for response in (first, second)]
    assert answers == [{"a": sizes["a"]}, {"b": sizes["b"]}]
    assert max(first.ByteSize(), second.ByteSize()) < 4 * MIB


async def test_thousand_small_results_fit_into_one_answer(lone_api: Api) -> None:
    names = [f"task-{number}" for number in range(1_000)]
    await lone_api.submit_many(*names)

    response = await batch(lone_api, *names)

    assert [item.task.task_id for item in response.items] == names


@pytest.mark.parametrize("count", [0, 1_001])
async def test_batch_of_nothing_or_of_too_much_is_refused(lone_api: Api, count: int) -> None:
    refusal = await refused(batch(lone_api, *["task"] * count))

    assert (refusal.code, refusal.reason) == (INVALID_ARGUMENT, "LIMIT_EXCEEDED" if count else "INVALID_REQUEST")


async def test_ids_of_any_length_are_answered_within_a_message(lone_api: Api) -> None:
    one_long = await batch(lone_api, "{" * 100_000, "unknown")
    many_long = await refused(batch(lone_api, *["{" * 10_000] * 1_000))

    assert [item.error.reason for item in one_long.items] == ["INVALID_REQUEST", "TASK_NOT_FOUND"]
    assert one_long.ByteSize() < 1_000
    assert (many_long.code, many_long.reason) == (INVALID_ARGUMENT, "LIMIT_EXCEEDED")


async def test_server_tells_its_version_and_limits(lone_api: Api) -> None:
    info = await lone_api.tasks.GetServerInfo(GetServerInfoRequest(), timeout=CALL_S)

    assert info.server_version
    assert (info.min_protocol_version, info.max_protocol_version) == (1, 1)
    assert (info.max_payload_bytes, info.max_request_bytes, info.max_batch_size) == (MIB, 4 * MIB, 1_000)
    assert (info.max_wait_targets, info.max_wait_timeout.seconds) == (1_000, 60)
    assert (info.min_lease_duration.seconds, info.max_lease_duration.seconds) == (2, 12 * 3_600)
    assert (info.default_result_ttl.seconds, info.max_result_ttl.seconds) == (86_400, 30 * 86_400)
    assert info.max_stream_duration.seconds == 600
