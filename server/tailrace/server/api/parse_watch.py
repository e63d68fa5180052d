"""Watch requests off the wire."""

from collections.abc import Mapping
from dataclasses import dataclass

from tailrace.server.api.parse_fields import check_count, check_size
from tailrace.server.api.parse_targets import parse_targets
from tailrace.server.api.submit_items import ParsedItem, parse_items
from tailrace.server.api.violations import Violations, invalid
from tailrace.server.domain import limits
from tailrace.v1 import task_service_pb2 as pb

FIRST_ONLY = ("include_progress", "omit_results", "done_only")


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchOrder:
    """One request, to be carried out in this order."""

    add: Mapping[str, int | None]
    """Task ids with the revision seen last, None where none was."""
    drop: tuple[str, ...]
    """As they came: one that cannot be an id is simply not followed."""
    submit: tuple[ParsedItem, ...]


def parse_watch(request: pb.WatchRequest, *, is_first: bool, max_payload_bytes: int) -> WatchOrder:
    """Read a request; what is wrong with a single submit is left to its answer.

    Raises:
        InvalidRequestError: Targets are malformed, or the stream's settings come after its first message.
        LimitExceededError: There is more of something than a message may carry.
    """
    for field in FIRST_ONLY:
        if not is_first and getattr(request, field):
            raise invalid(field, "is allowed in the first message only")
    # A message can hold millions, and each costs: nobody else is served while they are read.
    check_count("add", request.add, limit=limits.MAX_WATCH_TARGETS)
    check_count("submit", request.submit, limit=limits.MAX_BATCH_ITEMS)
    check_size("submit", sum(item.ByteSize() for item in request.submit))
    violations = Violations()
    targets = parse_targets(violations, "add", request.add)
    violations.raise_if_any()
    return WatchOrder(
        add=targets,
        drop=tuple(request.drop_task_ids),
        submit=tuple(parse_items(request.submit, field="submit", max_payload_bytes=max_payload_bytes, is_watched=True)),
    )
