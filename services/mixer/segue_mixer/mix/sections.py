"""Input and output of a mix: sections, their audio, and the report of each mixed section."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from segue_audio.arrays import Float32
    from segue_audio.loudness import Loudness
    from segue_mixer.mix.join_score import JoinScore

MIX: Final = ""
"""The name of the layer that holds the whole mix."""


@dataclass(frozen=True, slots=True)
class MixSection:
    """A section's position on the timeline and how it joins the section before it."""

    section_id: str
    first_frame: int
    frames: int
    tail_frames: int
    hard: bool
    crossfade_frames: int
    beat_frames: float
    bar_frames: int


@dataclass(frozen=True, slots=True)
class LateBeats:
    """Beats and downbeats that were measured after their section had begun."""

    beats: tuple[float, ...] = ()
    downbeats: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class SectionInput:
    """Format, level and beats of the audio of one section."""

    sample_rate: int
    channels: int
    sample_locked: bool = False
    continuous: bool = False
    declared_lufs: float | None = None
    target_lufs: float | None = None
    beats: tuple[float, ...] = ()
    """Measured beats, in frames of the timeline from the section's start."""
    downbeats: tuple[float, ...] = ()
    tail_frames: int = 0
    """Least length of the audio beyond the section's end, in frames of the timeline."""
    kept_shift: int | None = None
    """The shift of an earlier mix; None: the beats decide."""


@dataclass(frozen=True, slots=True)
class DraftBlock:
    """A block of the draft, of one layer."""

    layer: str
    first_frame: int
    samples: Float32


@dataclass(frozen=True, slots=True)
class MixedJoin:
    """The join before a section, as it was mixed, and its score."""

    from_section_id: str
    to_section_id: str
    frame: int
    hard: bool
    crossfade_frames: int
    score: JoinScore
    tempo_drift: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class MixedSection:
    """The report of one mixed section, and the checkpoint at its end."""

    section_id: str
    gain_db: float
    loudness: Loudness
    join: MixedJoin | None
    warnings: tuple[tuple[str, str], ...]
    checkpoint: bytes
    shift_frames: int = 0
