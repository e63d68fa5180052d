"""What Redis can answer instead of doing what it was asked, told apart by what it means for the caller.

The one question that matters is whether the command may have been executed. It certainly was not where Redis refused it
or was never reached; it may have been where the connection broke or the time ran out.
"""

import re

from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

NO_ANSWER = "did not answer in time"
_REFUSALS: tuple[tuple[type[RedisError], str], ...] = (
    (BusyLoadingError, "is still loading its data"),
    (AuthenticationError, "refuses the user name or password"),
    (NoPermissionError, "does not permit this user what the store needs"),
    (OutOfMemoryError, "has reached its maxmemory and takes no writes"),
    (ReadOnlyError, "is a read-only replica"),
    (ClusterDownError, "says that its cluster is down"),
    (MasterDownError, "has lost its primary"),
)
# A replica may be about to become, or an address to lead to, the primary.
_PASSING = {BusyLoadingError, ClusterDownError, MasterDownError, ReadOnlyError}
_NON_LOCAL_KEY = "non local key"
"""In what Redis says when a script looks for a key that has moved to another node."""
# Codes without a class of their own in redis-py. Redis 6.2 wraps what a script ran into, as "ERR ... -OOM ...".
_REFUSAL_CODES = {
    "BUSY": "is busy with somebody's script",
    "MISCONF": "cannot save to its disk and takes no writes",
    "NOREPLICAS": "has too few replicas to take writes",
    "OOM": "has reached its maxmemory and takes no writes",
    "READONLY": "is a read-only replica",
}
_PASSING_CODES = {"BUSY", "READONLY"}
_CODE = re.compile(rf"(?:^|[ -])({'|'.join(_REFUSAL_CODES)})\b")


class CallFailedError(Exception):
    """A call of Redis brought no answer that can be used.

    The text goes on after "Redis", for people: callers of the server read it, so it says neither where Redis is nor
    who asked.
    """

    def __init__(self, message: str, *, may_have_run: bool, is_passing: bool = True, is_full: bool = False) -> None:
        super().__init__(message)
        self.may_have_run = may_have_run
        self.is_full = is_full
        """Whether there was no memory left for it."""
        self.is_passing = is_passing
        """Whether a moment later it may work by itself; False where somebody has to do something."""


def call_failed(error: Exception, *, was_sent: bool) -> CallFailedError | None:
    """Describe why a call failed; None for an error that says that the store itself is wrong, such as WRONGTYPE."""
    for kind, what in _REFUSALS:
        if isinstance(error, kind):
            is_full = kind is OutOfMemoryError
            return CallFailedError(what, may_have_run=False, is_passing=kind in _PASSING, is_full=is_full)
    if isinstance(error, ResponseError):
        return _response_failed(str(error))
    if isinstance(error, RedisTimeoutError | TimeoutError):
        return CallFailedError(NO_ANSWER, may_have_run=was_sent)
    if isinstance(error, RedisConnectionError | OSError):
        return CallFailedError("broke the connection" if was_sent else "cannot be reached", may_have_run=was_sent)
    return None


def _response_failed(text: str) -> CallFailedError | None:
    if _NON_LOCAL_KEY in text:
        return CallFailedError("is moving this partition to another node", may_have_run=True)
    code = _CODE.search(text)
    if code is None:
        return None
    is_passing, is_full = code[1] in _PASSING_CODES, code[1] == "OOM"
    return CallFailedError(_REFUSAL_CODES[code[1]], may_have_run=False, is_passing=is_passing, is_full=is_full)
