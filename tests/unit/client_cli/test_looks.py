"""What is made of two looks at a server."""

from collections.abc import Iterator
from itertools import islice

import pytest

from tailrace.cli._looks import Look, Trouble, look, looks
from tailrace.client import CallRefusedError, ServerUnavailableError
from tailrace.v1.admin_service_pb2 import Queue, Worker


class Server:
    """Answers what it was told to, one look after the other."""

    def __init__(self, *answers: list[Queue] | Exception) -> None:
        self._answers = iter(answers)

    def list_queues(self) -> Iterator[Queue]:
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return iter(answer)

    def list_workers(self) -> Iterator[Worker]:
        return iter([Worker(worker_id="w")])


def test_a_queue_changes_by_what_came_less_what_ended() -> None:
    before = look(Server([Queue(queue="a", queued_count=10, delayed_count=1), Queue(queue="b")]), None)
    seen = look(Server([Queue(queue="a", queued_count=2, leased_count=3), Queue(queue="b"), Queue(queue="c")]), before)

    assert before.net_per_s == {"a": None, "b": None}
    assert seen.since_s is not None
    assert seen.net_per_s == {"a": pytest.approx(-6 / seen.since_s), "b": 0, "c": 0}


def test_a_queue_that_was_not_there_was_empty() -> None:
    before = look(Server([]), None)
    seen = look(Server([Queue(queue="new", delayed_count=5)]), before)

    assert seen.since_s is not None
    assert seen.net_per_s == {"new": pytest.approx(5 / seen.since_s)}


def test_a_task_that_begins_changes_nothing() -> None:
    before = look(Server([Queue(queue="a", queued_count=1)]), None)

    assert look(Server([Queue(queue="a", leased_count=1)]), before).net_per_s == {"a": 0}


def test_a_server_that_is_away_is_asked_again_and_rates_span_the_gap() -> None:
    away = ServerUnavailableError("away")
    server = Server([], away, away, [Queue(queue="a", queued_count=1)])
    pauses: list[float] = []

    first, second, third, fourth = islice(looks(server, 2.0, pauses.append), 4)

    assert isinstance(first, Look)
    assert isinstance(second, Trouble)
    assert isinstance(third, Trouble)
    assert isinstance(fourth, Look)
    assert second.error is away
    assert fourth.since_s == fourth.at_s - first.at_s
    assert pauses == [2.0, 2.0, 2.0]


def test_a_refusal_ends_it() -> None:
    with pytest.raises(CallRefusedError):
        next(looks(Server(CallRefusedError("no")), 2.0, lambda _: None))
