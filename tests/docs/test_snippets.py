"""What the docs tell their reader to type works."""

from pathlib import Path

import pytest

from tests.docs.snippets import ROOT, Reader, pages, snippets_of

RUNNABLE = [page for page in pages() if snippets_of(page)]


def test_readme_shows_python_and_shell() -> None:
    assert {"python", "sh"} == {snippet.language for snippet in snippets_of(ROOT / "README.md")}


@pytest.mark.parametrize("page", RUNNABLE, ids=[page.name for page in RUNNABLE])
def test_every_snippet_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    try:
        for snippet in snippets_of(page):
            reader.follow(snippet)
    finally:
        reader.leave()
