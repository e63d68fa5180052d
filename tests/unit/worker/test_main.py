from pathlib import Path

import pytest

from tailrace.worker.__main__ import main


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some modules in the current directory, none of which has a worker that could run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "cli_empty.py").write_text("worker = None\nother = 'text'\n")
    (tmp_path / "cli_broken.py").write_text("import no_such_module_at_all\n")
    (tmp_path / "cli_wrong.py").write_text("1 / 0\n")
    (tmp_path / "cli_good.py").write_text("from tailrace.worker import Worker\nworker = Worker()\n")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["cli_empty"], "'cli_empty' does not name a worker: write MODULE:NAME, for example tasks:worker"),
        ([":worker"], "':worker' does not name a worker: write MODULE:NAME, for example tasks:worker"),
        (["no_such:worker"], "no module 'no_such': run this where it can be imported, or set PYTHONPATH"),
        (["no.such:worker"], "no module 'no.such': run this where it can be imported, or set PYTHONPATH"),
        (["cli_empty:missing"], "module 'cli_empty' has no 'missing': write the name of its Worker after the colon"),
        (["cli_empty:other"], "cli_empty:other is a str, not a Worker: name the object made by Worker(...)"),
        (["cli_broken:worker"], "importing 'cli_broken' failed: ModuleNotFoundError: No module named"),
        (["cli_wrong:worker"], "importing 'cli_wrong' failed: ZeroDivisionError: division by zero"),
        (["cli_good:worker", "--concurrency", "0"], "concurrency must be from 1 to 10000, not 0"),
        (["cli_good:worker", "--queue", "a b"], "'a b' is no queue"),
    ],
)
def test_what_cannot_be_run_exits_with_2_and_one_line_that_says_what_to_do(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2

    assert capsys.readouterr().err.splitlines()[-1].startswith(f"tailrace.worker: {told}")


@pytest.mark.parametrize("arguments", [[], ["tasks:worker", "--concurrency", "many"]])
def test_wrong_usage_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)

    assert left.value.code == 2
    assert "usage: python -m tailrace.worker" in capsys.readouterr().err


@pytest.mark.parametrize("error", ["ValueError", "OSError", "ServerUnavailableError"])
def test_start_that_fails_exits_with_1_and_names_the_function(
    error: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = f"cli_starting_{error.lower()}"
    text = f"""
from tailrace.client import ServerUnavailableError
from tailrace.worker import Worker

worker = Worker()

@worker.on_start
def open_database():
    raise {error}("no database")
"""
    (tmp_path / f"{module}.py").write_text(text)

    assert main([f"{module}:worker"]) == 1

    said = capsys.readouterr().err.splitlines()[-1]
    assert said == f"tailrace.worker: on_start hook open_database failed: {error}: no database"
