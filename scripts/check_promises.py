"""Checks that each transition and each MUST in the docs names a test that shows it; prints what does not, ends with 1.

A row of `docs/state_machine.md`, "Transitions", names tests that run against every store. `docs/protocol.md` has, under
"What MUST hold", one row for each MUST of its prose and of the contract's comments: a row begins with the very words.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TEST_NAME = re.compile(r"`(test_\w+)`")
DEFINITION = re.compile(r"^\s*(?:async )?def (test_\w+)", re.MULTILINE)
MUST = re.compile(r"\bMUST\b")
OF_ONE_STORE = ("test_redis_", "test_sqlite_", "test_cluster_")


def main() -> int:
    """Run all checks."""
    problems = [*_transition_problems(), *_must_problems()]
    for problem in problems:
        print(problem)
    return 1 if problems else 0


def _transition_problems() -> Iterator[str]:
    shown = _tests_in(
        file for file in (ROOT / "tests/store").glob("test_*.py") if not file.name.startswith(OF_ONE_STORE)
    )
    rows = list(_rows("docs/state_machine.md", "## Transitions"))
    if not rows:
        yield "docs/state_machine.md: no table of transitions"
    for row in rows:
        yield from _test_problems("docs/state_machine.md", row, shown)


def _must_problems() -> Iterator[str]:
    page = "docs/protocol.md"
    prose = _one_line((ROOT / page).read_text(encoding="utf-8").partition("## What MUST hold")[0])
    comments = _one_line(
        " ".join(
            line.partition("//")[2]
            for proto in sorted((ROOT / "proto/tailrace/v1").glob("*.proto"))
            for line in proto.read_text(encoding="utf-8").splitlines()
        )
    )
    covered = {"prose": [False] * len(prose), "comments": [False] * len(comments)}
    for row in _rows(page, "## What MUST hold"):
        yield from _test_problems(page, row, _tests_in((ROOT / "tests").rglob("test_*.py")))
        words = _one_line(row[0].strip("“” "))
        for where, text in (("prose", prose), ("comments", comments)):
            if (at := text.find(words)) >= 0:
                covered[where][at : at + len(words)] = [True] * len(words)
                break
        else:
            yield f"{page}: nothing says “{words}”"
    for where, text in (("prose", prose), ("comments", comments)):
        for must in MUST.finditer(text):
            if not covered[where][must.start()] and "RFC 2119" not in text[must.start() : must.start() + 120]:
                yield f"{page}: no row for “{text[max(0, must.start() - 40) : must.end() + 40]}” ({where})"


def _rows(page: str, heading: str) -> Iterator[list[str]]:
    """Yield the cells of each row of the first table under a heading, its head left out."""
    section = (ROOT / page).read_text(encoding="utf-8").partition(heading + "\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    for line in lines[2:]:
        yield [cell.strip() for cell in line.strip("|").split("|")]


def _test_problems(page: str, row: list[str], shown: set[str]) -> Iterator[str]:
    names = TEST_NAME.findall(row[-1])
    if not names:
        yield f"{page}: no test is named for “{' | '.join(row[:3])}”"
    for name in names:
        if name not in shown:
            yield f"{page}: {name} is not among the tests that can show “{row[0]}”"


def _tests_in(files: Iterator[Path] | list[Path]) -> set[str]:
    return {name for file in files for name in DEFINITION.findall(file.read_text(encoding="utf-8"))}


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text.replace("*", ""))


if __name__ == "__main__":
    sys.exit(main())
