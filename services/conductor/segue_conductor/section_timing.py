"""The lengths of a section's beats and bars in frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from segue_music import codec, timing

if TYPE_CHECKING:
    from segue.music.v1.music_pb2 import SectionSpec


@dataclass(frozen=True, slots=True)
class SectionTiming:
    """The lengths of one beat at a section's start and of one bar at its end, in frames of the plan."""

    first_beat_frames: float
    last_bar_frames: float

    @classmethod
    def of(cls, message: SectionSpec) -> SectionTiming:
        """Return the timing of a planned section."""
        spec = codec.section_from_message(message)
        if spec.metre is None:
            error = f"section {spec.section_id} has no metre"
            raise ValueError(error)
        tempo = timing.tempo_map(spec)
        bar = timing.ticks_per_bar(spec.metre)
        last_bar_s = tempo.seconds(spec.bars * bar) - tempo.seconds((spec.bars - 1) * bar)
        return cls(
            first_beat_frames=tempo.seconds(timing.ticks_per_beat(spec.metre)) * spec.sample_rate,
            last_bar_frames=last_bar_s * spec.sample_rate,
        )
