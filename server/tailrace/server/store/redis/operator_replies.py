"""What the operators' scripts answer; see ``replies``."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tailrace.server.domain.detail import TaskDetail
from tailrace.server.store.operators import Listed, Purged, QueueStats
from tailrace.server.store.redis.replies import Reply, changes_in, queues_ready, snapshot_in, transitions_in

_NONE = b"-"


def parse_details(reply: Any) -> Reply[list[TaskDetail | None]]:
    """From ``read_details``."""
    return Reply([values and _detail(values) for values in reply])


def parse_listed(reply: Any) -> Reply[Listed]:
    """From ``list_tasks``."""
    details, cursor = reply
    return Reply(Listed(details=tuple(map(_detail, details)), cursor=cursor.decode()))


def parse_deleted(reply: Any) -> Reply[list[bool | None]]:
    """From ``delete_tasks``."""
    return Reply([None if outcome is None else outcome == 1 for outcome in reply])


def parse_queues(reply: Any) -> Reply[list[QueueStats]]:
    """From ``list_queues``."""
    return Reply(list(map(_stats, reply)))


def parse_paused(reply: Any) -> Reply[QueueStats]:
    """From ``pause_queue``."""
    stats, ready = reply
    return Reply(_stats(stats), queues_ready(ready))


def parse_purged(reply: Any) -> Reply[Purged]:
    """From ``purge_queue``."""
    count, remaining, cursor, changed, began, ended = reply
    purged = Purged(count=count, remaining=remaining, cursor=cursor.decode())
    return Reply(purged, changes_in(changed), transitions_in("purge_queue", began, ended))


def parse_repairs(reply: Any) -> Reply[Mapping[str, int]]:
    """From ``audit_tasks``."""
    named, ready = reply
    repairs: Mapping[str, int] = {name.decode(): number for name, number in zip(named[::2], named[1::2], strict=True)}
    return Reply(repairs, queues_ready(ready))


def _detail(values: Sequence[Any]) -> TaskDetail:
    """Put together what ``lua/_details.lua`` tells of a task."""
    line, worker_id, request, payload, progress = values
    task_id, is_revoke_requested, delivery_count, create_ms, start_ms, lease_expire_ms, is_whole, *words = line.split()
    snapshot = snapshot_in(task_id.decode(), words, payload, progress)
    return TaskDetail(
        snapshot=snapshot if is_whole == b"1" else replace(snapshot, is_whole=False),
        request=request,
        create_ms=int(create_ms),
        start_ms=_number(start_ms),
        worker_id=worker_id.decode(),
        lease_expire_ms=_number(lease_expire_ms),
        delivery_count=int(delivery_count),
        is_revoke_requested=is_revoke_requested == b"1",
    )


def _stats(values: Sequence[Any]) -> QueueStats:
    queue, is_paused, ready_count, schedule_count, lease_count, oldest_age_ms = values
    return QueueStats(
        queue=queue.decode(),
        is_paused=is_paused == 1,
        ready_count=ready_count,
        schedule_count=schedule_count,
        lease_count=lease_count,
        oldest_age_ms=oldest_age_ms,
    )


def _number(word: bytes) -> int | None:
    return None if word == _NONE else int(word)
