"""Which exceptions of a task are worth another attempt."""

from dataclasses import dataclass
from typing import Self, TypeAlias, cast

from tailrace.worker._retry_later import RetryLater

ErrorTypes: TypeAlias = type[BaseException] | tuple[type[BaseException], ...]
"""One exception class or several; subclasses are meant too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curable:
    """A task's own view of its exceptions. Whether and when another attempt follows is the retry policy's to say."""

    retry_on: tuple[type[BaseException], ...] | None = None
    """Nothing but these; None: everything."""
    dont_retry_on: tuple[type[BaseException], ...] = ()
    """Not these, whatever ``retry_on`` says."""

    @classmethod
    def of(cls, retry_on: ErrorTypes | None, dont_retry_on: ErrorTypes) -> Self:
        """Read what a task was declared with.

        Raises:
            TypeError: Something is not an exception class.
        """
        return cls(
            retry_on=None if retry_on is None else _classes("retry_on", retry_on),
            dont_retry_on=_classes("dont_retry_on", dont_retry_on),
        )

    def includes(self, error: BaseException) -> bool:
        """Tell whether another attempt may help."""
        if isinstance(error, RetryLater):
            return True
        if isinstance(error, self.dont_retry_on):
            return False
        return self.retry_on is None or isinstance(error, self.retry_on)


def _classes(name: str, types: object) -> tuple[type[BaseException], ...]:
    classes: list[type[BaseException]] = []
    entries = cast("tuple[object, ...]", types) if isinstance(types, tuple | list) else (types,)
    for entry in entries:
        if not (isinstance(entry, type) and issubclass(entry, BaseException)):
            raise TypeError(f"{name} takes exception classes, not {entry!r}")
        classes.append(entry)
    return tuple(classes)
