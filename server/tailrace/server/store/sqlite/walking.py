"""In which order the tasks of a partition are looked through, and how a walk finds back to where it was."""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from tailrace.server.domain.task import Place
from tailrace.server.store.sqlite import statements

_BEYOND_ALL_MS: Final = 1 << 62
_STARTS: Final[dict[str, tuple[Any, ...]]] = {
    Place.LEASE.value: (-1, ""),
    Place.READY.value: ("", 0, 0),
    Place.SCHEDULE.value: (-1, ""),
    Place.DONE.value: (_BEYOND_ALL_MS, ""),
}
"""The places in the order of the walk, each with what comes before its first task."""


@dataclass(frozen=True, slots=True)
class Stop:
    """One task that a walk comes by, and how to say where that was."""

    task_id: str
    cursor: str


def walk(connection: sqlite3.Connection, partition: int, cursor: str, limit: int, *, now_ms: int) -> list[Stop]:
    """Give the next tasks after a cursor; records whose time is over are passed by.

    Raises:
        ValueError: The cursor is malformed.
    """
    place, key = _read_cursor(cursor)
    places = list(_STARTS)
    stops: list[Stop] = []
    for next_place in places[places.index(place) :]:
        key = key if next_place == place else _STARTS[next_place]
        for sql, values in _questions(next_place, key, now_ms):
            if len(stops) < limit:
                found = connection.execute(sql, (partition, *values, limit - len(stops)))
                stops += [Stop(task_id, json.dumps([next_place, *at])) for task_id, *at in found]
    return stops


def _questions(place: str, key: Sequence[Any], now_ms: int) -> Iterator[tuple[str, Sequence[Any]]]:
    if place == Place.LEASE.value:
        yield statements.WALK_LEASES, key
    elif place == Place.SCHEDULE.value:
        yield statements.WALK_SCHEDULE, key
    elif place == Place.DONE.value:
        yield statements.WALK_DONE, (now_ms, *key)
    else:
        queue, priority, position = key
        yield statements.WALK_LEVEL, (queue, priority, position)
        yield statements.WALK_LOWER_LEVELS, (queue, priority)
        yield statements.WALK_LATER_QUEUES, (queue,)


def _read_cursor(cursor: str) -> tuple[str, tuple[Any, ...]]:
    if not cursor:
        return next(iter(_STARTS.items()))
    try:
        found = json.loads(cursor)
    except RecursionError:
        raise ValueError("the cursor is nested beyond all measure") from None
    place, *key = cast("Sequence[Any]", found) if isinstance(found, list) and found else [None]
    if not isinstance(place, str) or place not in _STARTS:
        raise ValueError("the cursor names no place")
    start = _STARTS[place]
    if [type(part) for part in key] != [type(part) for part in start]:
        raise ValueError("the cursor names no task")
    if any(isinstance(part, int) and abs(part) > _BEYOND_ALL_MS for part in key):
        raise ValueError("the cursor names numbers beyond all measure")
    return place, tuple(key)
