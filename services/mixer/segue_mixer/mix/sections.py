"""The words of a mix: what comes in, what goes out, and what can be wrong with it.

MixError
├── WrongOrder      something came where it may not
└── WrongSound      sound that cannot be mixed, with its section and frame
"""

# ruff: noqa: N818 - the names say what is wrong; "Error" at the end of each would say it again

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from segue_audio.arrays import Float32
    from segue_audio.loudness import Loudness
    from segue_mixer.mix.join_score import JoinScore

MIX: Final = ""
MAX_SAMPLE: Final = 100.0
"""+40 dBFS: no music is louder; what is would only blow up what comes after it."""


class MixError(ValueError):
    """Input that cannot be mixed."""

    def __init__(self, message: str, *, section_id: str = "", frame: int = 0) -> None:
        super().__init__(message)
        self.section_id = section_id
        self.frame = frame


class WrongOrder(MixError):
    """Something came where it may not."""


class WrongSound(MixError):
    """Sound that cannot be mixed."""


@dataclass(frozen=True, slots=True)
class Section:
    """A section's place on the timeline."""

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
    """Beats, and first beats of bars, that were measured when their section was already there."""

    beats: tuple[float, ...] = ()
    downbeats: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Incoming:
    """How a section's sound comes in."""

    sample_rate: int
    channels: int
    sample_locked: bool = False
    continuous: bool = False
    declared_lufs: float | None = None
    target_lufs: float | None = None
    beats: tuple[float, ...] = ()
    """Measured beats in frames of the timeline from the section's start."""
    downbeats: tuple[float, ...] = ()
    tail_frames: int = 0
    """How much sound will come beyond the section's end, at the least, in frames of the timeline."""
    kept_shift: int | None = None
    """Where it lay in an earlier mix; None: its beats decide."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Draft sound of one layer."""

    layer: str
    first_frame: int
    samples: Float32


@dataclass(frozen=True, slots=True)
class Join:
    """A join and its score."""

    from_section_id: str
    to_section_id: str
    frame: int
    hard: bool
    frames: int
    score: JoinScore
    tempo_drift: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Mixed:
    """A section that is in the draft."""

    section_id: str
    gain_db: float
    loudness: Loudness
    join: Join | None
    warnings: tuple[tuple[str, str], ...]
    state: bytes
    shift_frames: int = 0


def check_sound(block: Float32, first_frame: int, where: str, section_id: str = "") -> None:
    """Raise WrongSound with the first frame that is not finite or beyond any music."""
    # A comparison with NaN is false, so that one test finds all three.
    if not block.size or float(np.abs(block).max()) <= MAX_SAMPLE:
        return
    frame, channel = (int(index) for index in np.argwhere(~(np.abs(block) <= MAX_SAMPLE))[0])
    worst = float(block[frame, channel])
    what = f"{worst:g} (full scale is 1)" if np.isfinite(worst) else "not a finite number"
    raise WrongSound(
        f"{where}: sample of frame {first_frame + frame}, channel {channel} is {what}",
        section_id=section_id,
        frame=first_frame + frame,
    )
