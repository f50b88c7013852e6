"""The renderer pool in Redis.

Who gets a slot is decided by `Assignment`, as in the embedded store, from a snapshot with a version. The commit counts
only if nothing has changed since; else it is tried again. Every change is followed by a try of its own writer, so that
the last one always sees all changes.
"""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import statistics
from typing import TYPE_CHECKING, Final

from segue_runtime import logs
from segue_runtime.store.notifier import TURN_KEY, line_key
from segue_runtime.store.pool.assignment import Assignment
from segue_runtime.store.pool.records import KnownModel, KnownRenderer, LeasedSection, SectionLease
from segue_runtime.store.pool.workload import MAX_JOBS, UnfinishedJob, Workload
from segue_runtime.store.redis.pool_snapshot import (
    PoolSnapshot,
    key_text,
    offer_of,
    offer_text,
    snapshot_of,
)
from segue_runtime.store.redis.rows import pairs_of, standings_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from segue_runtime.store.pool.records import LeaseEnd, LinePlace, RendererOffer, WaitingSection
    from segue_runtime.store.redis.notifier import RedisNotifier
    from segue_runtime.store.redis.scripts import RedisScripts

MAX_TRIES: Final = 16
PAUSE_S: Final = 0.005
log = logs.get("store")


class RedisPool:
    """Pool documents the methods."""

    def __init__(self, scripts: RedisScripts, notifier: RedisNotifier, retention_s: float) -> None:
        self._scripts = scripts
        self._notifier = notifier
        self._retention_s = retention_s
        self._assigning = asyncio.Lock()
        self._num_wanted = 0
        self._num_assigned = 0

    async def offer(self, offered: RendererOffer, for_s: float) -> None:
        profiles = [each for model in offered.models for each in (key_text(model.key), model.profile)]
        (has_waiting,) = await self._scripts.call(
            "pool", "offer",
            offered.renderer, offer_text(offered), offered.stream, offered.status, float(for_s), self._retention_s,
            *profiles,
            repeats=True,
        )  # fmt: skip
        await self._assign_if(has_waiting)

    async def withdraw(self, renderer: str, stream: str = "") -> None:
        await self._scripts.call("pool", "withdraw", renderer, stream, repeats=True)

    async def leases_at(self, renderer: str) -> tuple[int, Sequence[LeasedSection]]:
        found = await self._snapshot()
        return found.last_turn, [
            LeasedSection(each.lease, each.section_id, each.row.key.model)
            for each in found.sections
            if each.row.renderer == renderer
        ]

    async def wait_for_turn(self, after: int, timeout_s: float) -> None:
        await self._notifier.wait(TURN_KEY, timeout_s, after)

    async def renderers(self) -> Sequence[KnownRenderer]:
        return (await self._snapshot()).renderers()

    async def models(self) -> Sequence[KnownModel]:
        found = await self._snapshot()
        served = {model.key for member in found.members for model in member.offer.models}
        return [
            KnownModel(key, profile, key in served, statistics.median(speeds) if speeds else 0.0)
            for key, profile, speeds in found.models()
        ]

    async def enter_line(self, section: WaitingSection) -> int:
        ticket, has_waiting = await self._scripts.call(
            "pool", "enter",
            secrets.token_hex(8), section.job, section.epoch, section.section_id, key_text(section.key),
            float(section.due_in_s), float(section.audio_s), json.dumps(sorted(section.excluded)),
            repeats=True,
        )  # fmt: skip
        await self._assign_if(has_waiting)
        return int(ticket)

    async def wait_for_lease(self, ticket: int, timeout_s: float) -> SectionLease | None:
        found = await self._lease_of(ticket)
        if found is not None or not await self._notifier.wait(line_key(ticket), timeout_s):
            return found
        return await self._lease_of(ticket)

    async def leave_line(self, ticket: int, end: LeaseEnd, speed: float = 0.0) -> None:
        (has_waiting,) = await self._scripts.call("pool", "leave", ticket, int(end), float(speed), repeats=True)
        await self._assign_if(has_waiting)

    async def places(self) -> Mapping[int, LinePlace]:
        return Assignment((await self._snapshot()).snapshot()).places()

    async def num_waiting(self) -> Mapping[str, int]:
        return (await self._snapshot()).num_waiting()

    async def add_cost(self, stage: str, cost: float) -> None:
        await self._scripts.call("pool", "add_cost", stage, float(cost))

    async def workload(self, kind: str) -> Workload:
        found, standings = await self._scripts.call("queue", "workload", kind, MAX_JOBS, repeats=True)
        (costs,) = await self._scripts.call("pool", "costs", repeats=True)
        pool = await self._snapshot()
        known = Assignment(pool.snapshot(with_line=False))
        keys = {model.key for member in pool.members for model in member.offer.models}
        keys |= {key for key, _, speeds in pool.models() if speeds}
        jobs = [each for each in found if each[2] is not None]
        return Workload(
            jobs=[_unfinished(each) for each in sorted(jobs, key=lambda each: (each[1] != b"1", int(each[2])))],
            standings=standings_of(standings),
            renderers=pool.renderers(),
            profiles={key: profile for key, profile, _ in pool.models()},
            speeds={key: known.speed(key) for key in keys},
            costs={stage.decode(): statistics.median(map(float, each)) for stage, each in costs if each},
        )

    async def assign(self) -> None:
        await self._assign_if(b"1")

    async def _lease_of(self, ticket: int) -> SectionLease | None:
        found = await self._scripts.call("pool", "lease_of", ticket, repeats=True)
        if not found:
            return None
        lease, renderer, was_warm, offered = found
        known = offer_of(renderer.decode(), offered, b"", b"") if offered else None
        return SectionLease(
            ticket,
            lease.decode(),
            renderer.decode(),
            known.address if known else "",
            known.server_name if known else "",
            was_warm == b"1",
            known.joined if known else False,
        )

    async def _snapshot(self) -> PoolSnapshot:
        return snapshot_of(await self._scripts.call("pool", "snapshot", repeats=True))

    async def _assign_if(self, has_waiting: bytes) -> None:
        """Give free slots away. Changes that came meanwhile share the next snapshot."""
        if has_waiting != b"1":
            return
        self._num_wanted += 1
        own = self._num_wanted
        async with self._assigning:
            if self._num_assigned >= own:
                return
            seen = self._num_wanted
            await self._assign_now()
            self._num_assigned = seen

    async def _assign_now(self) -> None:
        for number in range(MAX_TRIES):
            found = await self._snapshot()
            given = list(Assignment(found.snapshot()).give())
            if not given:
                return
            committed = [
                each
                for one in given
                for each in (
                    *(one.row.ticket, one.row.owner, one.renderer, secrets.token_hex(16), int(one.was_warm)),
                    one.tag,
                )
            ]
            (is_committed,) = await self._scripts.call("pool", "commit", found.version, *committed)
            if is_committed == b"1":
                return
            await asyncio.sleep(random.uniform(0, PAUSE_S * number))  # noqa: S311 - it separates writers
        log.info("others changed the line during every try; their own tries follow", num_tries=MAX_TRIES)


def _unfinished(found: list[bytes | list[bytes] | None]) -> UnfinishedJob:
    name, is_held, _, owner, spec, resource, progress, last, started, source_bytes, source_type, priority = found
    row = pairs_of(last) if isinstance(last, list) else {}
    return UnfinishedJob(
        name=_bytes(name).decode(),
        owner=_bytes(owner).decode(),
        spec=_bytes(spec),
        resource=_bytes(resource),
        is_held=is_held == b"1",
        progress=_bytes(progress),
        row_kind=row.get("k", b"").decode(),
        row=row.get("p", b""),
        row_time=float(row.get("t", 0.0)),
        started=float(started) if isinstance(started, bytes) else None,
        source_bytes=int(_bytes(source_bytes) or 0),
        source_type=_bytes(source_type).decode(),
        priority=int(_bytes(priority)),
    )


def _bytes(value: bytes | list[bytes] | None) -> bytes:
    return value if isinstance(value, bytes) else b""
