"""The values that all stages of one composition share: claim, request, models and plan."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from segue_composition.section_models import model_of, players_of
from segue_conductor.section_timing import SectionTiming
from segue_conductor.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Mapping

    from segue.composer.v1.composition_pb2 import Composition
    from segue.composer.v1.spec_pb2 import CompositionSpec
    from segue.music.v1.music_pb2 import Plan, SectionSpec
    from segue.renderer.v1.renderer_pb2 import ModelProfile
    from segue_conductor.claim import Claim
    from segue_conductor.journal import Journal
    from segue_conductor.pool.renderer_pool import RendererPool


@dataclass(frozen=True, kw_only=True)
class CompositionJob:
    """One claim on one composition, with the models that render it."""

    claim: Claim
    spec: CompositionSpec
    models: dict[str, ModelProfile]
    """The models of the piece by name, the piece's own first. Models that play a section instead are added."""
    pool: RendererPool
    """The renderers."""
    stall_limit_s: float
    """The longest time that a renderer may send nothing for a section."""

    @property
    def journal(self) -> Journal:
        """The journal of the claim."""
        return self.claim.journal

    @property
    def composition(self) -> Composition:
        """The composition as stored."""
        return self.claim.composition

    @property
    def plan(self) -> Plan:
        """The plan; empty until the planner has made it."""
        return self.composition.plan

    @property
    def profile(self) -> ModelProfile:
        """The piece's model: it renders the sections that name no other one."""
        return self.profiles[0]

    @property
    def profiles(self) -> list[ModelProfile]:
        """The models of the piece, its own first."""
        return list(self.models.values())

    @property
    def players(self) -> list[ModelProfile]:
        """The models that render sections, each once, in the order of the sections."""
        return players_of(self.plan.sections, self.profiles)

    def profile_of(self, spec: SectionSpec) -> ModelProfile:
        """Return the model that renders a section."""
        return self.models[model_of(spec, self.profile.model)]

    @property
    def timeline(self) -> Timeline:
        """The positions of the planned sections."""
        return Timeline.of_plan(self.plan)

    @cached_property
    def timings(self) -> Mapping[str, SectionTiming]:
        """The beat and bar lengths of the planned sections, by section id; no change of the plan changes them."""
        return {item.spec.section_id: SectionTiming.of(item.spec) for item in self.plan.sections}

    def index_of(self, section_id: str) -> int:
        """Return the present position of a section in the plan."""
        return next(index for index, item in enumerate(self.plan.sections) if item.spec.section_id == section_id)
