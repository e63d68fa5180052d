"""ListTasks: pages of all tasks, filtered, within bounds, to an end that is surely reached."""

import grpc
import pytest

from tailrace.server.api.page_token import write_page_token
from tailrace.server.coordinator import page_of_tasks
from tailrace.server.domain import limits
from tailrace.v1 import task_pb2
from tailrace.v1.task_service_pb2 import ListTasksRequest, RevokeRequest
from tests.integration.api.looking_steps import FULL, fail, listed, page_of, pages_of, task_of
from tests.integration.api.serving import CALL_S, MIB, Api, a_failure, refused, seconds

INVALID = (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
TOKEN_INVALID = (grpc.StatusCode.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID")


def names(prefix: str, count: int) -> list[str]:
    return [f"{prefix}-{number:04}" for number in range(count)]


async def one_of_each(api: Api) -> None:
    """Make a task for each state, and two that wait."""
    await fail(api, "failed", queue="slow", labels={"customer": "acme"})
    await api.submit("succeeded")
    await api.run("succeeded")
    await api.submit("revoked", queue="slow", labels={"customer": "globex"})
    await api.tasks.Revoke(RevokeRequest(task_ids=["revoked"]), timeout=CALL_S)
    await api.submit("retrying", retry_policy=task_pb2.RetryPolicy(max_attempts=3))
    await api.store(a_failure((await api.lease(start=True)).lease))
    await api.submit("started", task_type="billing.charge")
    await api.lease(start=True)
    await api.submit("ready", labels={"customer": "acme", "odd key": 'a "b"'})
    await api.submit("delayed", start_delay=seconds(60))


async def test_there_is_nothing_to_list_at_first(api: Api) -> None:
    page = await page_of(api)

    assert (list(page.tasks), page.next_page_token) == ([], "")


async def test_leased_come_first_then_ready_then_delayed_then_done(api: Api) -> None:
    await one_of_each(api)

    tasks = await listed(api)

    assert tasks[:2] == ["started", "ready"]
    assert sorted(tasks[2:4]) == ["delayed", "retrying"]
    assert sorted(tasks[4:]) == ["failed", "revoked", "succeeded"]


async def test_listed_task_is_what_a_look_at_it_alone_shows(api: Api) -> None:
    await one_of_each(api)

    full = [task for page in await pages_of(api, view=FULL) for task in page.tasks]
    basic = [task for page in await pages_of(api) for task in page.tasks]

    assert full == [await task_of(api, task.task_id, view=FULL) for task in full]
    assert [task.task_id for task in basic] == [task.task_id for task in full]
    for task, whole in zip(basic, full, strict=True):
        assert (task.outcome.state, task.outcome.revision) == (whole.outcome.state, whole.outcome.revision)
        assert (task.spec.queue, task.spec.labels, task.create_time) == (
            whole.spec.queue,
            whole.spec.labels,
            whole.create_time,
        )
        assert not task.spec.HasField("input")
        for field in ("result", "failure", "last_failure", "progress"):
            assert not task.outcome.HasField(field)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('state = "FAILURE"', ["failed"]),
        ('state = "PENDING"', ["delayed", "ready"]),
        ('state = "STARTED"', ["started"]),
        ('state = "RETRY"', ["retrying"]),
        ('queue = "slow"', ["failed", "revoked"]),
        ('task_type = "billing.charge"', ["started"]),
        ('labels.customer = "acme"', ["failed", "ready"]),
        ('labels."odd key" = "a \\"b\\""', ["ready"]),
        ('labels.customer = "acme" AND queue = "slow"', ["failed"]),
        ('state = "FAILURE" AND labels.customer = "globex"', []),
        ('queue = "nowhere"', []),
    ],
)
async def test_filter_lets_through_what_is_wanted(api: Api, text: str, expected: list[str]) -> None:
    await one_of_each(api)

    assert sorted(await listed(api, filter=text)) == expected
    assert sorted(await listed(api, filter=text, page_size=1)) == expected


@pytest.mark.parametrize("view", [task_pb2.TASK_VIEW_BASIC, FULL])
async def test_pages_together_are_everything_once(api: Api, view: task_pb2.TaskView.ValueType) -> None:
    ids = names("task", 123)
    await api.submit_many(*ids)

    pages = await pages_of(api, page_size=50, view=view)

    assert [len(page.tasks) for page in pages] == [50, 50, 23]
    assert [task.task_id for page in pages for task in page.tasks] == ids


async def test_page_has_fifty_by_default_and_a_thousand_at_most(api: Api) -> None:
    await api.submit_many(*names("task", 1_100))

    assert len((await page_of(api)).tasks) == 50
    pages = await pages_of(api, page_size=2**31 - 1)
    assert [len(page.tasks) for page in pages] == [1_000, 100]


async def test_page_may_be_empty_before_the_end_when_little_passes(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_LOOKED_AT", 100)
    await api.submit_many(*names("task", 250))
    await api.submit("wanted", labels={"wanted": "yes"})

    pages = await pages_of(api, filter='labels.wanted = "yes"')

    assert [[task.task_id for task in page.tasks] for page in pages] == [[], [], ["wanted"]]


async def test_task_that_stays_where_it_is_comes_though_others_go(api: Api) -> None:
    ids = names("task", 60)
    await api.submit_many(*ids)
    first = await page_of(api, page_size=20)
    await api.tasks.Revoke(RevokeRequest(task_ids=ids[:30]), timeout=CALL_S)

    rest = await pages_of(api, first.next_page_token, page_size=20)

    assert [task.task_id for task in first.tasks] == ids[:20]
    seen = {task.task_id for page in rest for task in page.tasks}
    assert set(ids[30:]) <= seen


async def test_page_of_large_tasks_stays_below_what_every_client_takes(api: Api) -> None:
    ids = names("task", 9)
    for task_id in ids:
        await api.submit(task_id, data=b"x" * (MIB - 1_000))

    pages = await pages_of(api, view=FULL)

    assert [task.task_id for page in pages for task in page.tasks] == ids
    assert all(page.ByteSize() <= 4 * MIB for page in pages)
    assert len(pages) < 9


async def test_task_as_large_as_any_may_be_is_listed(sqlite_large: Api) -> None:
    for task_id in names("task", 3):
        await sqlite_large.submit(task_id, data=b"x" * (3 * MIB))

    pages = await pages_of(sqlite_large, view=FULL)

    assert [len(page.tasks) for page in pages if page.tasks] == [1, 1, 1]
    assert pages[0].tasks[0].spec.input.data == b"x" * (3 * MIB)


async def test_basic_page_of_tasks_with_much_around_their_input_is_cut_too(lone_api: Api) -> None:
    headers = {f"header-{number}": "x" * 480 for number in range(16)}
    ids = names("task", 600)
    for begin in range(0, 600, 200):
        await lone_api.submit_many(*ids[begin : begin + 200], headers=headers)

    pages = await pages_of(lone_api, page_size=1_000)

    assert [task.task_id for page in pages for task in page.tasks] == ids
    assert all(page.ByteSize() <= 4 * MIB for page in pages)


async def test_small_steps_change_nothing(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_of_tasks, "STEP", 7)
    await one_of_each(api)
    await api.submit_many(*names("task", 40), queue="many")

    everything = await listed(api)

    assert len(everything) == len(set(everything)) == 47
    assert await listed(api, page_size=3) == everything
    wanted = await listed(api, filter='queue = "many"', page_size=3)
    assert wanted == names("task", 40)


async def test_token_is_of_one_query_only(api: Api) -> None:
    await api.submit_many(*names("task", 10))
    token = (await page_of(api, page_size=2, filter='queue = "default"')).next_page_token

    refusals = [
        await refused(page_of(api, page_token=token)),
        await refused(page_of(api, page_token=token, filter='queue = "other"')),
        await refused(page_of(api, page_token=token, filter='queue = "default"', view=FULL)),
    ]

    assert [refusal.outcome for refusal in refusals] == [TOKEN_INVALID] * 3
    assert len((await page_of(api, page_token=token, filter='queue = "default"', page_size=5)).tasks) == 5


@pytest.mark.parametrize("token", ["x", "=" * 10, "not base64", "\N{SNOWMAN}", "\0", "A" * 100, "A" * MIB])
async def test_malformed_token_is_refused(api: Api, token: str) -> None:
    assert (await refused(page_of(api, page_token=token))).outcome == TOKEN_INVALID


@pytest.mark.parametrize(
    "place",
    [
        "0",
        "1 ",
        "-1 ",
        "99999999999999999999 ",
        "0 nonsense",
        "0 \0",
        "0 9:9:9:9",
        "\N{SNOWMAN}",
        "0 " + "9" * 1_000,
        "0 " + "[" * 2_900,
    ],
)
async def test_forged_token_is_refused_or_leads_nowhere_else(api: Api, place: str) -> None:
    await api.submit()
    token = write_page_token("ListTasks False ", place)

    refusal = await refused(page_of(api, page_token=token))

    assert refusal.outcome == TOKEN_INVALID


async def test_negative_page_size_and_unknown_view_are_refused(lone_api: Api) -> None:
    strange = ListTasksRequest(page_size=-1, view=77)  # type: ignore[arg-type]

    refusal = await refused(lone_api.tasks.ListTasks(strange, timeout=CALL_S))

    assert refusal.outcome == INVALID
    assert "view" in refusal.message
    negative = await refused(page_of(lone_api, page_size=-(2**31)))
    assert (negative.outcome, negative.message) == (INVALID, "page_size: must not be negative")


async def test_mistake_in_a_filter_is_named(lone_api: Api) -> None:
    refusal = await refused(page_of(lone_api, filter='queue = "a" and state = "RETRY"'))

    assert refusal.outcome == INVALID
    assert refusal.message.startswith("filter: at character 13: expected AND")


@pytest.mark.parametrize("text", ["x" * MIB, '"' * MIB, 'queue = "a" AND ' * 60_000, "\\" * MIB])
async def test_filter_of_a_megabyte_is_refused(lone_api: Api, text: str) -> None:
    refusal = await refused(page_of(lone_api, filter=text))

    assert refusal.outcome == (grpc.StatusCode.INVALID_ARGUMENT, "LIMIT_EXCEEDED")
    await lone_api.check_unharmed()


async def test_expired_tasks_are_not_listed(api: Api) -> None:
    await fail(api, result_ttl=seconds(60))
    await api.harness.advance(60_000)

    assert await listed(api) == []
