"""The operators' half of the Store protocol on Redis."""

from tailrace.server.store.redis.engine import RedisEngine


class RedisOperatorCalls(RedisEngine):
    """See OperatorStore."""
