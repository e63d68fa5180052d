"""What lies in examples/ runs. The Go programs have tests of their own."""

import subprocess
import sys

import pytest

from tests.docs.snippets import ROOT


@pytest.mark.slow
def test_the_demo_comes_out_as_expected() -> None:
    demo = subprocess.run(
        [sys.executable, "-m", "examples.demo"], cwd=ROOT, capture_output=True, text=True, timeout=110, check=False
    )

    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert "ZeroDivisionError: division by zero" in demo.stdout
