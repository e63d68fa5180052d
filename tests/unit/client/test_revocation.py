"""Many tasks to revoke, and what is read from the answers."""

import grpc
import pytest

from tailrace.client import InvalidRequestError
from tailrace.client._revocation import revoke_requests, states_in, status_in_many
from tailrace.v1 import task_pb2
from tailrace.v1.task_pb2 import ItemError, TaskResult
from tailrace.v1.task_service_pb2 import REVOKE_MODE_FORCE, RevokeResponse


def revoked(task_id: str) -> RevokeResponse.Item:
    return RevokeResponse.Item(task_id=task_id, task=TaskResult(task_id=task_id, state=task_pb2.TASK_STATE_REVOKED))


def refused(task_id: str, code: grpc.StatusCode, reason: str) -> RevokeResponse.Item:
    return RevokeResponse.Item(task_id=task_id, error=ItemError(code=code.value[0], reason=reason, message="as told"))


UNKNOWN = refused("b", grpc.StatusCode.NOT_FOUND, "TASK_NOT_FOUND")
UNANSWERED = refused("c", grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
MALFORMED = refused("d", grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")


def test_each_task_is_asked_for_once_in_calls_of_a_thousand() -> None:
    ids = [str(number) for number in range(1001)]

    first, second = revoke_requests([*ids, *ids], force=True, reason="enough")

    assert [*first.task_ids, *second.task_ids] == ids
    assert len(first.task_ids) == 1000
    assert {(each.mode, each.reason) for each in (first, second)} == {(REVOKE_MODE_FORCE, "enough")}


def test_no_tasks_are_no_calls() -> None:
    assert revoke_requests([], force=False, reason="") == []


def test_a_call_is_made_again_for_a_task_the_store_did_not_answer_for() -> None:
    status = status_in_many(RevokeResponse(items=[revoked("a"), MALFORMED, UNANSWERED]), count=3)

    assert status is not None
    assert status.reason == "STORE_UNAVAILABLE"


def test_a_call_that_told_all_there_is_to_tell_is_not_made_again() -> None:
    assert status_in_many(RevokeResponse(items=[revoked("a"), UNKNOWN, MALFORMED]), count=3) is None


def test_a_task_that_was_left_out_of_the_answer_is_not_taken_for_revoked() -> None:
    status = status_in_many(RevokeResponse(items=[revoked("a")]), count=2)

    assert status is not None
    assert status.code is grpc.StatusCode.UNKNOWN


def test_unknown_tasks_are_left_out_and_malformed_ids_raised() -> None:
    assert states_in([RevokeResponse(items=[revoked("a")]), RevokeResponse(items=[UNKNOWN, revoked("c")])]) == {
        "a": "REVOKED",
        "c": "REVOKED",
    }
    with pytest.raises(InvalidRequestError, match="as told") as caught:
        states_in([RevokeResponse(items=[revoked("a"), MALFORMED])])
    assert caught.value.task_id == "d"
