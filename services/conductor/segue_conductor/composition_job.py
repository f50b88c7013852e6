"""What the stages of one composition share."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from segue.composer.v1.composition_pb2 import Composition
    from segue.composer.v1.spec_pb2 import CompositionSpec
    from segue.composer.v1.stream_pb2 import SectionProgress
    from segue.music.v1.music_pb2 import Plan
    from segue_composition.peers import ModelRoute, Peers
    from segue_conductor.journal import Journal
    from segue_conductor.render.take_store import Shelf
    from segue_runtime.artifacts import ArtifactStore
    from segue_runtime.store import Store


@dataclass
class ProgressBoard:
    """The newest progress of each section, until somebody sends it on."""

    newest: dict[str, SectionProgress] = field(default_factory=dict)

    def set(self, progress: SectionProgress) -> None:
        """Put a section's progress in the place of its earlier one."""
        self.newest[progress.section_id] = progress

    def take(self) -> list[SectionProgress]:
        """Return what is new."""
        newest, self.newest = self.newest, {}
        return list(newest.values())


@dataclass(kw_only=True)
class Bench:
    """What it takes to master a draft and to write its files, under one claim."""

    journal: Journal
    store: Store
    artifacts: ArtifactStore
    peers: Peers
    spec: CompositionSpec
    deadline: float
    """When the composition's time limit ends, in seconds of time.monotonic()."""
    channels: int = 2

    @property
    def composition(self) -> Composition:
        """The composition as the store has it."""
        return self.journal.composition

    @property
    def plan(self) -> Plan:
        """The plan; only after it was made."""
        return self.journal.composition.plan

    @property
    def folder(self) -> str:
        """Where the composition's own artifacts lie."""
        return self.journal.name

    def remaining_s(self) -> float:
        """Seconds until the time limit; inner calls get no more."""
        return max(0.0, self.deadline - time.monotonic())


@dataclass(kw_only=True)
class Context(Bench):
    """One claim on one composition."""

    player: ModelRoute
    shelf: Shelf
    stall_limit_s: float
    """So long a renderer may say nothing of a section."""
    progress: ProgressBoard = field(default_factory=ProgressBoard)

    @property
    def slots(self) -> int:
        """How many sections to render at once."""
        return max(1, min(self.player.slots, 8))
