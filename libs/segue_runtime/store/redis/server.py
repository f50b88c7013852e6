"""The connection to a Redis server: its URL, and what is required and recommended of the server."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import unquote

from segue_runtime import logs
from segue_runtime.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Mapping
    from contextlib import AbstractAsyncContextManager

CONNECT_S: Final = 2.0
ANSWER_S: Final = 5.0
MAX_CONNECTIONS: Final = 32
OLDEST: Final = (7, 0)
SENTINEL: Final = re.compile(
    r"redis(?P<tls>s?)\+sentinel://(?:(?P<user>[^:@/]*):(?P<password>[^@/]*)@)?"
    r"(?P<hosts>[^/@]+)/(?P<service>[^/?]+)(?:/(?P<db>\d+))?(?:\?ssl_ca_certs=(?P<trusted>[^&]+))?",
    re.ASCII,
)
SENTINEL_PORT: Final = 26379
RECOMMENDED: Final = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
log = logs.get("store")


class RedisMessages(Protocol):
    """What the store uses of the client's subscription."""

    async def subscribe(self, channel: str) -> None: ...

    async def get_message(self, *, timeout: float | None) -> Mapping[str, Any] | None: ...  # noqa: ASYNC109 - its name


class RedisClient(Protocol):
    """What the store uses of redis-py, whose own types are partial."""

    def evalsha(self, sha: str, numkeys: int, *arguments: Any) -> Awaitable[list[Any]]: ...

    def eval(self, script: str, numkeys: int, *arguments: Any) -> Awaitable[list[Any]]: ...

    def info(self) -> Awaitable[Mapping[str, Any]]: ...

    def config_get(self, *patterns: str) -> Awaitable[Mapping[str | bytes, str | bytes]]: ...

    def scan_iter(self, *, match: str) -> AsyncIterator[bytes]: ...

    def zrange(self, name: bytes, start: int, end: int) -> Awaitable[list[bytes]]: ...

    def bgrewriteaof(self) -> Awaitable[object]: ...

    def bgsave(self) -> Awaitable[object]: ...

    def pubsub(self, *, ignore_subscribe_messages: bool) -> AbstractAsyncContextManager[RedisMessages]: ...

    def aclose(self, *, close_connection_pool: bool) -> Awaitable[None]: ...


def connect(url: str, setting: str = "store.url") -> RedisClient:
    """Return a client for the URL of a setting; it connects when it is used.

    The errors do not show the URL, which has a password.
    """
    try:
        import redis.asyncio as client
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
    except ImportError:
        raise StoreUnavailable(
            f"{setting} needs the extra `redis`: pip install 'segue[redis]' "
            "(in a checkout: .tools/bin/uv sync --frozen --inexact --extra redis)"
        ) from None
    options: dict[str, Any] = {
        "socket_connect_timeout": CONNECT_S,
        "socket_timeout": ANSWER_S,
        "health_check_interval": 15,
        # A repeated write could count twice: RedisScripts repeats those for which that is impossible.
        "retry": Retry(NoBackoff(), 0),
    }
    try:
        if (found := SENTINEL.fullmatch(url)) is not None:
            return _connect_by_sentinel(found, options)
        if not url.startswith(("redis://", "rediss://")):
            raise ValueError  # noqa: TRY301 - one message for all
        pools: Any = client.BlockingConnectionPool
        pool = pools.from_url(url, max_connections=MAX_CONNECTIONS, timeout=ANSWER_S, **options)
        made: Any = client.Redis(connection_pool=pool)
    except ValueError:
        raise StoreUnavailable(
            f"{setting} is not one of redis://[USER:PASSWORD@]HOST[:PORT][/DB], rediss://…, "
            "redis+sentinel://[USER:PASSWORD@]HOST[:PORT],…/SERVICE[/DB] and rediss+sentinel://…"
        ) from None
    client_of_url: RedisClient = made
    return client_of_url


def _connect_by_sentinel(found: re.Match[str], options: dict[str, Any]) -> RedisClient:
    from redis.asyncio.sentinel import Sentinel

    hosts: list[tuple[str, int]] = []
    for each in found["hosts"].split(","):
        host, _, port = each.rpartition(":") if ":" in each else (each, "", str(SENTINEL_PORT))
        hosts.append((host, int(port)))
    if found["trusted"] and not found["tls"]:
        raise ValueError  # nothing is encrypted
    options |= {"ssl": bool(found["tls"]), "db": int(found["db"] or 0)}
    if found["trusted"]:
        options["ssl_ca_certs"] = unquote(found["trusted"])
    if found["password"]:
        options |= {"username": unquote(found["user"] or "") or None, "password": unquote(found["password"])}
    by_sentinel: Any = Sentinel
    primary: RedisClient = by_sentinel(hosts, sentinel_kwargs=dict(options) | {"db": 0}, **options).master_for(
        found["service"], max_connections=MAX_CONNECTIONS
    )
    return primary


async def disconnect(client: RedisClient) -> None:
    """Close the connections of a client, also those to sentinels."""
    await client.aclose(close_connection_pool=True)
    by_sentinel: Any = getattr(getattr(client, "connection_pool", None), "sentinel_manager", None)
    for sentinel in by_sentinel.sentinels if by_sentinel else ():
        await sentinel.aclose(close_connection_pool=True)


async def check_server(client: RedisClient) -> None:
    """Refuse a server that cannot keep the store, and log what it should be set to."""
    info: Mapping[str, Any] = await client.info()
    version = tuple(int(part) for part in str(info.get("redis_version", "0")).split(".")[:2])
    if version < OLDEST:
        found = info.get("redis_version")
        raise StoreUnavailable(f"the server is Redis {found}; the store needs 7.0 or later, or Valkey")
    if info.get("cluster_enabled"):
        raise StoreUnavailable(
            "the server is in cluster mode, which the store does not support; use one primary with replicas, by "
            "Sentinel or a managed service without cluster mode"
        )
    for name, value in (await unsafe_settings(client)).items():
        log.warning("a setting of Redis can lose work", setting=name, value=value, recommended=RECOMMENDED[name])


async def unsafe_settings(client: RedisClient) -> Mapping[str, str | None]:
    """Return the settings that are not as recommended; none if the server does not tell them."""
    settings = await _settings(client)
    if settings is None:
        return {}
    return {name: settings.get(name) for name, advised in RECOMMENDED.items() if settings.get(name) != advised}


async def _settings(client: RedisClient) -> Mapping[str, str] | None:
    """Return settings of the server; None if it does not tell them."""
    from redis.exceptions import ResponseError

    try:
        found = await client.config_get(*RECOMMENDED)
    except ResponseError:  # managed services hide CONFIG
        log.warning("the settings of Redis cannot be read", recommended=RECOMMENDED)
        return None
    return {_text(name): _text(value) for name, value in found.items()}


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
