"""The report of an analysis, without types of the contract."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from segue_audio.loudness import Loudness
    from segue_music.elements import ChordQuality, Key


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
class TempoCandidate:
    """A tempo that fits the beats."""

    quarters_per_minute: float
    confidence: float


@dataclass(frozen=True, slots=True)
class MeasuredTempo:
    """A measured tempo; beats and downbeats are frames."""

    quarters_per_minute: float
    confidence: float
    other_quarters_per_minute: float = 0.0
    beats: tuple[int, ...] = ()
    downbeats: tuple[int, ...] = ()
    candidates: tuple[TempoCandidate, ...] = ()
    beats_per_bar: int = 0
    swing: float | None = None


@dataclass(frozen=True, slots=True)
class MeasuredKey:
    """A measured key and the second best one."""

    key: Key
    confidence: float
    other: Key


@dataclass(frozen=True, slots=True)
class LocalTempo:
    """The tempo of the beats around a frame."""

    frame: int
    quarters_per_minute: float


@dataclass(frozen=True, slots=True)
class LoudnessPoint:
    """The loudness of the 3 s around a frame; None in silence."""

    frame: int
    short_term_lufs: float | None


@dataclass(frozen=True, slots=True)
class SpectralBand:
    """The power of an octave relative to all."""

    low_hz: float
    high_hz: float
    level_db: float


@dataclass(frozen=True, slots=True)
class StereoPoint:
    """The stereo image from a frame to the next point; None in silence."""

    frame: int
    correlation: float | None
    width: float | None


@dataclass(frozen=True, slots=True)
class StructurePart:
    """A run of bars that belong together."""

    first_frame: int
    frames: int
    label: str
    confidence: float


@dataclass(frozen=True, slots=True)
class ChordSpan:
    """A chord and its time."""

    first_frame: int
    frames: int
    root: str
    quality: ChordQuality
    confidence: float


@dataclass(frozen=True, slots=True)
class KeySpan:
    """A key and its time."""

    first_frame: int
    frames: int
    key: MeasuredKey


@dataclass(frozen=True, slots=True)
class WaveformPeaks:
    """Pairs of the lowest and the highest sample, as signed bytes."""

    peaks_per_second: float
    peaks: bytes


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
    chords_match: float | None = None
    boundary_matches: bool | None = None
    boundary_offset_frames: int | None = None


@dataclass(frozen=True, slots=True)
class Track:
    """One track of a recording that holds several; None where a value is unknown."""

    first_frame: int
    frames: int
    fade_in_frames: int = 0
    fade_out_frames: int = 0
    loudness: Loudness | None = None
    bass_loudness_lufs: float | None = None
    tempo: MeasuredTempo | None = None
    key: MeasuredKey | None = None
    brightness_hz: float = 0.0
    error: str = ""


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
    drum_beats: tuple[int, ...] = ()
    tempo_curve: tuple[LocalTempo, ...] = ()
    loudness_curve: tuple[LoudnessPoint, ...] = ()
    crest_db: float | None = None
    spectral_balance: tuple[SpectralBand, ...] = ()
    stereo_curve: tuple[StereoPoint, ...] = ()
    onsets_per_second: float = 0.0
    energy_curve: tuple[float, ...] = ()
    structure: tuple[StructurePart, ...] = ()
    chords: tuple[ChordSpan, ...] = ()
    key_changes: tuple[KeySpan, ...] = ()
    more_peaks: tuple[WaveformPeaks, ...] = ()
    tracks: tuple[Track, ...] = ()
