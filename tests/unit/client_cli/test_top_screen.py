"""What top shows on screens of all sizes."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.cells import cell_len

from tailrace.cli._columns import Column, fitted_lines
from tailrace.cli._looks import Look, Trouble
from tailrace.cli._table import Cell
from tailrace.cli._top_screen import View, look_fields, rate_text, screen, trouble_fields
from tailrace.client import ServerUnavailableError
from tailrace.v1.admin_service_pb2 import Queue, Worker

NOW = datetime(2030, 1, 31, 9, tzinfo=UTC)


def a_queue(name: str, queued_count: int = 0, **fields: Any) -> Queue:
    return Queue(queue=name, queued_count=queued_count, **fields)


def a_worker(worker_id: str, heard_s: int = 3, **fields: Any) -> Worker:
    worker = Worker(worker_id=worker_id, queues=["default", "mail"], sdk="python/1.2", **fields)
    worker.connect_time.FromDatetime(NOW - timedelta(minutes=5))
    worker.last_seen_time.FromDatetime(NOW - timedelta(seconds=heard_s))
    return worker


def a_look(*queues: Queue, workers: tuple[Worker, ...] = ()) -> Look:
    rates: dict[str, float | None] = {queue.queue: 1.5 for queue in queues}
    return Look(queues=queues, workers=workers, at_s=10.0, moment=NOW, net_per_s=rates, since_s=2.0)


def a_view(look: Look | None) -> View:
    return View(address="there:7440", interval_s=2.0, began=NOW, now=NOW, look=look)


BUSY = a_queue("default", 1200, delayed_count=30, leased_count=4, max_depth=5000)
BUSY.oldest_queued_age.FromSeconds(90)
PAUSED = Queue(queue="mail", paused=True)
TWO_WORKERS = (
    a_worker("one", outstanding_count=4, max_outstanding_tasks=8),
    a_worker("two", 60, max_outstanding_tasks=8, draining=True),
)


def lines(view: View, width: int = 80, height: int | None = None) -> list[str]:
    return [line.rstrip() for line in screen(view, width, height).plain.splitlines()]


def test_a_screen_tells_of_queues_and_workers_and_sums_up() -> None:
    assert lines(a_view(a_look(BUSY, PAUSED, workers=TWO_WORKERS))) == [
        "tailrace top  there:7440  09:00:00  every 2 s",
        "1,234 tasks (+3.0/s): 1,200 queued, 30 delayed, 4 running; 2 workers 4/16",
        "",
        "QUEUE    QUEUED  DELAYED  RUNNING  NET/S  OLDEST  LIMIT",
        "default   1,200       30        4   +1.5      1m  5,000",
        "mail          0        0        0   +1.5       -      -  paused",
        "",
        "WORKER  TASKS  QUEUES         CONNECTED  HEARD OF  SDK",
        "one       4/8  default, mail         5m        3s  python/1.2",
        "two       0/8  default, mail         5m        1m  python/1.2  draining",
    ]


def test_nothing_to_show_is_said() -> None:
    assert lines(a_view(a_look())) == [
        "tailrace top  there:7440  09:00:00  every 2 s",
        "0 tasks (0/s): 0 queued, 0 delayed, 0 running; 0 workers 0/0",
        "",
        "no queue has had a task yet",
        "",
        "no worker is connected",
    ]


def test_no_rates_are_told_after_one_look() -> None:
    first = replace(a_look(BUSY), net_per_s={"default": None}, since_s=None)

    _, totals, _, _, row, *_ = lines(a_view(first))

    assert totals.startswith("1,234 tasks: 1,200 queued")
    assert row.split()[4] == "-"


def test_a_server_that_is_away_is_told_with_what_was_last_seen() -> None:
    trouble = Trouble(error=ServerUnavailableError("refused\nby\x1b[2J it"), moment=NOW)
    view = replace(a_view(a_look(BUSY)), now=NOW + timedelta(minutes=3), trouble=trouble)

    away, totals = lines(view)[1:3]

    assert away == "no answer for 3m, asking again: refused by\\x1b[2J it"
    assert totals.startswith("1,234 tasks")


def test_an_answer_that_is_late_is_told_of() -> None:
    assert lines(replace(a_view(a_look(BUSY)), now=NOW + timedelta(seconds=4)))[1].startswith("1,234 tasks")
    assert lines(replace(a_view(a_look(BUSY)), now=NOW + timedelta(seconds=5)))[1] == "no answer for 5s"
    assert lines(replace(a_view(None), now=NOW + timedelta(seconds=5)))[1] == "no answer for 5s"


@pytest.mark.parametrize("width", [1, 8, 20, 40, 60, 79, 100])
@pytest.mark.parametrize("height", [1, 3, 5, 8, 11, 24])
def test_no_screen_is_wider_or_higher_than_it_may_be(width: int, height: int) -> None:
    queues = [a_queue(f"a-queue-of-länge-{number}" * 3, number) for number in range(30)]
    workers = tuple(a_worker(f"worker-{number}") for number in range(30))

    shown = lines(a_view(a_look(*queues, workers=workers)), width, height)

    assert len(shown) <= height
    assert max(cell_len(line) for line in shown) <= width


def test_where_not_all_queues_fit_the_fullest_are_shown_in_their_order() -> None:
    queues = [a_queue(f"q{number}", count) for number, count in enumerate([1, 90, 2, 80, 3, 70, 4, 60])]

    shown = lines(a_view(a_look(*queues, workers=TWO_WORKERS)), height=13)

    assert [line.split()[:2] for line in shown[4:8]] == [["q1", "90"], ["q3", "80"], ["q5", "70"], ["q7", "60"]]
    assert shown[8] == "and 4 more queues"
    assert len(shown) == 13
    assert shown[-1].startswith("two")


def test_a_narrow_screen_leaves_out_what_matters_least() -> None:
    title = lines(a_view(a_look(BUSY, PAUSED)), width=40)[3]

    assert title.split() == ["QUEUE", "QUEUED", "RUNNING", "NET/S"]


def test_columns_that_may_be_are_cut_before_others_are_left_out() -> None:
    columns = [Column(title="A", least=3), Column(title="B", least=4, leaves=2), Column(title="C", leaves=1)]
    rows = [[Cell("abcdef"), Cell("123456"), Cell("xyz")]]

    def table(width: int) -> list[str]:
        return [line.plain for line in fitted_lines(columns, rows, width)]

    assert table(19) == ["A       B       C", "abcdef  123456  xyz"]
    assert table(17) == ["A       B     C", "abcdef  123…  xyz"]
    assert table(14) == ["A    B     C", "ab…  123…  xyz"]
    assert table(13) == ["A       B", "abcdef  1234…"]
    assert table(3) == ["A", "ab…"]


@pytest.mark.parametrize(
    ("per_s", "text"),
    [(None, "-"), (0.0, "0"), (0.004, "0"), (0.05, "+0.05"), (-3.21, "-3.2"), (12.6, "+13"), (-1250.0, "-1,250")],
)
def test_a_rate_is_told_with_its_sign(per_s: float | None, text: str) -> None:
    assert rate_text(per_s) == text


def test_a_look_in_json_has_what_the_lists_have_and_rates() -> None:
    fields = look_fields(a_look(BUSY, workers=TWO_WORKERS))

    assert (fields["time"], fields["since_s"], fields["error"]) == ("2030-01-31T09:00:00.000Z", 2.0, None)
    assert (fields["queues"][0]["queue"], fields["queues"][0]["net_per_s"]) == ("default", 1.5)
    assert [worker["worker_id"] for worker in fields["workers"]] == ["one", "two"]
    assert trouble_fields(Trouble(error=ServerUnavailableError("away"), moment=NOW)) == {
        "time": "2030-01-31T09:00:00.000Z",
        "since_s": None,
        "queues": None,
        "workers": None,
        "error": "away",
    }
