"""An exception as a Failure: data that every language can read."""

import sys
import traceback
from types import TracebackType
from typing import TypeAlias

from tailrace.client._retry_policy import type_name
from tailrace.v1 import task_pb2

Kind: TypeAlias = task_pb2.FailureKind.ValueType

SOURCE = f"python/{sys.version_info.major}.{sys.version_info.minor}"

_MAX_TYPE_BYTES = 256
_MAX_MESSAGE_BYTES = 4 * 1024
_MAX_TRACEBACK_BYTES = 32 * 1024
_MAX_LEVELS = 8
_CUT = "\n... cut ...\n"
_OWN_PACKAGE = "tailrace.worker"


def failure_from(error: BaseException, *, non_retryable: bool = False) -> task_pb2.Failure:
    """Describe what a task raised.

    The traceback is Python's own text, causes included, from the task's function inwards; the causes beneath carry
    type and message only, as their lines are in that text already.
    """
    failure = _describe(error)
    failure.traceback = _cut_middle(_traceback_text(error), _MAX_TRACEBACK_BYTES)
    failure.non_retryable = non_retryable
    level, seen = failure, {id(error)}
    cause = _cause_of(error)
    for _ in range(_MAX_LEVELS):
        if cause is None or id(cause) in seen:
            break
        seen.add(id(cause))
        level.cause.CopyFrom(_describe(cause))
        level, cause = level.cause, _cause_of(cause)
    return failure


def failure_of(kind: Kind, type_: str, message: str, *, non_retryable: bool) -> task_pb2.Failure:
    """Describe a failure that no exception stands for."""
    return task_pb2.Failure(
        kind=kind,
        type=_cut_end(type_, _MAX_TYPE_BYTES),
        message=_cut_end(message, _MAX_MESSAGE_BYTES),
        source=SOURCE,
        non_retryable=non_retryable,
    )


def _describe(error: BaseException) -> task_pb2.Failure:
    kind = task_pb2.FAILURE_KIND_APPLICATION
    return failure_of(kind, type_name(type(error)), _text_of(error), non_retryable=False)


def _cause_of(error: BaseException) -> BaseException | None:
    if error.__cause__ is not None or error.__suppress_context__:
        return error.__cause__
    return error.__context__


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as in_str:  # noqa: BLE001 (the task's own __str__ may do anything)
        return f"<{type(error).__qualname__} whose __str__ raised {type(in_str).__qualname__}>"


def _traceback_text(error: BaseException) -> str:
    try:
        lines = traceback.TracebackException(type(error), error, _without_own_frames(error.__traceback__)).format()
        return "".join(lines)
    except BaseException as in_format:  # noqa: BLE001 (it calls the task's own __str__ and source loaders)
        return f"<the traceback could not be written: {type(in_format).__qualname__}>"


def _without_own_frames(trace: TracebackType | None) -> TracebackType | None:
    """Drop this package's frames above the task's function. What has none of the task's lines stays whole."""
    inner = trace
    while inner is not None:
        module = inner.tb_frame.f_globals.get("__name__", "")
        if module != _OWN_PACKAGE and not module.startswith(f"{_OWN_PACKAGE}."):
            return inner
        inner = inner.tb_next
    return trace


def _cut_end(text: str, max_bytes: int) -> str:
    data = _utf8(text)
    return data.decode() if len(data) <= max_bytes else data[:max_bytes].decode(errors="ignore")


def _cut_middle(text: str, max_bytes: int) -> str:
    data = _utf8(text)
    if len(data) <= max_bytes:
        return data.decode()
    kept = (max_bytes - len(_CUT)) // 2
    return data[:kept].decode(errors="ignore") + _CUT + data[-kept:].decode(errors="ignore")


def _utf8(text: str) -> bytes:
    return text.encode(errors="backslashreplace")  # lone surrogates are text to Python, not to the wire
