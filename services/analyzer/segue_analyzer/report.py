"""What is measured: plain words for the report, free of the contract's types."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from segue_audio.loudness import Loudness
    from segue_music.elements import Key


class FaultKind(IntEnum):
    """A kind of fault; the numbers are the contract's."""

    CLIPPING = 1
    DC = 2
    CLICK = 3
    SILENCE = 4
    NOT_FINITE = 5


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault in the sound."""

    kind: FaultKind
    first_frame: int
    frames: int
    text: str


@dataclass(frozen=True, slots=True)
class TempoEstimate:
    """A measured tempo; beats and downbeats are frames."""

    quarters_per_minute: float
    confidence: float
    other_quarters_per_minute: float = 0.0
    beats: tuple[int, ...] = ()
    downbeats: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class KeyEstimate:
    """A measured key and the next best one."""

    key: Key
    confidence: float
    other: Key


@dataclass(frozen=True, slots=True)
class SectionReport:
    """A section measured by itself; None where nothing is known."""

    section_id: str
    loudness: Loudness
    tempo: TempoEstimate | None = None
    key: KeyEstimate | None = None
    brightness_hz: float = 0.0
    tempo_matches: bool | None = None
    key_matches: bool | None = None
    planned_energy: float | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """All that was measured; None where nothing is known."""

    frames: int
    leading_silence_frames: int
    trailing_silence_frames: int
    loudness: Loudness
    tempo: TempoEstimate | None = None
    key: KeyEstimate | None = None
    brightness_hz: float = 0.0
    chroma: tuple[float, ...] = ()
    stereo_correlation: float | None = None
    faults: tuple[Fault, ...] = ()
    sections: tuple[SectionReport, ...] = field(default=())
    energy_correlation: float | None = None
    peaks_per_second: float = 0.0
    peaks: bytes = b""
