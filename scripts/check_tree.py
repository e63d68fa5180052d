"""Checks the rules of the house that no linter knows; prints what breaks them and ends with 1."""

import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LONGEST_MODULE_LINES = 400
LONGEST_TEST_MODULE_LINES = 600  # a list of behaviours is read one at a time
LONGEST_MEDIAN_MODULE_LINES = 200
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
MAKE_TARGET = re.compile(r"\bmake ([a-z][a-z-]+)")


def main() -> int:
    """Run all checks."""
    files = _files()
    problems = [
        *_namespace_problems(files),
        *_size_problems(files),
        *_median_problems(files),
        *_link_problems(files),
        *_path_problems(files),
        *_make_target_problems(files),
    ]
    for problem in problems:
        print(problem)
    return 1 if problems else 0


def _files() -> list[Path]:
    """List what belongs to the project: tracked files, and new ones that git does not ignore."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout.splitlines()
    return [Path(name) for name in listed if (ROOT / name).is_file()]


def _namespace_problems(files: list[Path]) -> Iterator[str]:
    # One such file hides the other portions of `tailrace` at run time, while mypy still reports success.
    for file in files:
        if file.parent.name == "tailrace" and file.name == "__init__.py":
            yield f"{file}: `tailrace` is a namespace package and must not have an __init__.py"


def _size_problems(files: list[Path]) -> Iterator[str]:
    for file in files:
        if file.suffix == ".py" and not file.is_relative_to("proto/gen"):
            ceiling = LONGEST_TEST_MODULE_LINES if file.is_relative_to("tests") else LONGEST_MODULE_LINES
            lines = len((ROOT / file).read_text(encoding="utf-8").splitlines())
            if lines > ceiling:
                yield f"{file}: {lines} lines, where {ceiling} is the ceiling"


def _median_problems(files: list[Path]) -> Iterator[str]:
    """Half the modules must be small: ceilings alone would let all of them grow up to there."""
    folders = ("client", "server", "worker")
    sizes = {
        file: len((ROOT / file).read_text(encoding="utf-8").splitlines())
        for file in files
        if file.suffix == ".py" and file.parts[0] in folders
    }
    for folder in folders:
        median = statistics.median(size for file, size in sizes.items() if file.parts[0] == folder)
        if median >= LONGEST_MEDIAN_MODULE_LINES:
            yield f"{folder}: the median module has {median:g} lines; keep it under {LONGEST_MEDIAN_MODULE_LINES}"


def _link_problems(files: list[Path]) -> Iterator[str]:
    for page in _pages(files):
        prose = FENCED.sub("", (ROOT / page).read_text(encoding="utf-8"))
        for target in LINK.findall(prose):
            path = target.partition("#")[0]
            if path and "://" not in path and not (ROOT / page.parent / path).exists():
                yield f"{page}: links to {target}, which is not there"


def _path_problems(files: list[Path]) -> Iterator[str]:
    folders = "|".join(sorted({file.parts[0] for file in files if len(file.parts) > 1}))
    path = re.compile(rf"`((?:{folders})/[\w./-]*)`")
    for page in _pages(files):
        for named in path.findall((ROOT / page).read_text(encoding="utf-8")):
            if not (ROOT / named).exists():
                yield f"{page}: names {named}, which is not there"


def _make_target_problems(files: list[Path]) -> Iterator[str]:
    targets = set(re.findall(r"^([a-z][a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in _pages(files):
        for code in re.findall(r"```.*?```|`[^`\n]+`", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL):
            for target in MAKE_TARGET.findall(code):
                if target not in targets:
                    yield f"{page}: names `make {target}`, which the Makefile does not have"


def _pages(files: list[Path]) -> list[Path]:
    return [file for file in files if file.suffix == ".md"]


if __name__ == "__main__":
    sys.exit(main())
