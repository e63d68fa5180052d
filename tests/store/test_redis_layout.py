"""What is in Redis: one tag for a partition, records that stay small, nothing that stays behind or goes early."""

import hashlib
import random
from dataclasses import replace

from redis.crc import key_slot

from tailrace.server.domain.ids import partition_of
from tailrace.server.domain.retry import RetryPolicy
from tailrace.server.domain.task import Submission, TaskState
from tailrace.server.store.redis.keys import SLOTS
from tailrace.server.store.values import Beat, Release, Revocation
from tests.store.builders import LOST, STOP, a_failure, a_lease_request, a_submission, a_success
from tests.store.redis_harness import RedisHarness, open_redis

LONGEST_ID = "i" * 128
LONGEST_QUEUE = "q" * 64
EVERY_BYTE = bytes(range(256)) * 3
POLICY = RetryPolicy(
    max_attempts=1_000_000,
    initial_backoff_ms=2_592_000_000,
    max_backoff_ms=2_592_000_000,
    backoff_multiplier=1.0000000000000002,
    non_retryable_types=("a", "b" * 256),
)


def the_largest_submission() -> Submission:
    return Submission(
        task_id=LONGEST_ID,
        task_type="t" * 128,
        queue=LONGEST_QUEUE,
        priority=9,
        fingerprint=hashlib.md5(b"x", usedforsecurity=False).digest(),
        request=EVERY_BYTE,
        head_bytes=300,
        lease_ms=43_200_000,
        result_ttl_ms=2_592_000_000,
        retry_policy=POLICY,
        max_lost_leases=1000,
    )


async def live_through_everything(harness: RedisHarness, submission: Submission, *, partition: int = 0) -> None:
    """Take a task through every kind of step, up to its last attempt, which is under way."""
    store, task_id = harness.store, submission.task_id
    nonce = random.Random(1)

    async def lease() -> bytes:
        request = a_lease_request(submission.queue, first_nonce=nonce.randrange(1 << 60))
        return (await store.lease_tasks(partition, request)).deliveries[0].lease_token

    await store.submit_tasks(partition, [submission])
    for replica in ("replica-aaaaaaaaaaaa", "replica-bbbbbbbbbbbb", "replica-cccccccccccc"):
        other = await harness.another_store(replica)
        await other.register_waits(partition, [task_id])
    await store.release_leases(partition, [Release(task_id=task_id, lease_token=await lease())], LOST)
    token = await lease()
    await store.beat_leases(partition, [Beat(task_id=task_id, lease_token=token)])
    await store.store_results(partition, [a_failure(task_id, token, next_retry_delay_ms=5)])
    await harness.advance(5)
    await store.promote_due(partition, 10)
    await store.beat_leases(partition, [Beat(task_id=task_id, lease_token=await lease())])
    await store.revoke_tasks(partition, [Revocation(task_id=task_id, failure=EVERY_BYTE)])


async def test_the_longest_record_that_can_be_stays_a_listpack(redis_url: str) -> None:
    async with open_redis(redis_url) as harness:
        await live_through_everything(harness, the_largest_submission())
        key = f"{harness.prefix()}t:{LONGEST_ID}"

        fields = await harness.admin.hgetall(key)

        assert await harness.admin.object("encoding", key) == b"listpack"
        assert fields.keys() >= {b"w", b"q", b"k", b"ek", b"es", b"pa", b"pi", b"px", b"pm", b"pn", b"T", b"L", b"m"}
        assert max(len(value) for value in fields.values()) <= 64


async def test_what_has_its_default_is_not_stored(redis_url: str) -> None:
    async with open_redis(redis_url) as harness:
        await harness.store.submit_tasks(0, [a_submission(retry_policy=RetryPolicy(max_attempts=3))])

        fields = await harness.admin.hgetall(f"{harness.prefix()}t:task-1")

        assert sorted(fields) == [b"c", b"fp", b"h", b"p", b"pa", b"q", b"s", b"u", b"v"]


async def test_every_key_of_a_task_lives_in_the_slot_of_its_partition(redis_url: str) -> None:
    async with open_redis(redis_url, partitions=4) as harness:
        for partition in range(4):
            task_id = next(name for name in map(str, range(100)) if partition_of(name, 4) == partition)
            policy = RetryPolicy(max_attempts=9, non_retryable_types=("KeyError",))
            await live_through_everything(harness, a_submission(task_id, retry_policy=policy), partition=partition)
            await harness.store.reap_leases(partition, 10, LOST)

        keys = [key for key in await harness.keys() if not key.endswith(":meta")]

        for key in keys:
            owner = next(partition for partition in range(4) if key.startswith(harness.prefix(partition)))
            assert key_slot(key.encode()) * 4 // SLOTS == owner
        kinds = {key.split("}:")[1].split(":")[0] for key in keys}
        assert kinds == {"t", "s", "f", "n", "v", "qm", "lease", "ctl", "clock"}


async def test_only_what_is_done_may_vanish_by_itself_and_only_long_after_its_time(redis_url: str) -> None:
    async with open_redis(redis_url) as harness:
        store = harness.store
        submission = the_largest_submission()
        await live_through_everything(harness, submission)
        lasting = {key: await harness.admin.pttl(key) for key in await harness.keys()}
        await harness.advance(1)
        await store.submit_tasks(0, [a_submission("short", result_ttl_ms=1000)])
        token = (await store.lease_tasks(0, a_lease_request())).deliveries[0].lease_token
        await store.store_results(0, [a_success("short", token)])

        prefix = harness.prefix()
        ending = {kind: await harness.admin.pttl(f"{prefix}{kind}:short") for kind in "tsr"}

        assert set(lasting.values()) == {-1}
        assert all(3_500_000 < ttl_ms <= 3_601_000 for ttl_ms in ending.values())


async def test_an_expired_task_leaves_no_key_behind(redis_url: str) -> None:
    async with open_redis(redis_url) as harness:
        submission = the_largest_submission()
        await live_through_everything(harness, submission)
        before = await harness.keys()
        token = await harness.admin.hget(f"{harness.prefix()}t:{LONGEST_ID}", "k")
        assert isinstance(token, bytes)
        await harness.store.store_results(0, [a_failure(LONGEST_ID, token, is_non_retryable=True)])
        await harness.advance(submission.result_ttl_ms)

        tick = await harness.store.expire_done(0, 10)

        names = [key.removeprefix(harness.prefix()) for key in await harness.keys()]
        assert tick.count == 1
        assert len(before) > len(names)
        assert [name for name in names if not name.startswith("tr:")] == ["clock", f"qm:{LONGEST_QUEUE}"]


async def test_an_id_whose_record_is_over_is_taken_over_with_nothing_of_the_old_task(redis_url: str) -> None:
    async with open_redis(redis_url) as harness:
        store = harness.store
        await store.submit_tasks(
            0, [a_submission(retry_policy=RetryPolicy(max_attempts=1, non_retryable_types=("X",)))]
        )
        token = (await store.lease_tasks(0, a_lease_request())).deliveries[0].lease_token
        await store.store_results(0, [a_failure("task-1", token)])
        await harness.advance(a_submission().result_ttl_ms)

        submitted = (await store.submit_tasks(0, [a_submission(payload=b"new")]))[0]
        stale = await store.store_results(0, [a_failure("task-1", token)])
        tick = await store.expire_done(0, 10)

        assert submitted.is_created
        assert stale == [None]
        assert (tick.count, tick.next_due_ms) == (0, None)
        prefix = harness.prefix()
        ttls = {name: await harness.admin.pttl(f"{prefix}{name}:task-1") for name in "tsrfn"}
        assert ttls == {"t": -1, "s": -1, "r": -2, "f": -2, "n": -2}


async def test_bytes_of_every_value_come_back_as_they_were(redis_url: str) -> None:
    async with open_redis(redis_url) as harness:
        store = harness.store
        policy = RetryPolicy(max_attempts=2, initial_backoff_ms=0, non_retryable_types=("\0\r\n\u20ac",))
        await store.submit_tasks(0, [a_submission(payload=EVERY_BYTE, retry_policy=policy)])
        nonces = (b"\r\n\0\xff\r\n\0\xff", b"\0" * 8)
        (first,) = (await store.lease_tasks(0, replace(a_lease_request(), nonces=nonces[:1]))).deliveries
        await store.store_results(0, [a_failure("task-1", first.lease_token, failure=EVERY_BYTE)])
        (second,) = (await store.lease_tasks(0, replace(a_lease_request(), nonces=nonces[1:]))).deliveries
        await store.store_results(0, [a_success("task-1", second.lease_token, result=EVERY_BYTE)])

        snapshot = (await store.read_tasks(0, ["task-1"]))[0]

        assert first.request == a_submission(payload=EVERY_BYTE).request
        assert first.lease_token == b"\0\0\0\1" + nonces[0]
        assert second.last_failure == EVERY_BYTE
        assert snapshot is not None
        assert (snapshot.state, snapshot.result) == (TaskState.SUCCESS, EVERY_BYTE)


async def test_a_success_keeps_the_head_of_the_request_and_drops_the_input(redis_url: str) -> None:
    async with open_redis(redis_url) as harness:
        store = harness.store
        headless = replace(a_submission("headless"), head_bytes=0)
        await store.submit_tasks(0, [a_submission("whole"), headless, a_submission("failed")])
        deliveries = (await store.lease_tasks(0, a_lease_request(count=3))).deliveries
        tokens = [delivery.lease_token for delivery in deliveries]
        ends = [a_success("whole", tokens[0]), a_success("headless", tokens[1]), a_failure("failed", tokens[2])]
        await store.store_results(0, ends)

        names = [f"{harness.prefix()}s:{name}" for name in ("whole", "headless", "failed")]

        assert await harness.admin.mget(names) == [b"head:", b"", a_submission("failed").request]


async def test_the_counters_of_a_queue_say_how_many_tasks_stand_where(redis_url: str) -> None:
    async with open_redis(redis_url) as harness:
        store = harness.store

        async def counters() -> dict[bytes | str, bytes | str]:
            return await harness.admin.hgetall(f"{harness.prefix()}qm:default")

        waiting = [a_submission(f"ready-{number}", priority=number) for number in (0, 3, 9)]
        await store.submit_tasks(0, [*waiting, a_submission("delayed", start_delay_ms=10)])
        submitted = await counters()
        leased = (await store.lease_tasks(0, a_lease_request(count=2))).deliveries
        after_lease = await counters()
        await store.store_results(0, [a_success(leased[0].task_id, leased[0].lease_token)])
        await store.release_leases(
            0, [Release(task_id=leased[1].task_id, lease_token=leased[1].lease_token, delay_ms=10)], LOST
        )
        ended = await counters()

        assert submitted == {b"mask": b"521", b"ready": b"3", b"schedule": b"1"}
        assert after_lease == {b"mask": b"1", b"ready": b"1", b"schedule": b"1", b"lease": b"2"}
        assert ended == {b"mask": b"1", b"ready": b"1", b"schedule": b"2", b"lease": b"0"}


async def test_an_entry_that_its_record_contradicts_is_passed_over_and_removed(redis_url: str) -> None:
    """Whatever brought it about: the record is the truth, and lists and sorted sets are put right in passing."""
    async with open_redis(redis_url) as harness:
        store, admin, prefix = harness.store, harness.admin, harness.prefix()
        await store.submit_tasks(0, [a_submission("held"), a_submission("ready"), a_submission("last")])
        await store.lease_tasks(0, a_lease_request())
        await admin.lpush(f"{prefix}q:default:0", "held", "unknown", "ready")
        await admin.zadd(f"{prefix}lease", {"unknown": 1, "ready": 1})
        await admin.zadd(f"{prefix}sched", {"unknown": 1, "ready": 1})
        await admin.zadd(f"{prefix}done", {"unknown": 1, "ready": 1})

        leased = await store.lease_tasks(0, a_lease_request(count=5, first_nonce=2))
        reaped = await store.reap_leases(0, 10, LOST)
        promoted = await store.promote_due(0, 10)
        await store.expire_done(0, 10)

        assert [delivery.task_id for delivery in leased.deliveries] == ["ready", "last"]
        assert leased.is_drained
        assert (reaped.count, promoted.count) == (0, 0)
        assert await admin.exists(f"{prefix}q:default:0", f"{prefix}sched", f"{prefix}done") == 0
        assert sorted(await admin.zrange(f"{prefix}lease", 0, -1)) == [b"held", b"last", b"ready"]


async def test_what_a_revoked_task_leaves_in_its_list_is_counted_until_it_is_passed_over(redis_url: str) -> None:
    async with open_redis(redis_url) as harness:
        store, admin, prefix = harness.store, harness.admin, harness.prefix()
        await store.submit_tasks(0, [a_submission("a", priority=3), a_submission("b", priority=3)])

        await store.revoke_tasks(0, [Revocation(task_id="a", failure=STOP)])
        counters, left = await admin.hgetall(f"{prefix}qm:default"), await admin.hgetall(f"{prefix}left")
        await store.lease_tasks(0, a_lease_request())

        assert (counters, left) == ({b"mask": b"8", b"ready": b"1"}, {b"default:3 a": b"1"})
        assert await admin.exists(f"{prefix}left", f"{prefix}q:default:3") == 0
        assert await admin.hgetall(f"{prefix}qm:default") == {b"mask": b"0", b"ready": b"0", b"lease": b"1"}
