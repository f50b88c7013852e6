"""Shared by the tests of the stores: a clock, and rows to write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from segue_runtime.store import NewEvent, NewJob, RowMark, Store

if TYPE_CHECKING:
    from collections.abc import Sequence

LIMIT = 1000
LEASE_S = 10.0


@dataclass
class Clock:
    """Time that a test moves."""

    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Opens(Protocol):
    """Opens the backend under test; a second time, on the same data, as another process."""

    async def __call__(self, retention_s: float = 100) -> Store: ...

    async def back_up(self) -> None:
        """Copy what is stored. The opened stores may be closed."""
        ...

    async def restore(self) -> None:
        """Go back to the copy: what was written since then is lost."""
        ...


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


async def append(
    store: Store, name: str, epoch: int, events: Sequence[NewEvent], *, after: RowMark | None = None, **changes: Any
) -> int:
    """Append as a writer that knows the newest row; return the newest sequence."""
    if after is None:
        found = await store.get(name)
        after = RowMark() if found is None else found.last_row
    return (await store.append(name, epoch, events, after=after, **changes)).sequence
