"""What type checkers say of programs that use the SDK."""

import json
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
RIGHT, WRONG = (f"tests/typing/{name}.py" for name in ("right", "wrong"))
PYRIGHT = ROOT / "tests/typing/node_modules/.bin/pyright"

needs_pyright = pytest.mark.skipif(
    not (PYRIGHT.exists() and shutil.which("node")), reason="pyright is not installed: `make types` installs it"
)


def marked() -> dict[int, set[str]]:
    """Return what the file of wrong usages says of itself, by line."""
    lines = (ROOT / WRONG).read_text(encoding="utf-8").splitlines()
    marks = {number: re.search(r"# wrong: ([\w, -]+)$", line) for number, line in enumerate(lines, 1)}
    return {number: set(mark[1].split(", ")) for number, mark in marks.items() if mark}


def mypy_errors(*files: str) -> dict[int, set[str]]:
    command = [sys.executable, "-m", "mypy", "--no-error-summary", *files]
    told = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert told.returncode in {0, 1}, told.stdout + told.stderr
    errors = defaultdict(set)
    for line, code in re.findall(r"^tests/typing/\w+\.py:(\d+): error: .*\[([\w-]+)\]$", told.stdout, re.MULTILINE):
        errors[int(line)].add(code)
    return errors


def pyright_errors(*files: str) -> set[int]:
    command = [str(PYRIGHT), "--outputjson", *files]
    told = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert told.returncode in {0, 1}, told.stdout + told.stderr
    report = json.loads(told.stdout)
    assert report["summary"]["filesAnalyzed"] == len(files)
    return {each["range"]["start"]["line"] + 1 for each in report["generalDiagnostics"] if each["severity"] == "error"}


def test_mypy_takes_right_usages_and_refuses_each_wrong_one() -> None:
    assert mypy_errors(RIGHT) == {}
    assert mypy_errors(WRONG) == marked()


@needs_pyright
def test_pyright_takes_right_usages() -> None:
    assert pyright_errors(RIGHT) == set()


@needs_pyright
def test_pyright_refuses_each_wrong_usage() -> None:
    assert pyright_errors(WRONG) == set(marked())
