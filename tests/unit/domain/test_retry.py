"""How often, and after how long, a failed attempt is tried again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.server.domain.retry import JITTER_STEPS, NO_RETRY, RetryPolicy

MONTH_MS = 30 * 86_400_000

policies = st.builds(
    RetryPolicy,
    max_attempts=st.integers(1, 1_000_000),
    initial_backoff_ms=st.integers(0, MONTH_MS),
    max_backoff_ms=st.integers(0, MONTH_MS),
    backoff_multiplier=st.floats(1.0, 1_000.0),
)
failures = st.integers(1, 200)
jitters = st.integers(0, JITTER_STEPS)


@given(policies, failures, jitters)
def test_the_backoff_lies_between_half_its_base_and_its_cap(policy: RetryPolicy, failed: int, jitter: int) -> None:
    backoff_ms = policy.backoff_ms(failed_attempts=failed, jitter=jitter)

    smallest = min(policy.initial_backoff_ms, policy.max_backoff_ms) // 2
    assert smallest <= backoff_ms <= policy.max_backoff_ms


@given(policies, failures, jitters)
def test_the_backoff_never_shrinks_from_one_failure_to_the_next(policy: RetryPolicy, failed: int, jitter: int) -> None:
    first = policy.backoff_ms(failed_attempts=failed, jitter=jitter)

    assert policy.backoff_ms(failed_attempts=failed + 1, jitter=jitter) >= first


@given(policies, failures, jitters)
def test_more_jitter_is_never_a_shorter_backoff_and_all_of_it_is_twice_none(
    policy: RetryPolicy, failed: int, jitter: int
) -> None:
    least = policy.backoff_ms(failed_attempts=failed, jitter=0)
    some = policy.backoff_ms(failed_attempts=failed, jitter=jitter)
    most = policy.backoff_ms(failed_attempts=failed, jitter=JITTER_STEPS)

    assert least <= some <= most
    assert most - 2 * least in {0, 1}


@given(policies)
def test_the_first_backoff_is_the_initial_one(policy: RetryPolicy) -> None:
    backoff_ms = policy.backoff_ms(failed_attempts=1, jitter=JITTER_STEPS)

    assert backoff_ms == min(policy.initial_backoff_ms, policy.max_backoff_ms)


@pytest.mark.parametrize(("failed", "backoff_ms"), [(1, 1_000), (2, 2_000), (3, 4_000), (9, 256_000), (10, 300_000)])
def test_without_numbers_of_its_own_a_policy_doubles_from_a_second_to_five_minutes(
    failed: int, backoff_ms: int
) -> None:
    assert RetryPolicy(max_attempts=99).backoff_ms(failed_attempts=failed, jitter=JITTER_STEPS) == backoff_ms


def test_a_backoff_of_nothing_stays_nothing_however_often_it_is_multiplied() -> None:
    policy = RetryPolicy(max_attempts=1_000_000, initial_backoff_ms=0)

    assert policy.backoff_ms(failed_attempts=1_000_000, jitter=JITTER_STEPS) == 0


@given(st.integers(1, 100), st.integers(1, 100))
def test_attempts_may_fail_as_often_as_the_policy_says(max_attempts: int, failed: int) -> None:
    policy = RetryPolicy(max_attempts=max_attempts)

    assert policy.allows_retry(failed_attempts=failed, failure_type="ValueError") == (failed < max_attempts)


def test_types_that_are_not_retryable_are_matched_whole() -> None:
    policy = RetryPolicy(max_attempts=5, non_retryable_types=("ValueError", "a.b.C"))

    def allows(failure_type: str) -> bool:
        return policy.allows_retry(failed_attempts=1, failure_type=failure_type)

    assert not allows("ValueError")
    assert not allows("a.b.C")
    assert all(allows(other) for other in ("Value", "valueerror", "a.b", "a.b.C.D", ""))


def test_no_policy_is_one_attempt() -> None:
    assert not NO_RETRY.allows_retry(failed_attempts=1, failure_type="ValueError")
