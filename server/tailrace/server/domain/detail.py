"""All that an operator, or whoever looks a task up, is shown of it."""

from dataclasses import dataclass

from tailrace.server.domain.task import Place, TaskRecord, TaskSnapshot, snapshot_of


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDetail:
    """A task as of one moment. Times are milliseconds of the store's clock."""

    snapshot: TaskSnapshot
    request: bytes
    """The serialized request; without the input where the snapshot is not whole, or where it was dropped."""
    create_ms: int
    start_ms: int | None
    """When the latest attempt started; None before the first."""
    worker_id: str
    lease_expire_ms: int | None
    """None unless it is leased."""
    delivery_count: int
    is_revoke_requested: bool


def detail_of(record: TaskRecord, *, is_queue_paused: bool = False) -> TaskDetail:
    """Show a record."""
    return TaskDetail(
        snapshot=snapshot_of(record, is_queue_paused=is_queue_paused),
        request=record.request,
        create_ms=record.create_ms,
        start_ms=record.start_ms,
        worker_id=record.worker_id,
        lease_expire_ms=record.lease_expire_ms if record.place is Place.LEASE else None,
        delivery_count=record.delivery_count,
        is_revoke_requested=record.revocation is not None,
    )
