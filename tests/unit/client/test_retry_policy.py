"""RetryPolicy."""

from datetime import timedelta
from typing import Any

import pytest

from tailrace.client import RetryPolicy
from tailrace.v1 import task_pb2


class DeclinedError(Exception):
    pass


def test_a_policy_says_on_the_wire_what_it_was_given() -> None:
    policy = RetryPolicy(
        max_attempts=3,
        initial_backoff=timedelta(milliseconds=1500),
        max_backoff=timedelta(minutes=2),
        backoff_multiplier=3.0,
        non_retryable_types=(ValueError, "com.acme.PaymentDeclined", DeclinedError),
        max_lost_leases=1,
    )

    wire = policy.to_wire()

    assert (wire.max_attempts, wire.backoff_multiplier, wire.max_lost_leases) == (3, 3.0, 1)
    assert wire.initial_backoff.ToTimedelta() == timedelta(milliseconds=1500)
    assert wire.max_backoff.ToTimedelta() == timedelta(minutes=2)
    assert list(wire.non_retryable_types) == [
        "ValueError",
        "com.acme.PaymentDeclined",
        f"{__name__}.DeclinedError",
    ]


def test_what_is_left_out_is_left_to_the_server() -> None:
    assert RetryPolicy().to_wire() == task_pb2.RetryPolicy(max_attempts=1)


def test_no_backoff_is_not_the_default_backoff() -> None:
    assert RetryPolicy(initial_backoff=timedelta(0)).to_wire().HasField("initial_backoff")


def test_a_list_of_types_leaves_the_policy_hashable() -> None:
    listed = RetryPolicy(non_retryable_types=[ValueError])  # type: ignore[arg-type]

    assert hash(listed) == hash(RetryPolicy(non_retryable_types=(ValueError,)))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_attempts", 0),
        ("max_attempts", 1_000_001),
        ("max_lost_leases", 0),
        ("max_lost_leases", 1001),
        ("initial_backoff", timedelta(seconds=-1)),
        ("max_backoff", timedelta(days=31)),
        ("backoff_multiplier", 0.5),
        ("backoff_multiplier", float("nan")),
        ("backoff_multiplier", 1001),
        ("non_retryable_types", ("Error",) * 33),
    ],
)
def test_a_value_out_of_bounds_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=field):
        RetryPolicy(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("initial_backoff", 1.5),
        ("max_backoff", 60),
        ("non_retryable_types", "ValueError"),
        ("non_retryable_types", (ValueError("an instance"),)),
        ("non_retryable_types", (int,)),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(field: str, value: Any) -> None:
    with pytest.raises(TypeError):
        RetryPolicy(**{field: value})
