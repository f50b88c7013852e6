"""Jobs and their queue in Redis."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any

from segue_runtime.store.notifier import cancel_key, queue_key
from segue_runtime.store.queue.turns import Turns
from segue_runtime.store.records import Created, Depth, Page, Renewal, new_stamp
from segue_runtime.store.redis.rows import flat_events, id_of, job_of, option, standings_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from segue_runtime.store.records import Job, NewJob, Share
    from segue_runtime.store.redis.notifier import RedisNotifier
    from segue_runtime.store.redis.scripts import RedisScripts


class RedisJobs:
    """Jobs documents the methods."""

    _scripts: RedisScripts
    notifier: RedisNotifier

    async def create(self, job: NewJob, *, queue_limit: int) -> Created:
        fields: dict[str, bytes | str] = {
            "spec": job.spec, "resource": job.resource, "state": job.state, "labels": json.dumps(dict(job.labels)),
            "priority": str(int(job.priority)),
        }  # fmt: skip
        if job.call_id is not None:
            fields["call_id"] = job.call_id
        if job.models is not None:
            fields["models"] = json.dumps(list(job.models))
        name, flat = await self._scripts.call(
            "jobs", "create",
            job.name, job.kind, job.owner, job.spec_digest, queue_limit, new_stamp(),
            option(job.request_id), option(job.upload), option(job.second_upload), option(job.attached_s),
            job.share.weight, option(job.share.running), _limits(job.share), job.audio_ms,
            len(job.first_events), *flat_events(job.first_events),
            *(each for field in fields.items() for each in field),
            repeats=True,
        )  # fmt: skip
        return Created(job_of(name, flat), is_new=name.decode() == job.name)

    async def get(self, name: str) -> Job | None:
        (flat,) = await self._scripts.call("jobs", "get", name, repeats=True)
        return job_of(name, flat) if flat else None

    async def list(
        self,
        owner: str | None,
        kinds: Sequence[str],
        *,
        states: Sequence[str] = (),
        labels: Mapping[str, str] | None = None,
        limit: int = 50,
        after: int | None = None,
    ) -> Page:
        wanted = [json.dumps(dict.fromkeys(each, True)) for each in (kinds, states)]
        before = "+inf" if after is None else f"({after}"
        found: list[Any] = []
        while len(found) <= limit:
            at, some = await self._scripts.call(
                "jobs", "list", option(owner), *wanted, json.dumps(dict(labels or {})), limit + 1 - len(found), before,
                repeats=True,
            )  # fmt: skip
            found += some
            if at == b"0":
                break
            before = f"({at.decode()}"
        jobs = [job_of(name, flat) for name, flat in found[:limit]]
        return Page(jobs, id_of(found[limit - 1][1]) if len(found) > limit else None)

    async def delete(self, name: str) -> None:
        await self._scripts.call("jobs", "delete", name)
        self.notifier.heard.drop(name)

    async def expired(self, limit: int = 100) -> Sequence[Job]:
        (found,) = await self._scripts.call("jobs", "expired", limit, repeats=True)
        return [job_of(name, flat) for name, flat in found]

    async def scan(self, kind: str, *, limit: int = 100, after: int | None = None) -> Page:
        (found,) = await self._scripts.call("jobs", "scan", kind, after or 0, limit, repeats=True)
        return Page([job_of(*each) for each in found], id_of(found[-1][1]) if len(found) == limit else None)

    async def num_deleted(self) -> int:
        (number,) = await self._scripts.call("jobs", "num_deleted", repeats=True)
        return int(number)

    async def shrink(self) -> None:
        """Do nothing: Redis frees memory by itself."""


class RedisQueue:
    """Queue documents the methods."""

    _scripts: RedisScripts
    notifier: RedisNotifier

    async def claim(self, conductor_id: str, lease_s: float, kinds: Sequence[str] = ()) -> Job | None:
        nonce = secrets.token_hex(8)
        return _claimed(
            await self._scripts.call("queue", "claim", nonce, conductor_id, float(lease_s), *kinds, repeats=True)
        )

    async def claim_one(self, name: str, holder: str, lease_s: float) -> Job | None:
        return _claimed(await self._scripts.call("queue", "claim_one", name, holder, float(lease_s)))

    async def renew(self, name: str, epoch: int, lease_s: float) -> Renewal:
        is_abandoned, reason = await self._scripts.call("queue", "renew", name, epoch, float(lease_s), repeats=True)
        return Renewal(None if reason is None else reason.decode(), is_abandoned=is_abandoned == b"1")

    async def release(self, name: str, epoch: int) -> None:
        await self._scripts.call("queue", "release", name, epoch)

    async def set_alone(self, name: str, epoch: int) -> None:
        await self._scripts.call("queue", "set_alone", name, epoch, repeats=True)

    async def wait_for_job(self, timeout_s: float, kinds: Sequence[str] = ()) -> bool:
        return await self.notifier.wait(queue_key(kinds), timeout_s)

    async def queue_positions(self, names: Sequence[str]) -> Mapping[str, int]:
        if not names:
            return {}
        return _positions(*await self._scripts.call("queue", "positions", *names, repeats=True))

    async def depths(self) -> Mapping[str, Depth]:
        (found,) = await self._scripts.call("queue", "depths", repeats=True)
        return {kind.decode(): Depth(waiting, running) for kind, waiting, running in found if waiting + running}

    async def request_cancel(self, name: str, reason: str) -> Job:
        return job_of(*await self._scripts.call("queue", "request_cancel", name, reason, repeats=True))

    async def wait_for_cancel(self, name: str, timeout_s: float) -> bool:
        return await self.notifier.wait(cancel_key(name), timeout_s)

    async def attach(self, name: str, for_s: float) -> None:
        await self._scripts.call("queue", "attach", name, float(for_s), repeats=True)


def _limits(share: Share) -> str:
    return json.dumps({name: getattr(share, name) for name in ("queued", "audio_s_a_day", "storage_bytes")})


def _claimed(answer: list[Any]) -> Job | None:
    if not answer:
        return None
    name, is_taken_over, flat = answer
    return job_of(name, flat, is_taken_over=is_taken_over == b"1")


def _positions(found: list[Any], num_ending: int, standings: list[Any]) -> dict[str, int]:
    """Return the positions of jobs in the order of `claim`: cancelled ones first, then owners in turn."""
    turns = Turns(standings_of(standings))
    positions: dict[str, int] = {}
    for name, owner, priority, is_ending, before in found:
        ahead = before
        if is_ending != b"1":
            ahead = num_ending + turns.num_before(owner.decode(), int(priority), before)
        positions[name.decode()] = ahead + 1
    return positions
