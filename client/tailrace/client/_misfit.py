"""MisfitError: the part of a value that cannot be written or read, and the way to it."""


class MisfitError(Exception):
    """Raised where the misfit is; whoever holds that part adds the step to it on the way out.

    So a value that fits pays nothing for paths.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem
        """What is wrong, to be read behind the path: "must be an int, not text"."""
        self._steps: list[str] = []

    def step(self, step: str) -> None:
        """Add one step, seen from the holder of what was named so far."""
        self._steps.append(step)

    def path(self, root: str) -> str:
        """Return the way from a root to the misfit."""
        return (root + "".join(reversed(self._steps))).removeprefix(".")

    def text(self, root: str) -> str:
        """Return the whole sentence."""
        return f"{self.path(root)} {self.problem}"


def member(name: object) -> str:
    """Return the step to a member."""
    return f".{name}" if isinstance(name, str) and name.isidentifier() else f"[{name!r}]"


def item(index: int) -> str:
    """Return the step to an item."""
    return f"[{index}]"
