"""The inputs of a take besides the section's spec, the model and the seed: overlap, neighbours' audio and guide."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from segue.music.v1 import music_pb2
from segue.renderer.v1 import renderer_pb2
from segue_composition.log_rows import BYTES_PER_SAMPLE
from segue_conductor.render.take_store import take_key
from segue_music.codec import section_seed

if TYPE_CHECKING:
    from segue.music.v1.music_pb2 import Plan, PlannedSection
    from segue.renderer.v1.renderer_pb2 import ModelProfile, RenderFinished
    from segue_conductor.composition_job import CompositionJob
    from segue_conductor.render.guides import Guide

DEFAULT_CROSSFADE_BEATS: Final = 1.0
RING_OUT_S: Final = 2.0
"""How long a section may ring into the next one at a hard join."""


@dataclass(frozen=True)
class TakeInputs:
    """The inputs of one section's takes. They stay the same in every attempt."""

    section: PlannedSection
    profile: ModelProfile
    """The model that renders the section."""
    conditioning: bytes
    """The end of the take before, as F32LE at the model's rate and channels; empty without."""
    following: bytes
    """The start of the next section's take, in the same format; empty without."""
    guide: Guide
    overlap_frames: int

    @property
    def conditioning_frames(self) -> int:
        """The length of the conditioning."""
        return self._frames_of(self.conditioning)

    @property
    def following_frames(self) -> int:
        """The length of the next section's start."""
        return self._frames_of(self.following)

    def _frames_of(self, audio: bytes) -> int:
        return len(audio) // (max(1, self.profile.channels) * BYTES_PER_SAMPLE)

    def unused(self, finished: RenderFinished) -> list[music_pb2.Warning]:
        """Return a warning for each input that the renderer took and did not use."""
        found: list[music_pb2.Warning] = []
        if self.following and not finished.following_applied:
            text = f"{self.profile.model} did not use the start of the next section; the join may be heard"
            found.append(music_pb2.Warning(code="following_not_used", text=text))
        if self.guide.kind == renderer_pb2.GUIDE_TIMBRE_AUDIO and not finished.guide_applied:
            text = f"{self.profile.model} did not imitate the sound"
            found.append(music_pb2.Warning(code="timbre_not_imitated", text=text))
        return found

    def key(self, seed: int) -> str:
        """Return the key of the take with this seed."""
        return take_key(
            self.section.spec,
            self.profile,
            seed,
            overlap_frames=self.overlap_frames,
            conditioning_digest=_digest(self.conditioning),
            following_digest=_digest(self.following),
            guide_digest=self.guide.digest,
        )


def _digest(audio: bytes) -> str:
    return hashlib.sha256(audio).hexdigest() if audio else ""


def seed_of(plan: Plan, section: PlannedSection) -> int:
    """Return the seed of a section's take."""
    return section.seed if section.HasField("seed") else section_seed(plan.seed, section.spec.section_id)


def overlap_frames(job: CompositionJob, index: int) -> int:
    """Return how far a take continues beyond its section, for the crossfade into the next one.

    A take that does not keep to the plan's beat may be shifted for the join, by half a beat at most.
    """
    sections = job.plan.sections
    locked = job.profile_of(sections[index].spec).gives_notes
    beat_frames = job.timings[sections[index].spec.section_id].first_beat_frames
    spare = 0 if locked else round(beat_frames / 2)
    if index + 1 >= len(sections):
        return int(sections[index].spec.tail_frames) + spare
    following = sections[index + 1]
    if following.join.kind == music_pb2.JOIN_KIND_HARD:
        if following.spec.continuity == music_pb2.CONTINUITY_TAIL:
            return 0  # the next section continues from the very end of this take
        return round(RING_OUT_S * following.spec.sample_rate)
    beats = following.join.beats if following.join.HasField("beats") else DEFAULT_CROSSFADE_BEATS
    return round(beats * job.timings[following.spec.section_id].first_beat_frames) + spare


def needs_conditioning(job: CompositionJob, index: int) -> bool:
    """Return whether a section continues the audio of the one before, and its model can do so."""
    spec = job.plan.sections[index].spec
    takes = job.profile_of(spec).HasField("conditioning")
    return index > 0 and spec.continuity == music_pb2.CONTINUITY_TAIL and takes
