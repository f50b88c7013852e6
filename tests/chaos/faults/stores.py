"""Faults of Redis and of the S3 store."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
from tests.mesh.harness import stub

from segue.composer.v1 import composition_pb2
from segue_client.errors import from_rpc_error

if TYPE_CHECKING:
    from tests.chaos.mesh.mesh import ChaosMesh

REFUSALS = ("STORE_UNAVAILABLE", "UNAVAILABLE", "DEADLINE_EXCEEDED")
"""The reason of a gateway without its store; the codes of one that is gone, or stands still."""
ANSWER_S = 20.0


class OnRedis:
    """A fault of the primary. No lease can be renewed meanwhile."""

    target = "redis"
    costs_claims = True


class OnS3:
    """A fault of the bucket."""

    target = "s3"
    costs_claims = False


@dataclass(frozen=True)
class RedisKill(OnRedis):
    """A power cut, and a start with the data."""

    away_s: float

    def __str__(self) -> str:
        return f"kill -9 redis, away for {self.away_s:.1f} s, back with its data"

    async def strike(self, mesh: ChaosMesh) -> None:
        redis = mesh.stores.redis
        await redis.kill()
        await asyncio.sleep(self.away_s)
        await redis.start_again()
        await redis.wait_for_replica()


@dataclass(frozen=True)
class RedisStop(OnRedis):
    """A primary that stands still."""

    seconds: float

    def __str__(self) -> str:
        return f"stop redis for {self.seconds:.1f} s"

    async def strike(self, mesh: ChaosMesh) -> None:
        redis = mesh.stores.redis
        redis.stop()
        try:
            await asyncio.sleep(self.seconds)
        finally:
            redis.go_on()
        await redis.wait_for_replica()


@dataclass(frozen=True)
class RedisEmpty(OnRedis):
    """A primary that comes back without its data, which are restored later. It must not be used meanwhile."""

    seconds: float

    def __str__(self) -> str:
        return f"kill -9 redis, back without its data for {self.seconds:.1f} s, then with them"

    async def strike(self, mesh: ChaosMesh) -> None:
        stores = mesh.stores
        await stores.redis.kill()
        await stores.redis.empty()
        try:
            for gateway in mesh.shape.gateways:
                answer = await _listed(mesh.address_of(gateway))
                if answer not in REFUSALS:
                    stores.breaches.append(f"{gateway} answered {answer} while Redis had lost its data")
            await asyncio.sleep(self.seconds)
            if size := await stores.redis.size():
                stores.breaches.append(f"{size} keys were written while Redis had lost its data")
        finally:
            await stores.redis.restore()


@dataclass(frozen=True)
class FailOver(OnRedis):
    """The replica is cut off; the primary goes on, and dies; the replica becomes the primary."""

    lag_s: float

    def __str__(self) -> str:
        return f"fail redis over to a replica that lags by {self.lag_s:.1f} s"

    async def strike(self, mesh: ChaosMesh) -> None:
        stores = mesh.stores
        with stores.spanned(stores.lags):
            await stores.redis.wait_for_replica()
            stores.redis.part()
            await asyncio.sleep(self.lag_s)
            await stores.redis.fail_over()


@dataclass(frozen=True)
class S3Errors(OnS3):
    """A store that answers a share of all requests with 503."""

    share: float
    seconds: float

    def __str__(self) -> str:
        return f"s3 answers {self.share:.0%} of all requests with 503 for {self.seconds:.1f} s"

    async def strike(self, mesh: ChaosMesh) -> None:
        chance = random.Random(str(self))
        mesh.stores.s3.fail("503 Slow Down", "SlowDown", self.share, chance)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            mesh.stores.s3.mend()


@dataclass(frozen=True)
class S3Slow(OnS3):
    """A slow store."""

    delay_ms: int
    seconds: float

    def __str__(self) -> str:
        return f"s3 is slower by {self.delay_ms} ms a block for {self.seconds:.1f} s"

    async def strike(self, mesh: ChaosMesh) -> None:
        mesh.stores.s3.delay(self.delay_ms / 1000)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            mesh.stores.s3.mend()


@dataclass(frozen=True)
class S3Full(OnS3):
    """A store that has no room for writes: pieces may fail with STORAGE_FULL, and their retries must succeed."""

    seconds: float

    def __str__(self) -> str:
        return f"s3 is full for {self.seconds:.1f} s"

    async def strike(self, mesh: ChaosMesh) -> None:
        stores = mesh.stores
        with stores.spanned(stores.full):
            stores.s3.fail("507 Insufficient Storage", "XMinioStorageFull", 1, random.Random(0), writes=True)
            try:
                await asyncio.sleep(self.seconds)
            finally:
                stores.s3.mend()


async def _listed(address: str) -> str:
    """Ask a gateway for its compositions; return the reason of its refusal."""
    try:
        async with stub(address) as gateway:
            await gateway.ListCompositions(composition_pb2.ListCompositionsRequest(), timeout=ANSWER_S)
    except grpc.aio.AioRpcError as error:
        found = from_rpc_error(error)
        return found.reason or found.code.name
    return "a list"
