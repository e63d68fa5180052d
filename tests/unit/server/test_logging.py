"""What is logged, and that a log that cannot be written stops nothing."""

import json
import subprocess
import sys

PREPARED = """
import os
import structlog
from tailrace.server.logging import configure

def told():
    structlog.get_logger().info("told")

standard_error, full = os.dup(2), os.open("/dev/full", os.O_WRONLY)
"""


def logged(*, by: str, log_format: str) -> str:
    """Run a program that logs, and return what it wrote to standard error; it must come to its end."""
    program = f'{PREPARED}\nconfigure("info", "{log_format}")\n{by}\nprint("came to its end")'
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert ran.stdout == "came to its end\n", ran.stderr
    return ran.stderr


def test_log_that_cannot_be_written_stops_nothing_and_goes_on_later() -> None:
    text = logged(
        by="""
os.dup2(full, 2)
for _ in range(10_000):
    told()
os.dup2(standard_error, 2)
structlog.get_logger().info("there is room again")
""",
        log_format="json",
    )

    assert "there is room again" in text


def test_log_that_nobody_reads_any_more_stops_nothing() -> None:
    logged(
        by="""
reading_end, writing_end = os.pipe()
os.dup2(writing_end, 2)
os.close(reading_end)
told()
""",
        log_format="console",
    )


def test_error_is_logged_without_the_values_that_were_at_hand() -> None:
    text = logged(
        by="""
def crash(payload):
    raise RuntimeError("on purpose")
try:
    crash(payload="a secret of " + "somebody")
except RuntimeError:
    structlog.get_logger().exception("crashed")
""",
        log_format="console",
    )

    assert "RuntimeError: on purpose" in text
    assert "in crash" in text
    assert "a secret of somebody" not in text


def test_line_written_inside_a_span_names_it_and_others_do_not() -> None:
    text = logged(
        by="""
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext
told()
with trace.use_span(NonRecordingSpan(SpanContext(trace_id=0xa, span_id=0xb, is_remote=False))):
    told()
""",
        log_format="json",
    )

    outside, inside = (json.loads(line) for line in text.splitlines())
    assert "trace_id" not in outside
    assert (inside["trace_id"], inside["span_id"]) == (f"{0xA:032x}", f"{0xB:016x}")
