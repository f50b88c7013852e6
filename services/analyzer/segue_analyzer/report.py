"""The report of an analysis, without types of the contract."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from segue_audio.loudness import Loudness
    from segue_music.elements import Key


class FaultKind(IntEnum):
    """A kind of fault; the numbers are those of the contract."""

    CLIPPING = 1
    DC = 2
    CLICK = 3
    SILENCE = 4
    NOT_FINITE = 5


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault in the audio."""

    kind: FaultKind
    first_frame: int
    frames: int
    text: str


@dataclass(frozen=True, slots=True)
class MeasuredTempo:
    """A measured tempo; beats and downbeats are frames."""

    quarters_per_minute: float
    confidence: float
    other_quarters_per_minute: float = 0.0
    beats: tuple[int, ...] = ()
    downbeats: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class MeasuredKey:
    """A measured key and the second best one."""

    key: Key
    confidence: float
    other: Key


@dataclass(frozen=True, slots=True)
class SectionReport:
    """The report of one section; None where a value is unknown."""

    section_id: str
    loudness: Loudness
    tempo: MeasuredTempo | None = None
    key: MeasuredKey | None = None
    brightness_hz: float = 0.0
    tempo_matches: bool | None = None
    key_matches: bool | None = None
    planned_energy: float | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """The report of the whole; None where a value is unknown."""

    frames: int
    leading_silence_frames: int
    trailing_silence_frames: int
    loudness: Loudness
    bass_loudness_lufs: float | None = None
    tempo: MeasuredTempo | None = None
    key: MeasuredKey | None = None
    brightness_hz: float = 0.0
    chroma: tuple[float, ...] = ()
    stereo_correlation: float | None = None
    faults: tuple[Fault, ...] = ()
    sections: tuple[SectionReport, ...] = field(default=())
    energy_correlation: float | None = None
    peaks_per_second: float = 0.0
    peaks: bytes = b""
