"""Credits: how many tasks, and how large ones, a worker holds at most. Never more, by tasks or by bytes."""

import random

import grpc
import pytest

from tailrace.v1 import worker_service_pb2 as pb
from tests.integration.api.flow_steps import KIB, flow, for_kib, submit_kib, work_off
from tests.integration.api.serving import MIB, Api, a_worker, seconds
from tests.integration.api.stream_steps import ids, nothing_more_is_drawn, until_state
from tests.integration.api.work_peer import WorkPeer


async def test_worker_gets_no_more_bytes_than_it_asked_for(api: Api) -> None:
    await submit_kib(api, a=1, b=1, c=1, d=1)
    peer = WorkPeer(api)
    await peer.hello(flow_control=for_kib(2))

    first = await peer.assigned(2)
    assert await peer.is_quiet()
    await peer.succeed(first[0].lease)
    second = await peer.assigned()
    assert await peer.is_quiet()

    assert ids(first + second) == ["a", "b", "c"]
    await peer.close()


async def test_both_limits_hold_at_once(api: Api) -> None:
    await submit_kib(api, a=1, b=1, c=3, d=1)
    peer = WorkPeer(api)
    await peer.hello(flow_control=for_kib(4, tasks=2))

    first = await peer.assigned(2)
    assert await peer.is_quiet()
    await peer.succeed(first[0].lease)
    second = await peer.assigned()
    await peer.succeed(first[1].lease)
    third = await peer.assigned()

    assert [ids(first), ids(second), ids(third)] == [["a", "b"], ["c"], ["d"]]
    await peer.close()


async def test_one_task_is_always_allowed_however_large(api: Api) -> None:
    await submit_kib(api, a=100, b=100)
    peer = WorkPeer(api)
    await peer.hello(flow_control=flow(10, 1))

    (first,) = await peer.assigned()
    assert await peer.is_quiet()
    await peer.succeed(first.lease)
    (second,) = await peer.assigned()

    assert ids([first, second]) == ["a", "b"]
    await peer.close()


async def test_large_task_is_not_overtaken_by_small_ones_behind_it(api: Api) -> None:
    await submit_kib(api, a=1, large=3, b=1)
    peer = WorkPeer(api)
    await peer.hello(flow_control=for_kib(3))

    (first,) = await peer.assigned()
    assert await peer.is_quiet()
    await peer.succeed(first.lease)

    assert ids([first, *await peer.assigned()]) == ["a", "large"]
    assert await peer.is_quiet()
    await peer.close()


async def test_large_task_for_which_one_worker_has_no_room_goes_to_another(api: Api) -> None:
    await submit_kib(api, a=1, large=3)
    limited, other = WorkPeer(api), WorkPeer(api)
    await limited.hello(flow_control=for_kib(2))
    assert ids(await limited.assigned()) == ["a"]

    await other.hello(flow_control=flow(1))

    assert ids(await other.assigned()) == ["large"]
    assert await limited.is_quiet()
    await limited.close()
    await other.close()


async def test_limit_in_bytes_may_change_come_and_go_any_time(api: Api) -> None:
    await submit_kib(api, **{f"task-{number}": 1 for number in range(6)})
    peer = WorkPeer(api)
    await peer.hello(flow_control=for_kib(1))
    got = await peer.assigned()

    await peer.say(flow_control=for_kib(3))
    got += await peer.assigned(2)
    await peer.say(flow_control=flow(4))
    got += await peer.assigned()
    await peer.say(flow_control=for_kib(4))
    await peer.succeed(got[0].lease)
    got += await peer.assigned()
    await peer.say(flow_control=for_kib(2))
    await peer.succeed(got[1].lease, got[2].lease)

    assert await peer.is_quiet()
    assert ids(got) == [f"task-{number}" for number in range(5)]
    await peer.close()


async def test_bytes_come_back_with_a_release(api: Api) -> None:
    await submit_kib(api, a=2, b=2)
    peer = WorkPeer(api)
    await peer.hello(flow_control=for_kib(2))
    (first,) = await peer.assigned()

    await peer.release(first.lease, delay=seconds(60))

    assert ids(await peer.assigned()) == ["b"]
    await peer.close()


async def test_peer_that_reads_nothing_swallows_its_bytes_once(api: Api) -> None:
    names = [f"task-{number}" for number in range(4)]
    await submit_kib(api, **dict.fromkeys(names, 1))
    deaf = WorkPeer(api)
    await deaf.hello(flow_control=for_kib(2))
    await until_state(api, "task-1", "PENDING/DISPATCHED")

    for _ in range(3):
        await api.pass_time(10_000)
        assert [await api.state(name) for name in names] == ["PENDING/QUEUED"] * 4

    deaf.break_off()


async def test_lease_brought_along_counts_as_a_task_and_not_in_bytes(api: Api) -> None:
    await submit_kib(api, a=1)
    first = WorkPeer(api)
    await first.hello(flow_control=for_kib(2))
    (held,) = await first.assigned()
    await first.start(held.lease)
    first.break_off()
    await submit_kib(api, b=2, c=1)

    second = WorkPeer(api)
    await second.hello(flow_control=for_kib(2, tasks=2), held=[held.lease])

    assert ids(await second.assigned()) == ["b"]
    assert await second.is_quiet()
    await second.close()


async def test_next_task_is_not_free_while_a_lease_brought_along_is_held(api: Api) -> None:
    await submit_kib(api, a=1)
    first = WorkPeer(api)
    await first.hello()
    (held,) = await first.assigned()
    await first.start(held.lease)
    first.break_off()
    await submit_kib(api, large=5)

    second = WorkPeer(api)
    await second.hello(flow_control=for_kib(2), held=[held.lease])

    assert await second.is_quiet()
    await second.succeed(held.lease)
    assert ids(await second.assigned()) == ["large"]
    await second.close()


@pytest.mark.parametrize("seed", range(3))
async def test_credits_are_never_exceeded_and_every_task_is_done(api: Api, seed: int) -> None:
    dice = random.Random(seed)
    sizes = {f"task-{number:02}": dice.choice([0, 1, 1, 2, 5, 9]) for number in range(40)}
    await submit_kib(api, **sizes)

    assert await work_off(api, sizes, dice) == sorted(sizes)


async def test_negative_limit_in_bytes_is_refused(lone_api: Api) -> None:
    at_first, later = WorkPeer(lone_api), WorkPeer(lone_api)

    await at_first.say(hello=pb.Hello(protocol_version=1, worker=a_worker(), flow_control=flow(1, -1)))
    await later.hello()
    await later.say(flow_control=flow(1, -1))

    refusals = [await at_first.refusal(), await later.refusal()]
    assert {refusal.outcome for refusal in refusals} == {(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")}
    assert [refusal.message.partition(":")[0] for refusal in refusals] == [
        "hello.flow_control.max_outstanding_bytes",
        "flow_control.max_outstanding_bytes",
    ]


async def test_lower_limit_holds_for_what_was_not_written_yet(lone_api: Api) -> None:
    names = [f"task-{number:02}" for number in range(30)]
    for name in names:
        await lone_api.submit(name, data=bytes(MIB - KIB))
    peer = WorkPeer(lone_api)
    await peer.hello(credit=len(names))
    await until_state(lone_api, names[0], "PENDING/DISPATCHED")
    await nothing_more_is_drawn(lone_api)

    await peer.say(flow_control=flow(0))
    await peer.say(beats=pb.LeaseBeats())
    got: list[str] = []
    while (frame := await peer.hear()) and frame.HasField("assignments"):
        got += ids(list(frame.assignments.assignments))

    # The answer to the beat shows that the new limit was read.
    assert frame is not None
    assert frame.HasField("lease_statuses")
    assert await peer.is_quiet()
    states = [await lone_api.state(name) for name in names]
    assert got == names[: len(got)]
    assert states == ["PENDING/DISPATCHED"] * len(got) + ["PENDING/QUEUED"] * (len(names) - len(got))
    await peer.say(flow_control=flow(len(got) + 1))
    assert ids(await peer.assigned()) == [names[len(got)]]
    await peer.close()
