"""A program that calls what it is told to: a line ``["name", argument, ...]`` in, a line with what came of it out.

Each shop's caller is a process of its own: neither library sees the other, nor how strict the tests are with warnings.
"""

import importlib
import json
import sys
from types import ModuleType

from examples.from_celery import outside


def main() -> None:
    """Serve the module that the command line names until the input ends."""
    calls = importlib.import_module(sys.argv[1])
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        sys.stdout.write(json.dumps(call(calls, name, arguments)) + "\n")
        sys.stdout.flush()


def call(calls: ModuleType, name: str, arguments: list[object]) -> object:
    function = getattr(calls, name, None) or getattr(outside, name)
    try:
        return {"seen": function(*arguments)}
    except Exception as error:  # noqa: BLE001 (whoever asked is told)
        return {"raised": repr(error)}


if __name__ == "__main__":
    main()
