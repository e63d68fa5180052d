"""A Work stream that breaks the protocol: ended with a clear status, its leases and the server unharmed."""

from typing import Any

import grpc
import pytest

from tailrace.server.domain import limits
from tailrace.v1 import task_pb2
from tailrace.v1 import worker_service_pb2 as pb
from tests.integration.api.serving import CALL_S, MIB, Api, a_success, a_worker, refused, seconds
from tests.integration.api.work_peer import WorkPeer
from tests.wait import eventually_async

INVALID_ARGUMENT = grpc.StatusCode.INVALID_ARGUMENT
INVALID = (INVALID_ARGUMENT, "INVALID_REQUEST")


async def test_stream_that_opens_with_nothing_is_refused(lone_api: Api) -> None:
    peer = WorkPeer(lone_api)
    await peer.close_without_a_word()

    refusal = await peer.refusal()

    assert refusal.outcome == INVALID
    assert refusal.message.startswith("hello: is required")
    await lone_api.check_unharmed()


async def test_stream_that_stays_silent_is_refused(lone_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HELLO_S", 0.05)
    peer = WorkPeer(lone_api)

    refusal = await peer.refusal()

    assert refusal.outcome == INVALID
    assert refusal.message.startswith("hello: is required")


FLOW = pb.FlowControl(max_outstanding_tasks=1)


LEASE = pb.LeaseRef(task_id="unknown", lease_token=b"token")


@pytest.mark.parametrize(
    ("frame", "field"),
    [
        pytest.param(pb.WorkRequest(), "hello", id="nothing"),
        pytest.param(pb.WorkRequest(flow_control=FLOW), "hello", id="flow control"),
        pytest.param(pb.WorkRequest(beats=pb.LeaseBeats()), "hello", id="beats"),
        pytest.param(pb.WorkRequest(results=pb.AttemptResults(results=[a_success(LEASE)])), "hello", id="results"),
        pytest.param(pb.WorkRequest(drain=pb.Drain()), "hello", id="drain"),
        pytest.param(
            pb.WorkRequest(hello=pb.Hello(protocol_version=1, flow_control=FLOW)), "hello.worker.queues", id="nobody"
        ),
        pytest.param(
            pb.WorkRequest(hello=pb.Hello(protocol_version=1, worker=a_worker("{}"), flow_control=FLOW)),
            "hello.worker.queues[0]",
            id="hostile queue",
        ),
        pytest.param(
            pb.WorkRequest(hello=pb.Hello(protocol_version=1, worker=a_worker())),
            "hello.flow_control",
            id="no flow control",
        ),
        pytest.param(
            pb.WorkRequest(
                hello=pb.Hello(
                    protocol_version=1, worker=a_worker(), flow_control=pb.FlowControl(max_outstanding_tasks=-1)
                )
            ),
            "hello.flow_control.max_outstanding_tasks",
            id="negative credit",
        ),
        pytest.param(
            pb.WorkRequest(
                hello=pb.Hello(
                    protocol_version=1, worker=a_worker(), flow_control=pb.FlowControl(max_outstanding_tasks=10_001)
                )
            ),
            "hello.flow_control.max_outstanding_tasks",
            id="too much credit",
        ),
    ],
)
async def test_stream_that_opens_with_the_wrong_frame_is_refused_by_field(
    lone_api: Api, frame: pb.WorkRequest, field: str
) -> None:
    await lone_api.submit()
    peer = WorkPeer(lone_api)
    await peer.say(**{kind.name: value for kind, value in frame.ListFields()})

    refusal = await peer.refusal()

    assert refusal.outcome == INVALID
    assert refusal.message.startswith(f"{field}: ")
    assert await lone_api.state() == "PENDING/QUEUED"


async def test_hello_with_too_much_of_something_is_refused(lone_api: Api) -> None:
    many_queues, many_leases = WorkPeer(lone_api), WorkPeer(lone_api)
    await many_queues.say(hello=pb.Hello(protocol_version=1, worker=a_worker(*["q"] * 65), flow_control=FLOW))
    await many_leases.say(
        hello=pb.Hello(protocol_version=1, worker=a_worker(), flow_control=FLOW, held_leases=[LEASE] * 10_001)
    )

    refusals = [await many_queues.refusal(), await many_leases.refusal()]

    assert [refusal.outcome for refusal in refusals] == [(INVALID_ARGUMENT, "LIMIT_EXCEEDED")] * 2


async def test_ten_thousand_held_leases_of_any_form_are_answered_within_a_message(lone_api: Api) -> None:
    peer = WorkPeer(lone_api)

    welcome = await peer.hello(held=[pb.LeaseRef(task_id="\N{SNOWMAN}" * 300, lease_token=b"t" * 300)] * 10_000)

    assert len(welcome.leases) == 10_000
    assert not any(status.held for status in welcome.leases)
    await peer.close()


@pytest.mark.parametrize("version", [0, 2, -1])
async def test_protocol_of_another_time_is_refused_with_those_that_are_spoken(lone_api: Api, version: int) -> None:
    peer = WorkPeer(lone_api)
    await peer.say(hello=pb.Hello(protocol_version=version, worker=a_worker(), flow_control=FLOW))

    refusal = await peer.refusal()

    assert refusal.outcome == (grpc.StatusCode.FAILED_PRECONDITION, "PROTOCOL_UNSUPPORTED")
    assert "only 1 to 1" in refusal.message


TOO_MANY = 1_001


@pytest.mark.parametrize(
    ("frame", "expected", "field"),
    [
        pytest.param(
            {"hello": pb.Hello(protocol_version=1, worker=a_worker(), flow_control=FLOW)},
            "INVALID_REQUEST",
            "hello",
            id="second hello",
        ),
        pytest.param(
            {"flow_control": pb.FlowControl(max_outstanding_tasks=10_001)},
            "INVALID_REQUEST",
            "flow_control.max_outstanding_tasks",
            id="too much credit",
        ),
        pytest.param(
            {"beats": pb.LeaseBeats(beats=[pb.LeaseBeat(lease=LEASE)] * TOO_MANY)},
            "LIMIT_EXCEEDED",
            "beats.beats",
            id="too many beats",
        ),
        pytest.param(
            {"results": pb.AttemptResults(results=[a_success(LEASE)] * TOO_MANY)},
            "LIMIT_EXCEEDED",
            "results.results",
            id="too many results",
        ),
        pytest.param(
            {"releases": pb.LeaseReleases(leases=[LEASE] * TOO_MANY)},
            "LIMIT_EXCEEDED",
            "releases.leases",
            id="too many releases",
        ),
        pytest.param(
            {"releases": pb.LeaseReleases(leases=[LEASE], delay=seconds(3_601))},
            "INVALID_REQUEST",
            "releases.delay",
            id="too long a rest",
        ),
    ],
)
async def test_frame_that_breaks_the_protocol_ends_the_stream_by_field(
    api: Api, frame: dict[str, Any], expected: str, field: str
) -> None:
    await api.submit()
    peer = WorkPeer(api)
    await peer.hello(credit=1)
    (assignment,) = await peer.assigned()
    await peer.start(assignment.lease)

    await peer.say(**frame)
    refusal = await peer.refusal()

    assert refusal.outcome == (INVALID_ARGUMENT, expected)
    assert refusal.message.startswith(f"{field}: ")
    assert await api.state() == "STARTED"
    await eventually_async(lambda: api.server.dispatcher.consumer_count == 0, "the stream is over")
    assert (await api.store(a_success(assignment.lease))).state == task_pb2.TASK_STATE_SUCCESS


async def test_garbage_in_the_midst_of_a_stream_ends_it_and_nothing_else(lone_api: Api) -> None:
    hello = pb.WorkRequest(hello=pb.Hello(protocol_version=1, worker=a_worker(), flow_control=FLOW))
    call: Any = lone_api.channel.stream_stream("/tailrace.v1.WorkerService/Work")(timeout=CALL_S)
    await call.write(hello.SerializeToString())
    assert pb.WorkResponse.FromString(await call.read()).HasField("welcome")

    await call.write(b"\xff" * 64)
    refusal = await refused(call.read())

    assert refusal.outcome == INVALID
    await lone_api.check_unharmed()


async def test_result_over_the_limit_is_a_failure_and_its_worker_goes_on(api: Api) -> None:
    await api.submit("large")
    await api.submit("small")
    peer = WorkPeer(api)
    await peer.hello(credit=2)
    large, small = [assignment.lease for assignment in await peer.assigned(2)]
    await peer.start(large, small)

    acks = await peer.finish(a_success(large, b"x" * (MIB + 1)), a_success(small))

    assert [(ack.state, ack.HasField("error")) for ack in acks] == [
        (task_pb2.TASK_STATE_FAILURE, False),
        (task_pb2.TASK_STATE_SUCCESS, False),
    ]
    failure = (await api.result("large")).failure
    assert (failure.kind, failure.type) == (task_pb2.FAILURE_KIND_SYSTEM, "ResultTooLarge")
    assert str(MIB) in failure.message
    await peer.close()


async def test_what_came_before_a_malformed_frame_counts(api: Api) -> None:
    await api.submit_many("stored", "released")
    leases = [assignment.lease for assignment in await api.lease_many(2, start=True)]
    peer = WorkPeer(api)
    # The store is asked about the leases brought along while the other frames gather behind the hello.
    await peer.say(hello=pb.Hello(protocol_version=1, worker=a_worker(), flow_control=FLOW, held_leases=leases))
    await peer.say(results=pb.AttemptResults(results=[a_success(leases[0])]))
    await peer.say(releases=pb.LeaseReleases(leases=[leases[1]], delay=seconds(60)))
    await peer.say(flow_control=pb.FlowControl(max_outstanding_tasks=-1))
    await peer.say(results=pb.AttemptResults(results=[a_success(leases[1])]))

    refusal = await peer.refusal()

    assert refusal.outcome == INVALID
    assert (await api.state("stored"), await api.state("released")) == ("SUCCESS", "PENDING/DELAYED")
