"""Locks that all processes of a store share: a key with an end, which its holder renews."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from typing import TYPE_CHECKING, Final

from segue_runtime.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from segue_runtime.store.redis.scripts import RedisScripts

LEASE_S: Final = 5.0
RENEW_S: Final = 1.0
POLL_S: Final = 0.1


@contextlib.asynccontextmanager
async def exclusive(scripts: RedisScripts, name: str) -> AsyncIterator[None]:
    """Hold the lock of a name. If it is lost, as the server does not answer, the body ends with StoreUnavailable."""
    token = secrets.token_hex(16)
    while not await _is_held(scripts, "lock", name, token):  # noqa: ASYNC110 - nothing tells when its holder is killed
        await asyncio.sleep(POLL_S)
    loop = asyncio.get_running_loop()
    held = asyncio.timeout(LEASE_S)
    try:
        async with held:
            renewing = asyncio.create_task(_renew(scripts, name, token, held))
            try:
                yield
            finally:
                renewing.cancel()
                await asyncio.gather(renewing, return_exceptions=True)
    except TimeoutError as error:
        when = held.when()
        if when is not None and when <= loop.time():
            raise StoreUnavailable(f"the lock {name} was lost: Redis does not answer", retry_after_s=1) from error
        raise
    finally:
        with contextlib.suppress(StoreUnavailable):  # it ends by itself
            await scripts.call("locks", "unlock", name, token)


async def _is_held(scripts: RedisScripts, operation: str, name: str, token: str) -> bool:
    (held,) = await scripts.call("locks", operation, name, token, int(LEASE_S * 1000), repeats=True)
    return bool(held == b"1")


async def _renew(scripts: RedisScripts, name: str, token: str, held: asyncio.Timeout) -> None:
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(RENEW_S)
        asked = loop.time()
        try:
            if not await _is_held(scripts, "renew_lock", name, token):
                held.reschedule(asked)
                return
            held.reschedule(asked + LEASE_S)
        except StoreUnavailable:
            continue  # the next try may come in time
