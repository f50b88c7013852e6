"""What every fault has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tests.chaos.mesh.mesh import ChaosMesh


class Fault(Protocol):
    """One fault of one process or link."""

    @property
    def target(self) -> str:
        """The process or link."""
        ...

    @property
    def costs_claims(self) -> bool:
        """Whether pieces may lose their conductor, also because it cannot renew its lease."""
        ...

    async def strike(self, mesh: ChaosMesh) -> None:
        """Cause the fault; return when it is over, or its process is being started again."""
        ...
