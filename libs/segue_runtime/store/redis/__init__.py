"""The store in Redis 7 or Valkey, which the processes of many machines share.

Hashes are the truth. The log of each job is a stream with explicit ids, queue and leases are sorted sets, which can be
rebuilt. Each operation is one Lua function in `lua/`, with the time of the server.
"""

from segue_runtime.store.redis.store import RedisStore

__all__ = ["RedisStore"]
