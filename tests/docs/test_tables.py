"""What the docs list is what there is."""

import re
from pathlib import Path

from tailrace.server.api.status import INTERNAL, TABLE
from tailrace.server.domain.task import Place, TaskState
from tests.docs.snippets import ROOT


def test_protocol_lists_every_error_with_its_code() -> None:
    page = (ROOT / "docs/protocol.md").read_text(encoding="utf-8")

    listed = set(re.findall(r"^\| ([A-Z_]+) \| ([A-Z_]+) \|", page, re.MULTILINE))

    assert listed == {(code.name, reason) for code, reason in [*TABLE.values(), INTERNAL]}


def test_state_machine_has_a_way_into_every_state_and_a_row_for_every_place() -> None:
    page = (ROOT / "docs/state_machine.md").read_text(encoding="utf-8")

    transitions = re.findall(r"^\| [^|]+ \| ([^|]+) \| [^|]+ \| [^|]* \|", page, re.MULTILINE)
    reached = {word for target in transitions for word in re.findall(r"[A-Z]+", target)}
    assert {state.value for state in TaskState} - reached == set()
    assert [place.value for place in Place if f"| {place.value} |" not in page] == []


def test_guide_from_celery_names_every_scenario_that_there_is_in_both_shops() -> None:
    celery, tailrace = (functions_of(ROOT / f"examples/from_celery/{name}_calls.py") for name in ("celery", "tailrace"))

    assert celery == tailrace
    assert named_in_last_column("scenario") == celery - {"look_at", "state_of", "begun"}


def test_guide_from_celery_names_every_test_of_the_chapter() -> None:
    chapter = functions_of(ROOT / "tests/conformance/test_result_backend_chapter.py")

    assert named_in_last_column("test") == {name for name in chapter if name.startswith("test_")}


def functions_of(module: Path) -> set[str]:
    return set(re.findall(r"^def (\w+)", module.read_text(encoding="utf-8"), re.MULTILINE))


def named_in_last_column(heading: str) -> set[str]:
    """Collect what the guide's tables name under this heading, where that is their last column's."""
    page = (ROOT / "docs/coming_from_celery.md").read_text(encoding="utf-8")
    tables = [table for table in re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE) if f"| {heading} |\n" in table]
    cells = [row.removesuffix("|").rpartition("|")[2] for table in tables for row in table.splitlines()[2:]]
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
