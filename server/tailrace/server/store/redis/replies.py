"""What the scripts answer: one function for each that turns its reply into values of the Store protocol.

Beside its value a reply brings changes for whoever listens in this process; Redis tells the other processes itself.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from tailrace.server.domain.lease import AttemptEnd, lease_token
from tailrace.server.domain.task import Place, Submission, TaskSnapshot, TaskState, accept, snapshot_of
from tailrace.server.domain.transition import Began, Ended, Transitions
from tailrace.server.store.changes import Change, DrainRequested, LeaseNews, QueueReady, TaskChanged
from tailrace.server.store.values import Delivery, Leased, LeaseHeld, LeaseRequest, ResultStored, Submitted, Tick

T = TypeVar("T")
_STATES = {state.encode(): state for state in TaskState}
_PLACES = {place.encode(): place for place in Place}
_NONE = b"-"
_PAUSED = b"paused"
_LEASE = b"! "
_DRAIN = b"? drain "


@dataclass(frozen=True, slots=True)
class Reply(Generic[T]):
    """What a call brought."""

    value: T
    changes: Sequence[Change] = ()
    transitions: Transitions | None = None


def drain_line(worker_id: str) -> str:
    """Write the line in which all processes are told of a DrainRequested."""
    return f"{_DRAIN.decode()}{worker_id}"


def change_in(line: bytes) -> TaskChanged | LeaseNews | DrainRequested:
    """Parse a line in which scripts and notifications speak of a task's new revision, a lease, or a worker to drain.

    Raises:
        ValueError: It is none of these.
    """
    if line.startswith(_DRAIN):
        return DrainRequested(line.removeprefix(_DRAIN).decode())
    if not line.startswith(_LEASE):
        task_id, _, what = line.split(b" ")
        return TaskChanged(task_id=task_id.decode(), is_done=what == b"1", is_progress=what == b"p")
    task_id, token, fate = line.removeprefix(_LEASE).split(b" ")
    revoked, _, failure = fate.partition(b":")
    return LeaseNews(
        task_id=task_id.decode(),
        lease_token=bytes.fromhex(token.decode()),
        revocation=bytes.fromhex(failure.decode()) if revoked == b"revoked" else None,
    )


def parse_submitted(submissions: Sequence[Submission], reply: Any) -> Reply[list[Submitted]]:
    """From ``submit_tasks``."""
    now_ms, outcomes, ready = reply
    submitted: list[Submitted] = []
    changes = queues_ready(ready)
    accepted: list[tuple[str, str]] = []
    for submission, line in zip(submissions, outcomes, strict=True):
        outcome, *words = line.split(b" ")
        if outcome in {b"created", b"full"}:
            record = accept(submission, now_ms=now_ms)
            snapshot = snapshot_of(record, is_queue_paused=words == [_PAUSED])
        else:
            snapshot = snapshot_in(submission.task_id, words)
        is_created = outcome == b"created"
        submitted.append(
            Submitted(
                snapshot=snapshot,
                is_created=is_created,
                is_conflict=outcome == b"conflict",
                is_queue_full=outcome == b"full",
            )
        )
        if is_created:
            changes.append(TaskChanged(task_id=submission.task_id, snapshot=snapshot, is_done=False))
            accepted.append((submission.queue, submission.task_type))
    return Reply(submitted, changes, Transitions(operation="submit_tasks", accepted=accepted))


def parse_snapshots(task_ids: Sequence[str], reply: Any) -> Reply[list[TaskSnapshot | None]]:
    """From ``read_tasks`` and ``register_waits``."""
    items = zip(task_ids, reply[::3], reply[1::3], reply[2::3], strict=True)
    return Reply([line and _read(task_id, line.split(b" "), *payloads) for task_id, line, *payloads in items])


def parse_leased(request: LeaseRequest, reply: Any) -> Reply[Leased]:
    """From ``lease_tasks``."""
    items, is_drained, is_blocked, changed, delivered, began, ended = reply
    deliveries: list[Delivery] = []
    changes = changes_in(changed)
    parts = zip(request.nonces, items[::4], items[1::4], items[2::4], items[3::4], strict=False)
    for nonce, line, payload, last_failure, progress in parts:
        task_id, *numbers = line.split(b" ")
        delivery_count, attempt, lease_ms, lease_expire_ms, create_ms, input_bytes, *revision = map(int, numbers)
        delivery = Delivery(
            task_id=task_id.decode(),
            lease_token=lease_token(delivery_count, nonce),
            request=payload,
            attempt=attempt,
            lease_ms=lease_ms,
            lease_expire_ms=lease_expire_ms,
            create_ms=create_ms,
            last_failure=last_failure,
            input_bytes=input_bytes,
            progress=progress,
        )
        deliveries.append(delivery)
        if request.start_immediately:
            changes.append(_started(delivery, revision=revision[0]))
    leased = Leased(deliveries=tuple(deliveries), is_drained=is_drained == 1, is_blocked=is_blocked == 1)
    transitions = transitions_in("lease_tasks", began, ended)
    transitions.delivered = dict(zip(map(bytes.decode, delivered[::2]), delivered[1::2], strict=True))
    return Reply(leased, changes, transitions)


def parse_beats(reply: Any) -> Reply[list[LeaseHeld | None]]:
    """From ``beat_leases``."""
    leases, changed, began, ended = reply
    held = [
        None if expire_ms is None else LeaseHeld(expire_ms=expire_ms, revocation=revocation)
        for expire_ms, revocation in zip(leases[::2], leases[1::2], strict=True)
    ]
    return Reply(held, changes_in(changed), transitions_in("beat_leases", began, ended))


def parse_revoked(task_ids: Sequence[str], reply: Any) -> Reply[list[TaskSnapshot | None]]:
    """From ``revoke_tasks``."""
    outcomes, changed, began, ended = reply
    items = zip(task_ids, outcomes, strict=True)
    snapshots = [line and snapshot_in(task_id, line.split(b" ")) for task_id, line in items]
    return Reply(snapshots, changes_in(changed), transitions_in("revoke_tasks", began, ended))


def parse_results(ends: Sequence[AttemptEnd], reply: Any) -> Reply[list[ResultStored | None]]:
    """From ``store_results``. The new outcomes are put together from what was sent: nobody has to read them."""
    outcomes, ready, began, ended = reply
    stored: list[ResultStored | None] = []
    changes = queues_ready(ready)
    for end, line in zip(ends, outcomes, strict=True):
        if line is None:
            stored.append(None)
            continue
        outcome, *words = line.split(b" ")
        snapshot = _ended(end, words) if outcome == b"stored" else None
        state = snapshot.state if snapshot else _STATES[words[0]]
        stored.append(ResultStored(state=state, is_duplicate=outcome == b"duplicate"))
        changes.append(TaskChanged(task_id=end.task_id, snapshot=snapshot, is_done=state.is_done))
    return Reply(stored, changes, transitions_in("store_results", began, ended))


def parse_released(reply: Any) -> Reply[list[bool]]:
    """From ``release_leases``."""
    releases, ready, changed, began, ended = reply
    changes = [*queues_ready(ready), *changes_in(changed)]
    transitions = transitions_in("release_leases", began, ended)
    return Reply([release == 1 for release in releases], changes, transitions)


def parse_tick(operation: str, reply: Any) -> Reply[Tick]:
    """From the scripts of maintenance, which leave out at the end what they never bring."""
    padded: list[Any] = [*reply, (), (), (), ()]
    count, next_due_ms, ready, changed, began, ended = padded[:6]
    changes = [*queues_ready(ready), *changes_in(changed)]
    return Reply(Tick(count=count, next_due_ms=next_due_ms), changes, transitions_in(operation, began, ended))


def transitions_in(operation: str, began: Sequence[Any], ended: Sequence[Any]) -> Transitions:
    """Parse what ``lua/_counting.lua`` tells."""
    # Every task comes through here twice: maps cost half of what a loop does.
    states = map(_STATES.__getitem__, ended[2::5])
    return Transitions(
        operation=operation,
        began=list(map(Began, map(bytes.decode, began[::2]), began[1::2])),
        ended=list(map(Ended, map(bytes.decode, ended[::5]), ended[1::5], states, ended[3::5], ended[4::5])),
    )


def queues_ready(queues: Iterable[bytes]) -> list[Change]:
    """Tell that queues have tasks for workers again."""
    return [QueueReady(queue.decode()) for queue in queues]


def changes_in(lines: Iterable[bytes]) -> list[Change]:
    """Parse many lines; see ``change_in``."""
    return [change_in(line) for line in lines]


def _read(
    task_id: str, words: Sequence[bytes], payload: bytes | int | None, progress: bytes | int | None
) -> TaskSnapshot:
    if isinstance(payload, int) or isinstance(progress, int):
        # 1 stands for a payload that is there, in an answer that had no room for it.
        return replace(snapshot_in(task_id, words), is_whole=False)
    return snapshot_in(task_id, words, payload, progress)


def snapshot_in(
    task_id: str, words: Sequence[bytes], payload: bytes | None = None, progress: bytes | None = None
) -> TaskSnapshot:
    """Put an outcome together: the words of ``outcome_line`` and the payloads that go with the state."""
    state, place, revision, attempt, update_ms, expire_ms, *more = words
    task_state = _STATES[state]
    is_success = task_state is TaskState.SUCCESS
    return TaskSnapshot(
        task_id=task_id,
        state=task_state,
        place=_PLACES[place],
        revision=int(revision),
        attempt=int(attempt),
        update_ms=int(update_ms),
        expire_ms=None if expire_ms == _NONE else int(expire_ms),
        result=payload if is_success else None,
        failure=payload if task_state.is_done and not is_success else None,
        last_failure=None if task_state.is_done else payload,
        progress=progress,
        is_queue_paused=more == [_PAUSED],
    )


def _ended(end: AttemptEnd, words: Sequence[bytes]) -> TaskSnapshot:
    is_kept, *line = words
    is_success = end.state is TaskState.SUCCESS
    result = end.result if is_kept == b"1" else None
    return snapshot_in(end.task_id, line, result if is_success else end.failure)


def _started(delivery: Delivery, *, revision: int) -> TaskChanged:
    snapshot = TaskSnapshot(
        task_id=delivery.task_id,
        state=TaskState.STARTED,
        place=Place.LEASE,
        revision=revision,
        attempt=delivery.attempt,
        update_ms=delivery.lease_expire_ms - delivery.lease_ms,
        last_failure=delivery.last_failure,
        progress=delivery.progress,
    )
    return TaskChanged(task_id=delivery.task_id, snapshot=snapshot, is_done=False)
