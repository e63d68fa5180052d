"""What is in Redis: one tag for a partition, records that stay small, nothing that stays behind or goes early."""

import hashlib
import random
import struct
from collections.abc import Callable
from dataclasses import replace

import pytest
from redis.crc import key_slot

from tailrace.server.domain.ids import partition_of
from tailrace.server.domain.retry import RetryPolicy
from tailrace.server.domain.task import Submission, TaskState
from tailrace.server.store.redis.keys import SLOTS
from tailrace.server.store.values import Beat, Release, Revocation
from tests.store.builders import LOST, MISSED, STOP, a_failure, a_lease_request, a_submission, a_success
from tests.store.redis_harness import RedisHarness, open_redis

LONGEST_ID = "i" * 128
LONGEST_QUEUE = "q" * 64
LONGEST_WORKER_ID = "w" * 64 + "x" * 64
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
        start_deadline_ms=9_999_999_999_999,
        execution_timeout_ms=2_592_000_000,
        total_timeout_ms=31_536_000_000,
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
        await other.register_waits(partition, [task_id], with_progress=True)
    await store.release_leases(partition, [Release(task_id=task_id, lease_token=await lease())], LOST)
    token = await lease()
    beat = Beat(task_id=task_id, lease_token=token, worker_id=LONGEST_WORKER_ID, progress=EVERY_BYTE)
    await store.beat_leases(partition, [beat])
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
        assert fields.keys() >= {b"sd", b"td", b"xt", b"st", b"wp", b"g"}
        assert (fields[b"wk"], fields[b"ww"]) == (LONGEST_WORKER_ID[:64].encode(), LONGEST_WORKER_ID[64:].encode())
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
            submission = replace(a_submission(task_id, retry_policy=policy), total_timeout_ms=60_000)
            await live_through_everything(harness, submission, partition=partition)
            await harness.store.reap_leases(partition, 10, LOST)

        keys = [key for key in await harness.keys() if not key.endswith(":meta")]

        for key in keys:
            owner = next(partition for partition in range(4) if key.startswith(harness.prefix(partition)))
            assert key_slot(key.encode()) * 4 // SLOTS == owner
        kinds = {key.split("}:")[1].split(":")[0] for key in keys}
        assert kinds == {"t", "s", "f", "g", "n", "v", "qm", "queues", "lease", "dl", "ctl", "clock"}


async def test_nothing_vanishes_by_itself(redis_url: str) -> None:
    """Redis has no say in when a record is over: an index says it, and who reads a record checks."""
    async with open_redis(redis_url) as harness:
        store = harness.store
        await live_through_everything(harness, the_largest_submission())
        await store.submit_tasks(0, [a_submission("short", result_ttl_ms=1000)])
        token = (await store.lease_tasks(0, a_lease_request())).deliveries[0].lease_token
        await store.store_results(0, [a_success("short", token)])

        keys = await harness.keys()

        assert f"{harness.prefix()}s:short" in keys
        assert {await harness.admin.pttl(key) for key in keys} == {-1}


async def test_a_task_that_is_done_has_one_key(redis_url: str) -> None:
    async with open_redis(redis_url) as harness:
        await live_through_everything(harness, the_largest_submission())
        prefix = harness.prefix()
        token = await harness.admin.hget(f"{prefix}t:{LONGEST_ID}", "k")
        assert isinstance(token, bytes)

        await harness.store.store_results(0, [a_success(LONGEST_ID, token, result=b"3")])

        names = [key.removeprefix(prefix) for key in await harness.keys() if LONGEST_ID in key]
        assert names == [f"s:{LONGEST_ID}"]
        assert await harness.admin.strlen(f"{prefix}s:{LONGEST_ID}") < 300 + len("3") + 512
        assert await harness.admin.zcard(f"{prefix}dl") == 0


async def test_all_that_is_shown_of_a_task_outlives_its_end(redis_url: str) -> None:
    async with open_redis(redis_url) as harness:
        store, submission = harness.store, the_largest_submission()
        await live_through_everything(harness, submission)
        (before,) = await store.read_details(0, [LONGEST_ID])
        token = await harness.admin.hget(f"{harness.prefix()}t:{LONGEST_ID}", "k")
        assert before is not None
        assert isinstance(token, bytes)

        await store.store_results(0, [a_failure(LONGEST_ID, token, failure=EVERY_BYTE, is_non_retryable=True)])

        (after,) = await store.read_details(0, [LONGEST_ID])
        assert after is not None
        assert (after.worker_id, after.start_ms, after.create_ms, after.delivery_count, after.request) == (
            LONGEST_WORKER_ID,
            before.start_ms,
            before.create_ms,
            before.delivery_count,
            EVERY_BYTE,
        )
        assert (after.snapshot.attempt, after.snapshot.failure) == (before.snapshot.attempt, EVERY_BYTE)
        assert after.snapshot.expire_ms == harness.now_ms + submission.result_ttl_ms
        same, other = replace(submission, schedule_ms=None), replace(submission, fingerprint=b"another 16 bytes")
        again = await store.submit_tasks(0, [same, other])
        assert [item.is_conflict for item in again] == [False, True]
        assert (await store.store_results(0, [a_failure(LONGEST_ID, token)]))[0] is not None


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
        assert [name for name in names if not name.startswith("tr:")] == ["clock", f"qm:{LONGEST_QUEUE}", "queues"]


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
        assert await harness.admin.get(f"{prefix}s:task-1") == a_submission(payload=b"new").request
        assert sorted(await harness.admin.hgetall(f"{prefix}t:task-1")) == b"c fp h p q s u v".split()
        assert await harness.admin.exists(f"{prefix}f:task-1", f"{prefix}n:task-1") == 0


async def test_bytes_of_every_value_come_back_as_they_were(redis_url: str) -> None:
    async with open_redis(redis_url) as harness:
        store = harness.store
        policy = RetryPolicy(max_attempts=2, initial_backoff_ms=0, non_retryable_types=("\0\r\n\u20ac",))
        await store.submit_tasks(0, [a_submission(payload=EVERY_BYTE, retry_policy=policy)])
        nonces = (b"\r\n\0\xff\r\n\0\xff", b"\0" * 8)
        (first,) = (await store.lease_tasks(0, replace(a_lease_request(), nonces=nonces[:1]))).deliveries
        await store.beat_leases(0, [Beat(task_id="task-1", lease_token=first.lease_token, progress=EVERY_BYTE)])
        await store.store_results(0, [a_failure("task-1", first.lease_token, failure=EVERY_BYTE)])
        (second,) = (await store.lease_tasks(0, replace(a_lease_request(), nonces=nonces[1:]))).deliveries
        await store.store_results(0, [a_success("task-1", second.lease_token, result=EVERY_BYTE)])

        snapshot = (await store.read_tasks(0, ["task-1"]))[0]

        assert first.request == a_submission(payload=EVERY_BYTE).request
        assert first.lease_token == b"\0\0\0\1" + nonces[0]
        assert (second.last_failure, second.progress) == (EVERY_BYTE, EVERY_BYTE)
        assert snapshot is not None
        assert (snapshot.state, snapshot.result) == (TaskState.SUCCESS, EVERY_BYTE)


async def test_an_outcome_follows_the_request_of_which_a_success_keeps_but_the_head(redis_url: str) -> None:
    async with open_redis(redis_url) as harness:
        store = harness.store
        large = a_submission("large", payload=b"x" * 20_000)
        headless = replace(a_submission("headless"), head_bytes=0)
        submissions = [a_submission("whole"), headless, a_submission("failed"), large, a_submission("unkept")]
        await store.submit_tasks(0, submissions)
        deliveries = (await store.lease_tasks(0, a_lease_request(count=5))).deliveries
        tokens = [delivery.lease_token for delivery in deliveries]
        successes = [a_success("whole", tokens[0]), a_success("headless", tokens[1])]
        failures = [a_failure("failed", tokens[2]), a_failure("large", tokens[3])]
        await store.store_results(0, [*successes, *failures, a_success("unkept", tokens[4], result=None)])

        async def look(name: str) -> bytes:
            found = await harness.admin.get(f"{harness.prefix()}s:{name}")
            assert isinstance(found, bytes)
            (record_bytes,) = struct.unpack(">H", found[-2:])
            return found[: -2 - record_bytes]

        assert await look("whole") == b"head:3"
        assert await look("headless") == b"3"
        assert await look("failed") == b"head:[1, 2]it broke"
        assert await look("large") == large.request + b"it broke"
        assert await look("unkept") == b"head:"
        read = await store.read_tasks(0, ["headless", "large", "unkept"])
        assert [snapshot and (snapshot.result, snapshot.failure) for snapshot in read] == [
            (b"3", None),
            (None, b"it broke"),
            (None, None),
        ]


@pytest.mark.parametrize("change", [lambda record: record[: -len(b"\7SUCCESS")], lambda record: record + b"\5extra"])
async def test_records_of_releases_that_knew_less_or_more_are_read(
    redis_url: str, change: Callable[[bytes], bytes]
) -> None:
    async with open_redis(redis_url) as harness:
        store, name = harness.store, f"{harness.prefix()}s:task-1"
        await store.submit_tasks(0, [a_submission()])
        token = (await store.lease_tasks(0, a_lease_request())).deliveries[0].lease_token
        await store.store_results(0, [a_success("task-1", token)])
        before = await store.read_details(0, ["task-1"])
        found = await harness.admin.get(name)
        assert isinstance(found, bytes)
        (record_bytes,) = struct.unpack(">H", found[-2:])
        payload, record = found[: -2 - record_bytes], change(found[-2 - record_bytes : -2])

        await harness.admin.set(name, payload + record + struct.pack(">H", len(record)))

        assert await store.read_details(0, ["task-1"]) == before


@pytest.mark.parametrize(
    "payload", [b"", b"[1, 2]", b"\0\5", b"\0" * 20, b"x" * 600, b"\7SUCCESS\0\10", b"\7SUCCESS\0\0\11"]
)
async def test_a_request_whose_record_is_gone_is_no_task_and_stops_no_other(redis_url: str, payload: bytes) -> None:
    """Whatever removed it: the string alone must not be read as the record of a task that is done."""
    async with open_redis(redis_url) as harness:
        store = harness.store
        lost = a_submission("lost", payload=payload, start_within_ms=100)
        await store.submit_tasks(0, [lost, a_submission("other")])
        await harness.admin.delete(f"{harness.prefix()}t:lost")

        await harness.advance(100)
        leased = await store.lease_tasks(0, a_lease_request(count=5))
        overdue = await store.end_overdue(0, MISSED, [0])
        audited = await store.audit_tasks(0, "", 100)

        assert [delivery.task_id for delivery in leased.deliveries] == ["other"]
        assert (overdue.count, overdue.next_due_ms) == (0, None)
        assert audited.repairs == {}
        assert await store.read_tasks(0, ["lost"]) == [None]
        (submitted,) = await store.submit_tasks(0, [lost])
        assert submitted.is_created


async def test_an_empty_result_is_not_none(redis_url: str) -> None:
    async with open_redis(redis_url) as harness:
        store = harness.store
        await store.submit_tasks(0, [a_submission("empty")])
        token = (await store.lease_tasks(0, a_lease_request())).deliveries[0].lease_token
        await store.store_results(0, [a_success("empty", token, result=b"")])

        (snapshot,) = await store.read_tasks(0, ["empty"])

        assert snapshot is not None
        assert snapshot.result == b""


async def test_only_what_has_a_deadline_stands_in_the_index_of_deadlines(redis_url: str) -> None:
    async with open_redis(redis_url) as harness:
        store, now_ms = harness.store, harness.now_ms
        timed = replace(a_submission("timed"), start_within_ms=100, execution_timeout_ms=1_000, total_timeout_ms=60_000)
        await store.submit_tasks(0, [timed, replace(a_submission("other"), execution_timeout_ms=1_000)])

        async def deadline_ms() -> float | None:
            score_ms = await harness.admin.zscore(f"{harness.prefix()}dl", "timed")
            return None if score_ms is None else score_ms - now_ms

        waiting = await deadline_ms()
        token = (await store.lease_tasks(0, a_lease_request())).deliveries[0].lease_token
        delivered = await deadline_ms()
        await store.beat_leases(0, [Beat(task_id="timed", lease_token=token)])
        started = await deadline_ms()
        others = await harness.admin.zcard(f"{harness.prefix()}dl") - 1
        await store.store_results(0, [a_success("timed", token)])

        assert (waiting, delivered, started, await deadline_ms()) == (100, 60_000, 11_000, None)
        assert others == 0


async def test_an_entry_of_the_index_of_deadlines_that_its_record_contradicts_is_put_right(redis_url: str) -> None:
    async with open_redis(redis_url) as harness:
        store, index = harness.store, f"{harness.prefix()}dl"
        await store.submit_tasks(0, [a_submission("none"), replace(a_submission("later"), start_within_ms=100)])
        await harness.admin.zadd(index, {"none": 1, "unknown": 1, "later": 1})

        tick = await store.end_overdue(0, MISSED, [0] * 10)

        assert tick.count == 0
        assert await harness.admin.zrange(index, 0, -1, withscores=True) == [(b"later", harness.now_ms + 100)]


async def test_a_queue_is_known_by_name_from_its_first_task_on(redis_url: str) -> None:
    async with open_redis(redis_url) as harness:
        store, names = harness.store, f"{harness.prefix()}queues"
        await store.submit_tasks(0, [a_submission("a"), a_submission("b", queue="later", start_delay_ms=10)])
        before = await harness.admin.zrange(names, 0, -1, withscores=True)

        await store.lease_tasks(0, a_lease_request("default", "nothing-here"))

        assert before == [(b"default", 0), (b"later", 0)]
        assert await harness.admin.zrange(names, 0, -1, withscores=True) == before


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
        taken = {b"h9": b"1", b"h3": b"1"}
        assert after_lease == {b"mask": b"1", b"ready": b"1", b"schedule": b"1", b"lease": b"2"} | taken
        assert ended == {b"mask": b"1", b"ready": b"1", b"schedule": b"2", b"lease": b"0"} | taken


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

        await store.revoke_tasks(0, [Revocation(task_id="b", failure=STOP)])
        counters, left = await admin.hgetall(f"{prefix}qm:default"), await admin.hgetall(f"{prefix}left")
        await store.lease_tasks(0, a_lease_request(count=2))

        assert (counters, left) == ({b"mask": b"8", b"ready": b"1"}, {b"default:3 b": b"1"})
        assert await admin.exists(f"{prefix}left", f"{prefix}q:default:3") == 0
        counters = await admin.hgetall(f"{prefix}qm:default")
        assert counters == {b"mask": b"0", b"ready": b"0", b"lease": b"1", b"h3": b"2"}
