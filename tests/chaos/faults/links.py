"""Faults of connections: they break, are refused, and are slow."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.chaos.mesh.mesh import ChaosMesh


class OnLink:
    """A fault of one link."""

    link: str

    @property
    def target(self) -> str:
        return self.link

    @property
    def costs_claims(self) -> bool:
        return self.link.startswith("redis-conductor")  # it cannot renew its leases


@dataclass(frozen=True)
class Break(OnLink):
    """Connections that break after a number of bytes, and so do those that replace them."""

    link: str
    after_bytes: tuple[int, ...]

    def __str__(self) -> str:
        return f"break connections to {self.link} after {', '.join(map(str, self.after_bytes))} bytes"

    async def strike(self, mesh: ChaosMesh) -> None:
        mesh.links[self.link].break_after(*self.after_bytes)


@dataclass(frozen=True)
class Cut(OnLink):
    """A link on which nobody answers for a while."""

    link: str
    seconds: float

    def __str__(self) -> str:
        return f"cut {self.link} for {self.seconds:.1f} s"

    async def strike(self, mesh: ChaosMesh) -> None:
        mesh.links[self.link].refuse()
        try:
            await asyncio.sleep(self.seconds)
        finally:
            mesh.links[self.link].mend()


@dataclass(frozen=True)
class Slow(OnLink):
    """A link on which every block of bytes is late."""

    link: str
    delay_ms: int
    seconds: float

    def __str__(self) -> str:
        return f"delay {self.link} by {self.delay_ms} ms for {self.seconds:.1f} s"

    async def strike(self, mesh: ChaosMesh) -> None:
        mesh.links[self.link].delay_s = self.delay_ms / 1000
        try:
            await asyncio.sleep(self.seconds)
        finally:
            mesh.links[self.link].mend()
