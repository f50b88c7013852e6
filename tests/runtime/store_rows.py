"""Shared by the tests of the stores: a clock, and rows to write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from segue_runtime.store import NewEvent, NewJob, Store

LIMIT = 1000
LEASE_S = 10.0


@dataclass
class Clock:
    """Time that a test moves."""

    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Opens(Protocol):
    """Opens the backend under test; a second time, on the same file, as another process."""

    async def __call__(self) -> Store: ...


def job(name: str = "compositions/a", owner: str = "ann", **changes: object) -> NewJob:
    fields: dict[str, object] = {
        "name": name, "kind": "composition", "owner": owner, "spec_digest": b"d", "spec": b"spec", "resource": b"r",
    }  # fmt: skip
    return NewJob(**(fields | changes))  # type: ignore[arg-type] # named by the caller


def rows(*payloads: bytes) -> list[NewEvent]:
    return [NewEvent("audio", payload) for payload in payloads]


async def create(store: Store, name: str = "compositions/a", owner: str = "ann", **changes: object) -> None:
    await store.create(job(name, owner, **changes), queue_limit=LIMIT)


async def epoch_of(store: Store, name: str = "compositions/a") -> int:
    """Claim jobs up to this one, and return its epoch."""
    while True:
        claimed = await store.claim("c1", LEASE_S)
        assert claimed is not None
        if claimed.name == name:
            return claimed.epoch


async def payloads(store: Store, name: str = "compositions/a", after: int = 0) -> list[bytes]:
    return [event.payload for event in await store.read(name, after, 10_000)]
