"""The stores and peers that a process shares among all its requests or jobs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from segue_composition.model_catalog import ModelCatalog
    from segue_composition.peers import Peers
    from segue_runtime.artifacts import ArtifactStore
    from segue_runtime.space import DiskSpace
    from segue_runtime.store import Store


@dataclass(frozen=True)
class Services:
    """The services that gateway and conductor use."""

    store: Store
    artifacts: ArtifactStore
    peers: Peers
    models: ModelCatalog
    space: DiskSpace
    roles_seen: dict[str, float] = field(default_factory=dict)
    """When roles that were away were last seen again, by name, in seconds of time.monotonic()."""
