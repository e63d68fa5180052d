"""What to wait for, off the wire."""

from collections.abc import Iterable

from tailrace.server.api.parse_fields import TASK_ID, check_name
from tailrace.server.api.violations import Violations
from tailrace.v1 import task_service_pb2 as pb


def parse_targets(violations: Violations, field: str, targets: Iterable[pb.WaitTarget]) -> dict[str, int | None]:
    """Read task ids with the revision seen last, None where none was; an id named twice counts once, the last time."""
    parsed: dict[str, int | None] = {}
    for index, target in enumerate(targets):
        check_name(violations, f"{field}[{index}].task_id", target.task_id, TASK_ID)
        if target.after_revision < 0:
            violations.add(f"{field}[{index}].after_revision", "must not be negative")
        parsed[target.task_id] = target.after_revision or None
    return parsed
