"""Where a function is found again, in another process of the same program."""

import sys
from dataclasses import dataclass
from importlib import import_module
from operator import attrgetter
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A module and a name in it."""

    module: str
    name: str

    @classmethod
    def of(cls, function: object) -> Self:
        """Tell where a function is.

        Raises:
            ValueError: It has no name that could be imported.
        """
        module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
        if not module or not name or "<" in name:
            raise ValueError(f"{function!r} is not at the top level of a module, where a child process could import it")
        return cls(module=module, name=name)

    def find(self) -> Any:
        """Import what is there.

        Raises:
            ImportError: There is no such module.
            AttributeError: There is nothing of that name in it.
        """
        module = sys.modules.get(self.module) or import_module(self.module)  # "__main__" is never to be imported
        return attrgetter(self.name)(module)
