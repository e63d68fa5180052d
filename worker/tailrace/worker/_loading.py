"""Finds the Worker that a command line names."""

import importlib
import sys
import traceback
from pathlib import Path

from tailrace.worker._worker import Worker


class LoadError(Exception):
    """The worker named on the command line cannot be had; the message says what to do."""


def load_worker(place: str) -> Worker:
    """Import MODULE:NAME, from the current directory first.

    Raises:
        LoadError: There is no Worker.
    """
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
