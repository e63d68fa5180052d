"""What the docs tell their reader to type works."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.docs.snippets import PRINTED_REDIS, ROOT, Reader, pages, snippets_of
from tests.redis_server import redis_server

RUNNABLE = [page for page in pages() if snippets_of(page)]


def test_readme_shows_python_and_shell() -> None:
    assert {"python", "sh"} == {snippet.language for snippet in snippets_of(ROOT / "README.md")}


@pytest.mark.timeout(300)  # a page starts a dozen programs, and each block has a limit of its own
@pytest.mark.parametrize("page", RUNNABLE, ids=[page.name for page in RUNNABLE])
def test_every_snippet_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    with reader_of(page, tmp_path) as reader:
        for snippet in snippets_of(page):
            reader.follow(snippet)


@contextmanager
def reader_of(page: Path, directory: Path) -> Iterator[Reader]:
    """Give the page a reader, with a Redis where the page takes one for granted."""
    with ExitStack() as stack:
        needs_redis = PRINTED_REDIS in page.read_text(encoding="utf-8")
        reader = Reader(directory, stack.enter_context(redis_server()).url if needs_redis else PRINTED_REDIS)
        stack.callback(reader.leave)
        yield reader
