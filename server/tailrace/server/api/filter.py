r"""The filter of ListTasks: which tasks somebody wants to see.

::

    filter = term { "AND" term }
    term   = name "=" value
    name   = "state" | "queue" | "task_type" | "labels." key
    key    = one or more of A-Z a-z 0-9 _ . / : - or, for any other key, a value
    value  = '"' any text, with \" for a quote and \\ for a backslash '"'

Spaces, tabs and line breaks may stand between all of these. Names, states and ``AND`` are written as above, capitals
and all. An empty filter lets everything pass.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tailrace.server.api.violations import invalid
from tailrace.server.domain.errors import InvalidRequestError, LimitExceededError
from tailrace.server.domain.limits import MAX_FILTER_BYTES
from tailrace.server.domain.task import TaskState
from tailrace.v1 import task_pb2

_SPACE = re.compile(r"[ \t\r\n]*")
_WORD = re.compile(r"[A-Za-z_]+")
_LABELS = re.compile(r"labels\.")
_KEY = re.compile(r"[A-Za-z0-9_./:-]+")
_VALUE = re.compile(r'"((?:[^"\\]|\\["\\])*)"')
_ESCAPED = re.compile(r"\\(.)")
_FIELDS = ("state", "queue", "task_type")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFilter:
    """What a task has to be to pass; each pair is a name and the value that it must have."""

    states: tuple[str, ...] = ()
    fields: tuple[tuple[str, str], ...] = ()
    """Of the TaskSpec."""
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def needs_spec(self) -> bool:
        """Whether the state alone does not decide."""
        return bool(self.fields or self.labels)

    def passes_state(self, state: TaskState) -> bool:
        """Tell whether a task in this state may pass."""
        return all(wanted == state for wanted in self.states)

    def passes_spec(self, spec: task_pb2.TaskSpec) -> bool:
        """Tell whether a task that was submitted so may pass."""
        return all(getattr(spec, name) == value for name, value in self.fields) and all(
            key in spec.labels and spec.labels[key] == value for key, value in self.labels
        )


def parse_filter(text: str) -> TaskFilter:
    """Read a filter.

    Raises:
        InvalidRequestError: It is none; the text says where and why.
        LimitExceededError: It is too long.
    """
    size_bytes = len(text.encode())
    if size_bytes > MAX_FILTER_BYTES:
        raise LimitExceededError("filter", limit=MAX_FILTER_BYTES, actual=size_bytes)
    terms = list(_Reader(text).terms())
    return TaskFilter(
        states=tuple(value for name, value in terms if name == "state"),
        fields=tuple((name, value) for name, value in terms if name in {"queue", "task_type"}),
        labels=tuple((name.removeprefix("labels."), value) for name, value in terms if name.startswith("labels.")),
    )


class _Reader:
    """Goes through a filter once, from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def terms(self) -> Iterator[tuple[str, str]]:
        """Give each name with its value."""
        self._take(_SPACE)
        if self._is_at_end:
            return
        yield self._term()
        while not self._is_at_end:
            began_at = self._at
            if self._take(_WORD) != "AND":
                self._at = began_at
                raise self._error('expected AND (in capitals) before the next NAME = "VALUE"')
            self._take(_SPACE)
            yield self._term()

    def _term(self) -> tuple[str, str]:
        name = self._name()
        self._take(_SPACE)
        if not self._text.startswith("=", self._at):
            raise self._error(f"expected = after {name[:80]}")
        self._at += 1
        self._take(_SPACE)
        began_at = self._at
        value = self._value()
        if name == "state" and value not in set(TaskState):
            self._at = began_at
            raise self._error(f"state must be one of {', '.join(TaskState)}")
        self._take(_SPACE)
        return name, value

    def _name(self) -> str:
        if self._take(_LABELS) is not None:
            key = self._take(_KEY)
            return "labels." + (self._value() if key is None else key)
        began_at = self._at
        name = self._take(_WORD)
        if name not in _FIELDS:
            self._at = began_at
            raise self._error("expected state, queue, task_type or labels.KEY")
        return name

    def _value(self) -> str:
        match = _VALUE.match(self._text, self._at)
        if match is None:
            raise self._error('expected a "VALUE" in double quotes, in which only \\" and \\\\ are escapes')
        self._at = match.end()
        return _ESCAPED.sub(r"\1", match[1])

    @property
    def _is_at_end(self) -> bool:
        return self._at == len(self._text)

    def _take(self, pattern: re.Pattern[str]) -> str | None:
        match = pattern.match(self._text, self._at)
        if match is None:
            return None
        self._at = match.end()
        return match[0]

    def _error(self, expected: str) -> InvalidRequestError:
        return invalid("filter", f"at character {self._at + 1}: {expected}")
