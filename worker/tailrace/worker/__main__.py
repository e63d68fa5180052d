"""Runs a worker from the command line: ``python -m tailrace.worker MODULE:NAME``."""

import argparse
import importlib
import logging
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from tailrace.client import TailraceError
from tailrace.worker._context import current_task
from tailrace.worker._hooks import hook_behind
from tailrace.worker._worker import Worker


class LoadError(Exception):
    """The worker named on the command line cannot be had; the message says what to do."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the worker that the arguments name, until a signal ends it.

    Returns:
        0 after draining, 1 when the server refused the worker or an on_start hook failed, 2 when there is no such
        worker. A second signal raises SystemExit(128 + its number) instead.
    """
    options = _parser().parse_args(argv)
    _log_to_stderr()
    try:
        worker = _load(options.worker)
        worker.run(options.address, queues=options.queue, concurrency=options.concurrency)
    except Exception as error:
        if hook := hook_behind(error):
            return _complain(f"{hook} failed: {type(error).__name__}: {error}", 1)
        if isinstance(error, LoadError | ValueError):
            return _complain(error, 2)
        if isinstance(error, TailraceError):
            return _complain(f"the server refuses this worker: {error}", 1)
        raise
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tailrace.worker", description="Run tasks for a Tailrace server.")
    parser.add_argument("worker", metavar="MODULE:NAME", help="where the Worker is, for example tasks:worker")
    parser.add_argument("--address", metavar="HOST:PORT", help="the server; TAILRACE_ADDRESS, then localhost:7440")
    parser.add_argument("--concurrency", metavar="N", type=int, help="tasks at a time")
    parser.add_argument("--queue", metavar="Q", action="append", help="a queue to draw from; may be given again")
    return parser


def _load(place: str) -> Worker:
    module_name, _, name = place.partition(":")
    if not module_name or not name:
        raise LoadError(f"{place!r} does not name a worker: write MODULE:NAME, for example tasks:worker")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    module = _import(module_name)
    worker = getattr(module, name, None)
    if worker is None:
        raise LoadError(f"module {module_name!r} has no {name!r}: write the name of its Worker after the colon")
    if not isinstance(worker, Worker):
        raise LoadError(f"{place} is a {type(worker).__name__}, not a Worker: name the object made by Worker(...)")
    return worker


def _import(name: str) -> object:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise LoadError(f"no module {name!r}: run this where it can be imported, or set PYTHONPATH") from error
        raise _broken(name, error) from error
    except Exception as error:
        raise _broken(name, error) from error


def _broken(name: str, error: Exception) -> LoadError:
    traceback.print_exception(error)
    return LoadError(f"importing {name!r} failed: {type(error).__name__}: {error}")


def _complain(problem: object, exit_code: int) -> int:
    sys.stderr.write(f"tailrace.worker: {problem}\n")
    return exit_code


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.addFilter(_name_task)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s%(task)s: %(message)s", handlers=[handler]
    )


def _name_task(record: logging.LogRecord) -> bool:
    try:
        record.task = f" [{current_task().id}]"
    except RuntimeError:
        record.task = ""
    return True


if __name__ == "__main__":
    sys.exit(main())
