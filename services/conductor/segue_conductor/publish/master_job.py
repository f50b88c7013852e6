"""The inputs for mastering a draft, composed or uploaded, and for writing its files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from segue.composer.v1.spec_pb2 import CompositionSpec
    from segue_conductor.claim import Claim
    from segue_conductor.publish.metadata import FileMetadata
    from segue_conductor.timeline import Timeline


@dataclass(frozen=True, kw_only=True)
class MasterJob:
    """One claim on a finished draft."""

    claim: Claim
    timeline: Timeline
    spec: CompositionSpec
    """Its exports, master settings and frozen master are used, nothing else."""
    metadata: FileMetadata
    take_keys: Mapping[str, str] = field(default_factory=dict[str, str])
    """The keys of the takes that the draft is made of, by section id; empty for an upload."""
