"""Looking tasks up, one by one or all of a partition, and deleting those that are done."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tailrace.server.domain.detail import TaskDetail, detail_of
from tailrace.server.store.base import MAX_CALL_BYTES
from tailrace.server.store.operators import Listed
from tailrace.server.store.sqlite.operations import without_payloads
from tailrace.server.store.sqlite.records import Records, delete_rows
from tailrace.server.store.sqlite.rows import Sizes, detail_sizes
from tailrace.server.store.sqlite.walking import walk


@dataclass(frozen=True, slots=True)
class _Look:
    """One task, and whether it is shown with all its payloads."""

    task_id: str
    is_whole: bool


def read_details(records: Records, task_ids: Sequence[str]) -> list[TaskDetail | None]:
    """See OperatorStore.read_details."""
    sizes = detail_sizes(records.connection, task_ids)
    looks: list[_Look] = []
    size_bytes = 0
    for task_id in task_ids:
        looks.append(_Look(task_id, is_whole=size_bytes < MAX_CALL_BYTES))
        size_bytes += _shown_bytes(sizes, looks[-1])
    return _details(records, looks, sizes)


def list_tasks(records: Records, cursor: str, limit: int, *, with_payloads: bool) -> Listed:
    """See OperatorStore.list_tasks."""
    stops = walk(records.connection, records.partition, cursor, limit + 1, now_ms=records.now_ms)
    sizes = detail_sizes(records.connection, [stop.task_id for stop in stops])
    looks: list[_Look] = []
    size_bytes = 0
    for stop in stops[:limit]:
        if size_bytes >= MAX_CALL_BYTES:
            break
        looks.append(_Look(stop.task_id, is_whole=with_payloads))
        size_bytes += _shown_bytes(sizes, looks[-1])
    details = tuple(detail for detail in _details(records, looks, sizes) if detail is not None)
    return Listed(details=details, cursor=stops[len(looks) - 1].cursor if 0 < len(looks) < len(stops) else "")


def delete_tasks(records: Records, task_ids: Sequence[str]) -> list[bool | None]:
    """See OperatorStore.delete_tasks."""
    records.load(task_ids, with_outcomes=False)
    return [_delete(records, task_id) for task_id in task_ids]


def _delete(records: Records, task_id: str) -> bool | None:
    record = records.get(task_id)
    if record is None:
        return None
    if not record.state.is_done:
        return False
    delete_rows(records.connection, [records.forget(task_id)])
    return True


def _details(records: Records, looks: Sequence[_Look], sizes: Mapping[str, Sizes]) -> list[TaskDetail | None]:
    records.load((look.task_id for look in looks if look.is_whole), with_requests=True)
    records.load((look.task_id for look in looks), with_heads=True, with_outcomes=False)
    return [_detail(records, look, sizes) for look in looks]


def _detail(records: Records, look: _Look, sizes: Mapping[str, Sizes]) -> TaskDetail | None:
    record = records.get(look.task_id)
    if record is None:
        return None
    detail = detail_of(record, is_queue_paused=records.is_queue_paused(record))
    if look.is_whole:
        return detail
    has_more = sizes[look.task_id].has_more
    return replace(detail, snapshot=replace(without_payloads(detail.snapshot), is_whole=not has_more))


def _shown_bytes(sizes: Mapping[str, Sizes], look: _Look) -> int:
    size = sizes.get(look.task_id)
    if size is None:
        return 0
    return size.request_bytes + size.outcome_bytes if look.is_whole else size.head_bytes
