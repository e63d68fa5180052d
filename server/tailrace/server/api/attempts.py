"""What workers say of their attempts, item by item, whichever way it came in: beats, results, releases."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from tailrace.server.api import render
from tailrace.server.api.parse_work import parse_attempt_result, parse_beat, parse_release
from tailrace.server.coordinator.coordinator import Coordinator
from tailrace.server.domain import limits
from tailrace.server.domain.errors import LeaseLostError, TailraceError
from tailrace.server.domain.lease import AttemptEnd
from tailrace.server.store.values import LeaseHeld, ResultStored
from tailrace.v1 import worker_service_pb2 as pb

Wire = TypeVar("Wire")
Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


class Attempts:
    """Answers each item with what became of it; an item at fault fails none of the others."""

    def __init__(self, coordinator: Coordinator, *, max_payload_bytes: int) -> None:
        self._coordinator = coordinator
        self._max_payload_bytes = max_payload_bytes

    async def beat(self, beats: Sequence[pb.LeaseBeat]) -> list[pb.LeaseStatus]:
        """Extend leases and start attempts."""
        parsed = [_parsed(parse_beat, beat) for beat in beats]
        outcomes = _merge(parsed, await self._coordinator.heartbeat(_valid(parsed)))
        return [_lease_status(_echo(beat.lease), outcome) for beat, outcome in zip(beats, outcomes, strict=True)]

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


def _lease_status(ref: tuple[str, bytes], outcome: LeaseHeld | TailraceError) -> pb.LeaseStatus:
    status = pb.LeaseStatus(task_id=ref[0], lease_token=ref[1])
    if isinstance(outcome, LeaseHeld):
        status.held = True
        status.expire_time.CopyFrom(render.timestamp(outcome.expire_ms))
        render.fill_revocation(status, outcome.revocation)
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
