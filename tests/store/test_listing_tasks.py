"""Walking through all the tasks of a partition."""

from dataclasses import replace

import pytest

from tailrace.server.domain.detail import TaskDetail
from tailrace.server.domain.task import Place
from tailrace.server.store.base import MAX_CALL_BYTES
from tests.store.builders import HEAD, a_failure, a_submission, a_success
from tests.store.steps import Steps

IN_ORDER = [
    "leased-soon",
    "leased-tie-a",
    "leased-tie-b",
    "leased-late",
    "ready-a-urgent",
    "ready-a-first",
    "ready-a-then",
    "ready-b",
    "scheduled-soon",
    "scheduled-tie-a",
    "scheduled-tie-b",
    "done-late",
    "done-tie-b",
    "done-tie-a",
    "done-soon",
]


async def one_of_every_kind(steps: Steps) -> None:
    ttls = {"done-soon": 10_000, "done-tie-a": 20_000, "done-tie-b": 20_000, "done-late": 30_000}
    for task_id, ttl_ms in ttls.items():
        delivery = await steps.submit_and_start(a_submission(task_id, result_ttl_ms=ttl_ms))
        if task_id == "done-late":
            await steps.end(a_failure(task_id, delivery.lease_token))
        else:
            await steps.end(a_success(task_id, delivery.lease_token))
    leases = {"leased-late": 9_000, "leased-tie-b": 8_000, "leased-tie-a": 8_000, "leased-soon": 7_000}
    for task_id, lease_ms in leases.items():
        await steps.submit_and_start(a_submission(task_id, lease_ms=lease_ms))
    delays = {"scheduled-tie-b": 20, "scheduled-tie-a": 20, "scheduled-soon": 10}
    await steps.submit(*(a_submission(task_id, start_delay_ms=delay_ms) for task_id, delay_ms in delays.items()))
    await steps.submit(
        a_submission("ready-b", queue="b", priority=9),
        a_submission("ready-a-first", queue="a"),
        a_submission("ready-a-then", queue="a"),
        a_submission("ready-a-urgent", queue="a", priority=1),
    )


def ids(details: list[TaskDetail]) -> list[str]:
    return [detail.snapshot.task_id for detail in details]


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 7, 100])
async def test_tasks_come_by_place_and_in_the_order_of_each_place(steps: Steps, limit: int) -> None:
    await one_of_every_kind(steps)

    assert ids(await steps.walk(limit=limit)) == IN_ORDER
    assert ids(await steps.walk(limit=limit, with_payloads=True)) == IN_ORDER


async def test_a_walk_with_payloads_shows_what_reading_shows(steps: Steps) -> None:
    await one_of_every_kind(steps)

    assert await steps.walk(with_payloads=True) == await steps.store.read_details(0, IN_ORDER)


async def test_without_payloads_only_what_has_none_is_whole_and_all_else_is_the_same(steps: Steps) -> None:
    await one_of_every_kind(steps)
    await steps.submit(a_submission("ready-c", queue="c", payload=b""))
    whole = await steps.walk(with_payloads=True)

    def cut(detail: TaskDetail) -> TaskDetail:
        snapshot = replace(detail.snapshot, result=None, failure=None, last_failure=None, progress=None)
        bare = replace(detail, request=HEAD, snapshot=snapshot)
        return bare if bare == detail else replace(bare, snapshot=replace(snapshot, is_whole=False))

    walked = await steps.walk()
    assert walked == [cut(detail) for detail in whole]
    assert [detail.snapshot.task_id for detail in walked if detail.snapshot.is_whole] == ["ready-c"]


async def test_nothing_is_listed_where_nothing_is(steps: Steps) -> None:
    assert await steps.walk() == []


@pytest.mark.parametrize("limit", [1, 100])
async def test_expired_records_are_not_listed(steps: Steps, limit: int) -> None:
    await one_of_every_kind(steps)
    await steps.harness.advance(20_000)

    walked = await steps.walk(limit=limit)

    assert [task_id for task_id in ids(walked) if task_id.startswith("done")] == ["done-late"]


@pytest.mark.parametrize("limit", [1, 2, 100])
async def test_tasks_that_were_revoked_where_they_were_ready_are_listed_as_done(steps: Steps, limit: int) -> None:
    await steps.submit(*(a_submission(task_id) for task_id in "abc"))
    await steps.revoke("b")
    await steps.revoke("a")

    assert ids(await steps.walk(limit=limit)) == ["c", "b", "a"]


@pytest.mark.parametrize("limit", [1, 2, 100])
async def test_an_id_that_came_back_is_listed_once_in_its_new_place(steps: Steps, limit: int) -> None:
    await steps.submit(*(a_submission(task_id) for task_id in ("first", "back", "other")))
    for _ in range(2):
        await steps.revoke("back")
        await steps.delete("back")
        await steps.submit(a_submission("back"))

    assert ids(await steps.walk(limit=limit)) == ["first", "other", "back"]
    assert await steps.drain() == ["first", "other", "back"]


async def test_a_call_ends_once_its_payloads_are_enough(steps: Steps) -> None:
    half = b"x" * (MAX_CALL_BYTES // 2)
    await steps.submit(*(a_submission(task_id, payload=half) for task_id in "abcde"))

    first = await steps.store.list_tasks(0, "", 100, with_payloads=True)
    second = await steps.store.list_tasks(0, first.cursor, 100, with_payloads=True)
    without = await steps.store.list_tasks(0, "", 100, with_payloads=False)

    assert ids(list(first.details)) == ["a", "b"]
    assert ids(list(second.details)) == ["c", "d"]
    assert all(detail.snapshot.is_whole for detail in first.details)
    assert ids(list(without.details)) == list("abcde")


async def test_a_payload_over_the_budget_comes_alone_and_whole(steps: Steps) -> None:
    large = b"x" * (2 * MAX_CALL_BYTES)
    await steps.submit(a_submission("large", payload=large), a_submission("small"))

    listed = await steps.store.list_tasks(0, "", 100, with_payloads=True)

    assert ids(list(listed.details)) == ["large"]
    assert listed.details[0].request == HEAD + large
    assert ids(await steps.walk(with_payloads=True)) == ["large", "small"]


async def test_a_walk_goes_on_over_a_restart(steps: Steps) -> None:
    await one_of_every_kind(steps)
    first = await steps.store.list_tasks(0, "", 6, with_payloads=False)

    await steps.harness.reopen()

    rest = await steps.store.list_tasks(0, first.cursor, 100, with_payloads=False)
    assert ids([*first.details, *rest.details]) == IN_ORDER
    assert rest.cursor == ""


@pytest.mark.parametrize("limit", [1, 3])
async def test_tasks_that_stay_where_they_are_are_listed_whatever_the_others_do(steps: Steps, limit: int) -> None:
    await one_of_every_kind(steps)
    walked: list[str] = []
    cursor = ""
    moved: set[str] = set()
    while True:
        listed = await steps.store.list_tasks(0, cursor, limit, with_payloads=False)
        walked += ids(list(listed.details))
        cursor = listed.cursor
        if not cursor:
            break
        for delivery in (await steps.lease("b", "a", count=1)).deliveries:
            moved.add(delivery.task_id)

    assert moved
    assert {task_id for task_id in IN_ORDER if task_id not in moved} <= set(walked)


@pytest.mark.parametrize("cursor", ["nonsense", "\x00", "lease:", "done:x:y", "-1", "{}"])
async def test_a_malformed_cursor_is_refused(steps: Steps, cursor: str) -> None:
    await one_of_every_kind(steps)

    with pytest.raises(ValueError, match=r".*"):
        await steps.store.list_tasks(0, cursor, 10, with_payloads=False)


async def test_each_place_says_so(steps: Steps) -> None:
    await one_of_every_kind(steps)

    places = [detail.snapshot.place for detail in await steps.walk()]

    assert places == [Place.LEASE] * 4 + [Place.READY] * 4 + [Place.SCHEDULE] * 3 + [Place.DONE] * 4
