"""The photo shop of `examples/from_celery` comes to the same with Celery and with Tailrace, or to what the guide says.

Both run for real, on one Redis: Celery's worker with its pool of processes, Tailrace's server and worker.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import pytest
from redis import Redis

from tests.coming_from_celery.scenarios import SCENARIOS, Scenario, Seen, revoked, success
from tests.coming_from_celery.shops import SHOPS, Shop, Shops, open_shops
from tests.wait import eventually

pytestmark = pytest.mark.slow

CLOCK_S = 0.05
"""How exact a rest is: the times are written down by other processes than those that wait."""


@dataclass(frozen=True, kw_only=True)
class Left:
    """What was asked for before anybody was at work: the tasks' ids by what became of them, and their first states."""

    celery: dict[str, str]
    tailrace: dict[str, str]
    celery_states: Seen
    tailrace_states: Seen


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shops, Left]]:
    with open_shops(tmp_path_factory.mktemp("shops")) as shops:
        celery = shops.celery.call("left_for_later")
        tailrace = shops.tailrace.call("left_for_later")
        shops.tailrace.call("look_at", tailrace["expired"])  # which expires as fast as the other, and began later
        left = Left(
            celery=celery,
            tailrace=tailrace,
            celery_states=states(shops.celery, celery),
            tailrace_states=states(shops.tailrace, tailrace),
        )
        shops.celery.start_worker()
        shops.tailrace.start_worker()
        yield shops, left


@pytest.fixture
def shops(opened: tuple[Shops, Left], request: pytest.FixtureRequest) -> Shops:
    request.node.stash[SHOPS] = opened[0]
    return opened[0]


@pytest.fixture
def left(opened: tuple[Shops, Left]) -> Left:
    return opened[1]


def states(shop: Shop, ids: dict[str, str]) -> Seen:
    return {name: shop.call("state_of", task_id) for name, task_id in ids.items()}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[scenario.name for scenario in SCENARIOS])
def test_what_the_shop_asks_for_comes_to_what_it_should(shops: Shops, scenario: Scenario) -> None:
    celery, tailrace = shops.ask_both(scenario.name, *scenario.arguments)

    assert without_words(celery, scenario.celery) == scenario.celery
    assert without_words(tailrace, scenario.tailrace) == scenario.tailrace
    if scenario.place:
        shops.ask_both("plain_result")  # Tailrace's one slot is free again: what was to run has run
        for shop, side in ((shops.celery, 0), (shops.tailrace, 1)):
            visits = attempts_of(shop, scenario.place, scenario.arguments[0], scenario.attempts[side])
            rests = [after - before for before, after in pairwise(visits)]
            too_short = [
                (rest, least[side])
                for rest, least in zip(rests, scenario.rests_s, strict=False)
                if rest < least[side] - CLOCK_S
            ]
            assert too_short == [], shop.name


def attempts_of(shop: Shop, place: str, key: str, count: int) -> list[float]:
    """Return when each attempt was, waiting until there are as many as expected; there must not be more."""

    def visits() -> list[float]:
        return [float(visit) for visit in shop.call("visits", place, key)]

    eventually(lambda: len(visits()) >= count, f"{shop.name} has made {count} attempts")
    made = visits()
    assert len(made) == count, shop.name
    return made


def without_words(seen: Seen, expected: Seen) -> Seen:
    """Leave the message out where only the kind of error is expected."""
    return {name: value for name, value in seen.items() if name in expected or name != "message"}


def test_soft_limit_lets_a_task_return_what_it_has(shops: Shops) -> None:
    for seen in shops.ask_both("cut_short_at_its_soft_limit"):
        done = seen.pop("value")
        assert 0 < done < 1000
        assert seen == {"state": "SUCCESS"}


def test_task_whose_result_nobody_wants_has_run_and_only_tailrace_knows(shops: Shops) -> None:
    celery, tailrace = shops.ask_both("ignored_result", "home")
    shops.celery.worker.wait_for_line("count_view", "succeeded")

    assert [len(shop.call("visits", "page", "home")) for shop in (shops.celery, shops.tailrace)] == [1, 1]
    assert (celery["value"], tailrace["value"]) == (None, None)
    assert shops.celery.call("state_of", celery["id"]) == "PENDING"
    assert shops.tailrace.call("state_of", tailrace["id"]) == "SUCCESS"


def test_what_is_urgent_comes_first_and_is_a_small_number_for_celery_on_redis(shops: Shops, left: Left) -> None:
    for shop, ids in ((shops.celery, left.celery), (shops.tailrace, left.tailrace)):
        for photo in ("dull", "urgent"):
            assert shop.call("look_at", ids[photo]) == success(f"a print of {photo}")

    log = "".join(shops.celery.first_worker.lines_with("print_photo", "received"))
    assert 0 < log.index(left.celery["urgent"]) < log.index(left.celery["dull"])
    assert shops.tailrace.call("visits", "printer", "urgent") < shops.tailrace.call("visits", "printer", "dull")


def test_task_expires_without_a_worker_only_in_tailrace(shops: Shops, left: Left) -> None:
    assert (left.celery_states["expired"], left.tailrace_states["expired"]) == ("PENDING", "REVOKED")

    assert shops.celery.call("look_at", left.celery["expired"]) == revoked("expired")
    assert shops.tailrace.call("look_at", left.tailrace["expired"]) == revoked(
        "no attempt had started by the start deadline"
    )
    assert [shop.call("visits", "customer", "expired") for shop in (shops.celery, shops.tailrace)] == [[], []]


def test_task_that_is_revoked_while_no_worker_is_up_runs_all_the_same_only_in_celery(shops: Shops, left: Left) -> None:
    assert (left.celery_states["revoked"], left.tailrace_states["revoked"]) == ("PENDING", "REVOKED")

    assert shops.celery.call("look_at", left.celery["revoked"]) == success("reminded of revoked")
    assert shops.tailrace.call("look_at", left.tailrace["revoked"]) == revoked("not wanted")
    assert len(shops.celery.call("visits", "customer", "revoked")) == 1
    assert shops.tailrace.call("visits", "customer", "revoked") == []


@pytest.mark.parametrize(
    ("name", "celery", "celery_attempts"),
    [
        ("lost_with_its_worker", {"error": "WorkerLostError", "state": "FAILURE"}, 1),
        ("lost_with_its_worker_and_run_again", success("a scan of lost_with_its_worker_and_run_again"), 2),
    ],
)
def test_task_whose_process_is_killed_is_run_again_unasked_only_in_tailrace(
    shops: Shops, name: str, celery: Seen, celery_attempts: int
) -> None:
    in_celery, in_tailrace = (shop.begin(name, name) for shop in (shops.celery, shops.tailrace))

    assert without_words(in_celery.result(60), celery) == celery
    assert in_tailrace.result(60) == success(f"a scan of {name}")
    assert len(shops.celery.call("visits", "scanner", name)) == celery_attempts
    assert len(shops.tailrace.call("visits", "scanner", name)) == 2


def test_task_of_a_worker_that_is_gone_waits_for_the_visibility_timeout_only_in_celery(shops: Shops) -> None:
    celery, tailrace = shops.ask_both("begun", "a-long-roll")
    for shop in (shops.celery, shops.tailrace):
        shop.kill_worker()
        shop.start_worker()
    shops.ask_both("approve", "a-long-roll")

    assert shops.tailrace.call("look_at", tailrace) == success("4 frames of a-long-roll")
    assert shops.celery.call("plain_result") == success(87)  # the new worker works, and does not take up the old task
    assert shops.celery.call("state_of", celery) == "PROGRESS"
    with Redis.from_url(f"{shops.redis.url}/0") as broker:
        held = [json.loads(message)[0]["headers"]["id"] for message in broker.hvals("unacked")]
    assert held.count(celery) == 1
