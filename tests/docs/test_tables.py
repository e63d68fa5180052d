"""What the docs list is what there is."""

import re

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
