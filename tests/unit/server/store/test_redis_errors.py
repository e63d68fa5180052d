import pytest
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from tailrace.server.store.redis.errors import call_failed

REFUSALS = [
    (BusyLoadingError("Redis is loading the dataset in memory"), "is still loading its data"),
    (OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), "has reached its maxmemory"),
    (ResponseError("Error running script: -OOM command not allowed"), "has reached its maxmemory"),
    (ReadOnlyError("You can't write against a read only replica."), "is a read-only replica"),
    (ResponseError("BUSY Redis is busy running a script."), "is busy"),
    (ResponseError("MISCONF Redis is configured to save RDB snapshots"), "cannot save to its disk"),
    (ResponseError("NOREPLICAS Not enough good replicas to write."), "has too few replicas"),
    (AuthenticationError("invalid username-password pair"), "refuses the user name or password"),
    (NoPermissionError("this user has no permissions"), "does not permit"),
]


@pytest.mark.parametrize(("error", "what"), REFUSALS)
def test_a_refusal_was_certainly_not_executed(error: RedisError, what: str) -> None:
    failed = call_failed(error, was_sent=True)

    assert failed is not None
    assert what in str(failed)
    assert not failed.may_have_run


@pytest.mark.parametrize(
    "error", [RedisConnectionError("reset"), RedisTimeoutError("late"), OSError("gone"), TimeoutError()]
)
def test_a_call_that_broke_may_have_been_executed_once_it_was_sent(error: Exception) -> None:
    unsent, sent = call_failed(error, was_sent=False), call_failed(error, was_sent=True)

    assert unsent is not None
    assert sent is not None
    assert (unsent.may_have_run, sent.may_have_run) == (False, True)


@pytest.mark.parametrize(
    "text", ["WRONGTYPE Operation against a key", "ERR user_script:3: attempt to index a nil value"]
)
def test_an_error_of_our_own_making_is_not_taken_for_an_outage(text: str) -> None:
    assert call_failed(ResponseError(text), was_sent=True) is None


@pytest.mark.parametrize(
    ("error", "is_passing"),
    [
        (BusyLoadingError(), True),
        (RedisConnectionError(), True),
        (ResponseError("BUSY script"), True),
        (ReadOnlyError(), True),
        (OutOfMemoryError(), False),
        (AuthenticationError(), False),
        (ResponseError("MISCONF disk"), False),
    ],
)
def test_only_what_may_pass_by_itself_is_worth_waiting_for(error: Exception, *, is_passing: bool) -> None:
    failed = call_failed(error, was_sent=False)

    assert failed is not None
    assert failed.is_passing is is_passing


@pytest.mark.parametrize("error", [OutOfMemoryError(), ResponseError("Error running script: -OOM command not allowed")])
def test_only_a_want_of_memory_is_a_full_store(error: RedisError) -> None:
    full, busy = call_failed(error, was_sent=True), call_failed(ResponseError("BUSY script"), was_sent=True)

    assert full is not None
    assert busy is not None
    assert (full.is_full, busy.is_full) == (True, False)


def test_a_script_that_met_a_key_on_its_way_to_another_node_may_have_run() -> None:
    error = ResponseError("ERR Script attempted to access a non local key in a cluster node script: f_1")
    failed = call_failed(error, was_sent=True)

    assert failed is not None
    assert (failed.may_have_run, failed.is_passing) == (True, True)
