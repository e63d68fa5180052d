"""What the operators' scripts take; see ``arguments``. Where a walk goes on is text of our own that callers keep."""

import re
from collections.abc import Sequence

from tailrace.server.store.base import MAX_CALL_BYTES
from tailrace.server.store.redis.connection import Argument

MAX_STEP = 500
"""Entries that one call looks at: Redis does nothing else meanwhile."""
_FIRST_LISTED = "lease"
_FIRST_PURGED = "ready"
_ENTRY = r"[0-9]{1,15} \S{1,128}"
_LIST_CURSOR = re.compile(rf"(?:lease|schedule|done) {_ENTRY}|ready \S{{1,64}} (?:[0-9]|-1) -?[0-9]{{1,15}}")
_PURGE_CURSOR = re.compile(rf"ready|schedule {_ENTRY}")
_SCAN_CURSOR = re.compile(r"[0-9]{1,20}")


def detail_arguments(task_ids: Sequence[str]) -> list[Argument]:
    """For ``read_details``."""
    return [MAX_CALL_BYTES, *task_ids]


def list_arguments(cursor: str, limit: int, *, with_payloads: bool) -> list[Argument]:
    """For ``list_tasks``.

    Raises:
        ValueError: The cursor is malformed.
    """
    where = _checked(cursor, _LIST_CURSOR) if cursor else _FIRST_LISTED
    return [min(limit, MAX_STEP), MAX_CALL_BYTES, f"{with_payloads:d}", where]


def purge_arguments(queue: str, cursor: str, limit: int, failure: bytes) -> list[Argument]:
    """For ``purge_queue``.

    Raises:
        ValueError: The cursor is malformed.
    """
    where = _checked(cursor, _PURGE_CURSOR) if cursor else _FIRST_PURGED
    return [queue, min(limit, MAX_STEP), failure, where]


def scan_cursor(cursor: str) -> str:
    """Give what SCAN takes.

    Raises:
        ValueError: The cursor is malformed.
    """
    return _checked(cursor, _SCAN_CURSOR) if cursor else "0"


def _checked(cursor: str, form: re.Pattern[str]) -> str:
    if not form.fullmatch(cursor):
        raise ValueError("the cursor is malformed")
    return cursor
