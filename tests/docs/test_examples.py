"""What lies in examples/ runs. The Go programs have tests of their own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from examples.web.tasks import worker
from tailrace.testing import run_server
from tests.docs.snippets import ROOT

WITHIN_S = 60


@pytest.mark.slow
def test_the_demo_comes_out_as_expected() -> None:
    demo = subprocess.run(
        [sys.executable, "-m", "examples.demo"], cwd=ROOT, capture_output=True, text=True, timeout=110, check=False
    )

    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert "ZeroDivisionError: division by zero" in demo.stdout


@pytest.fixture
def web() -> Iterator[str]:
    """The web server's URL; a worker runs its tasks."""
    with run_server() as server, worker.running(server.address):
        command = [sys.executable, "-m", "examples.web", "0"]
        environ = {**os.environ, "TAILRACE_ADDRESS": server.address}
        with subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
            process.terminate()
            assert process.wait(WITHIN_S) == -signal.SIGTERM


def ask(url: str, body: bytes | None = None) -> Any:
    with urlopen(url, data=body, timeout=WITHIN_S) as answer:
        return json.load(answer)


def test_the_web_example_answers_at_once_and_has_the_result_later(web: str) -> None:
    accepted = ask(f"{web}/counts", b"to be\nor not to be")

    assert ask(f"{web}/counts/{accepted['id']}?wait=20") == {
        "state": "SUCCESS",
        "line": None,
        "counts": {"to": 2, "be": 2, "or": 1, "not": 1},
        "error": None,
    }
    for path in ("/counts/unknown", "/counts/unknown?wait=x", "/favicon.ico"):
        with pytest.raises(HTTPError, match="404"):
            ask(web + path)
