"""The production store: Redis 6.2 or later, every operation one Lua script on one partition."""

from tailrace.server.store.redis.store import RedisStore

__all__ = ["RedisStore"]
