"""Usage by owner and day in Redis, which forgets it by itself."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from segue_runtime.store.owners.records import UsagePage, day_usage, number_of
from segue_runtime.store.redis.rows import option, pairs_of

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    from segue_runtime.accounting.traffic import Traffic
    from segue_runtime.store.owners.records import UsagePlace
    from segue_runtime.store.redis.scripts import RedisScripts


class RedisUsage:
    """Usage documents the methods."""

    _scripts: RedisScripts

    async def add_traffic(self, traffic: Mapping[str, Traffic]) -> None:
        counted = [each for owner, of in traffic.items() for each in (owner, of.requests, of.sent_bytes)]
        await self._scripts.call("usage", "add_traffic", secrets.token_hex(8), *counted, repeats=True)

    async def usage(
        self,
        owner: str | None,
        first_day: dt.date,
        last_day: dt.date,
        *,
        limit: int = 100,
        after: UsagePlace | None = None,
    ) -> UsagePage:
        after_day, after_owner = (None, None) if after is None else (number_of(after[0]), after[1])
        (found,) = await self._scripts.call(
            "usage", "usage",
            option(owner), number_of(first_day), number_of(last_day), limit + 1, option(after_day), option(after_owner),
            repeats=True,
        )  # fmt: skip
        days = [
            day_usage(int(day), each.decode(), {item: float(amount) for item, amount in pairs_of(items).items()})
            for day, each, items in found
        ]
        return UsagePage(days[:limit], days[limit - 1].place if len(days) > limit else None)

    async def audio_seconds_today(self, owner: str) -> float:
        (seconds,) = await self._scripts.call("usage", "audio_seconds_today", owner, repeats=True)
        return float(seconds)

    async def stored_bytes(self, owner: str) -> int:
        (num_bytes,) = await self._scripts.call("usage", "stored_bytes", owner, repeats=True)
        return int(num_bytes)
