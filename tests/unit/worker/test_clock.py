"""The worker measures spans on a clock of its own, and neither knows nor asks what time it is."""

import re
from pathlib import Path

import tailrace.worker

SOURCES = sorted(Path(tailrace.worker.__file__).parent.rglob("*.py"))
WALL_CLOCK = re.compile(r"\btime\.(time|time_ns|localtime|gmtime)\b|\bimport datetime\b|\b(now|today|utcnow)\(")
POINTS_ON_THE_WIRE = re.compile(r"\b(start_expire_time|expire_time|create_time|update_time|schedule_time)\b|Timestamp")


def lines_with(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{source.name}: {line.strip()}"
        for source in SOURCES
        for line in source.read_text(encoding="utf-8").splitlines()
        if pattern.search(line)
    ]


def test_worker_reads_no_wall_clock() -> None:
    assert len(SOURCES) > 10
    assert lines_with(WALL_CLOCK) == []


def test_worker_looks_at_no_point_in_time_that_the_server_names() -> None:
    assert lines_with(POINTS_ON_THE_WIRE) == []
