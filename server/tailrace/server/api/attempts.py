"""What workers say of their attempts, item by item, whichever way it came in: beats, results, releases."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from tailrace.server.api import render
from tailrace.server.api.parse_work import parse_attempt_result, parse_beat, parse_progress, parse_release
from tailrace.server.coordinator.coordinator import Coordinator
from tailrace.server.domain import limits
from tailrace.server.domain.errors import LeaseLostError, StoreUnavailableError, TailraceError
from tailrace.server.domain.lease import AttemptEnd
from tailrace.server.store.values import LeaseHeld, ResultStored
from tailrace.v1 import task_pb2
from tailrace.v1 import worker_service_pb2 as pb

Wire = TypeVar("Wire")
Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

_UNAVAILABLE = render.item_error(StoreUnavailableError("")).code


class Attempts:
    """Answers each item with what became of it; an item at fault fails none of the others."""

    def __init__(
        self, coordinator: Coordinator, *, max_payload_bytes: int, clock_s: Callable[[], float] = time.time
    ) -> None:
        self._coordinator = coordinator
        self._max_payload_bytes = max_payload_bytes
        self._clock_s = clock_s
        """Tells people when progress was made; nothing is decided by it."""

    async def beat(self, beats: Sequence[pb.LeaseBeat], *, worker_id: str) -> list[pb.LeaseStatus]:
        """Extend leases and start attempts. A beat whose progress is refused counts all the same."""
        now_ms = int(self._clock_s() * 1_000)
        progresses = [
            _parsed(partial(parse_progress, path=f"beats[{index}].progress", now_ms=now_ms), beat)
            for index, beat in enumerate(beats)
        ]
        parsed = [
            _parsed(partial(parse_beat, worker_id=worker_id, progress=_taken(progress)), beat)
            for beat, progress in zip(beats, progresses, strict=True)
        ]
        outcomes = _merge(parsed, await self._coordinator.heartbeat(_valid(parsed)))
        return [
            _lease_status(_echo(beat.lease), outcome, progress)
            for beat, outcome, progress in zip(beats, outcomes, progresses, strict=True)
        ]

    async def end(self, results: Sequence[pb.AttemptResult]) -> list[pb.AttemptResultAck]:
        """End attempts."""
        parsed = [_parsed(self._parse_result(f"results[{index}]"), result) for index, result in enumerate(results)]
        outcomes = _merge(parsed, await self._coordinator.store_results(_valid(parsed)))
        return [_ack(_echo(result.lease), outcome) for result, outcome in zip(results, outcomes, strict=True)]

    async def release(self, leases: Sequence[pb.LeaseRef], delay_ms: int) -> list[pb.ReleaseItem]:
        """Give leases back."""
        parsed = [_parsed(lambda lease: parse_release(lease, delay_ms), lease) for lease in leases]
        outcomes = _merge(parsed, await self._coordinator.release(_valid(parsed)))
        return [_release_item(_echo(lease), outcome) for lease, outcome in zip(leases, outcomes, strict=True)]

    def _parse_result(self, path: str) -> Callable[[pb.AttemptResult], AttemptEnd]:
        return lambda result: parse_attempt_result(result, max_payload_bytes=self._max_payload_bytes, path=path)


def is_lost(status: pb.LeaseStatus) -> bool:
    """Tell whether the answer to a beat says that its worker does not hold the lease."""
    return not (status.held or status.HasField("error"))


def is_final(error: task_pb2.ItemError) -> bool:
    """Tell whether an answer settles the lease: stored, or refused for good. The others are to be sent again."""
    return error.code != _UNAVAILABLE


def _parsed(parse: Callable[[Wire], Item], item: Wire) -> Item | TailraceError:
    try:
        return parse(item)
    except TailraceError as error:
        return error


def _valid(parsed: Sequence[Item | TailraceError]) -> list[Item]:
    return [item for item in parsed if not isinstance(item, TailraceError)]


def _merge(parsed: Sequence[Item | TailraceError], outcomes: Sequence[Outcome]) -> list[Outcome | TailraceError]:
    """Put the outcomes of the valid items back between the errors of the others."""
    remaining = iter(outcomes)
    return [item if isinstance(item, TailraceError) else next(remaining) for item in parsed]


def _echo(lease: pb.LeaseRef) -> tuple[str, bytes]:
    """Repeat which lease is meant, cut to what a lease can have."""
    return render.echo(lease.task_id), lease.lease_token[: limits.MAX_LEASE_TOKEN_BYTES]


def _taken(progress: bytes | TailraceError | None) -> bytes | None:
    return None if isinstance(progress, TailraceError) else progress


def _lease_status(
    ref: tuple[str, bytes], outcome: LeaseHeld | TailraceError, progress: bytes | TailraceError | None
) -> pb.LeaseStatus:
    status = pb.LeaseStatus(task_id=ref[0], lease_token=ref[1])
    if isinstance(outcome, LeaseHeld):
        status.held = True
        status.expire_time.CopyFrom(render.timestamp(outcome.expire_ms))
        render.fill_revocation(status, outcome.revocation)
        if isinstance(progress, TailraceError):
            status.error.CopyFrom(render.item_error(progress))
    elif not isinstance(outcome, LeaseLostError):
        status.error.CopyFrom(render.item_error(outcome))
    return status


def _ack(ref: tuple[str, bytes], outcome: ResultStored | TailraceError) -> pb.AttemptResultAck:
    ack = pb.AttemptResultAck(task_id=ref[0], lease_token=ref[1])
    if isinstance(outcome, TailraceError):
        ack.error.CopyFrom(render.item_error(outcome))
    else:
        ack.state = render.STATES[outcome.state]
        ack.duplicate = outcome.is_duplicate
    return ack


def _release_item(ref: tuple[str, bytes], error: TailraceError | None) -> pb.ReleaseItem:
    item = pb.ReleaseItem(task_id=ref[0], lease_token=ref[1])
    if error is not None:
        item.error.CopyFrom(render.item_error(error))
    return item
