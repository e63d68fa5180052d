import pytest

from tailrace.server.store.redis import RedisStore
from tailrace.server.store.redis.cluster import ClusterClient
from tailrace.server.store.redis.connection import RedisClient

PASSWORD = "geheim-4711"


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://", "localhost:6379"),
        ("redis://cache.example:7000", "cache.example:7000"),
        (f"rediss://me:{PASSWORD}@cache.example/3", "cache.example:6379/3"),
        (f"unix://:{PASSWORD}@/run/redis.sock?db=2", "/run/redis.sock/2"),
    ],
)
async def test_the_address_for_people_says_where_and_not_who(url: str, address: str) -> None:
    assert RedisClient(url).address == address


@pytest.mark.parametrize(
    "url", [f"redis://me:{PASSWORD}/x@host", f"http://{PASSWORD}@host", "redis://host?db=x", "host"]
)
def test_a_malformed_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match="the Redis URL is malformed") as refusal:
        RedisClient(url)

    assert PASSWORD not in str(refusal.value)
    assert refusal.value.__cause__ is None


@pytest.mark.parametrize(
    "option", ["protocol=3", "retry_on_timeout=yes", "decode_responses=true", "socket_timeout=600"]
)
def test_a_url_cannot_change_how_redis_is_talked_to(option: str) -> None:
    with pytest.raises(ValueError, match=option.partition("=")[0]):
        RedisClient(f"redis://host/0?{option}")


def a_cluster(url: str) -> ClusterClient:
    return ClusterClient(url, on_move=lambda: None)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis+cluster://", "localhost:6379"),
        (f"rediss+cluster://me:{PASSWORD}@one.example:7000,two.example", "one.example:7000,two.example:6379"),
        ("redis+cluster://[::1]:7000/0", "::1:7000"),
    ],
)
def test_the_address_of_a_cluster_says_where_and_not_who(url: str, address: str) -> None:
    assert a_cluster(url).address == address


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        (f"redis+cluster://me:{PASSWORD}@host:x", "the Redis URL is malformed"),
        (f"redis+cluster://me:{PASSWORD}@host/3", "no databases to choose from"),
        (f"redis+cluster://me:{PASSWORD}@host?protocol=3", "protocol"),
    ],
)
def test_a_malformed_url_of_a_cluster_is_refused_without_repeating_it(url: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as refusal:
        a_cluster(url)

    assert PASSWORD not in str(refusal.value)


@pytest.mark.parametrize("replica_id", ["", "a,b", "*", "a b", "x" * 21])
def test_a_replica_id_that_could_not_be_registered_is_refused(replica_id: str) -> None:
    with pytest.raises(ValueError, match="replica id"):
        RedisStore("redis://", replica_id=replica_id)


@pytest.mark.parametrize("partitions", [0, -1, 1025])
def test_a_number_of_partitions_that_cannot_be_had_is_refused(partitions: int) -> None:
    with pytest.raises(ValueError, match="partitions must be 1 to 1024"):
        RedisStore("redis://", replica_id="r", partitions=partitions)


async def test_the_number_of_partitions_is_not_known_before_the_store_is_open() -> None:
    store = RedisStore("redis://", replica_id="r", partitions=4)

    with pytest.raises(RuntimeError, match="the store is not open"):
        _ = store.partitions
    assert store.description == "Redis at localhost:6379, not open"
