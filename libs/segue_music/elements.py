"""The elements of music in the contract: scales, chords, metre and tempo, notes, motifs, parts of the band.

Each dataclass is a message of segue.music.v1 with the same field names; enum members have the contract's numbers, and
zero means what its `…_UNSPECIFIED` says.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Mode(IntEnum):
    """A scale."""

    UNSPECIFIED = 0
    MAJOR = 1
    MINOR = 2
    DORIAN = 3
    PHRYGIAN = 4
    LYDIAN = 5
    MIXOLYDIAN = 6
    LOCRIAN = 7
    HARMONIC_MINOR = 8


class LayerKind(IntEnum):
    """A part of the band."""

    UNSPECIFIED = 0
    RHYTHM = 1
    BASS = 2
    HARMONY = 3
    LEAD = 4
    TEXTURES = 5
    VOCALS = 6


class ChordQuality(IntEnum):
    """The kind of a chord."""

    UNSPECIFIED = 0
    MAJOR = 1
    MINOR = 2
    DIMINISHED = 3
    AUGMENTED = 4
    SUSPENDED_SECOND = 5
    SUSPENDED_FOURTH = 6
    POWER = 7
    SIXTH = 8
    MINOR_SIXTH = 9
    MAJOR_SEVENTH = 10
    MINOR_SEVENTH = 11
    DOMINANT_SEVENTH = 12
    DOMINANT_SEVENTH_SUSPENDED = 13
    HALF_DIMINISHED = 14
    DIMINISHED_SEVENTH = 15
    MINOR_MAJOR_SEVENTH = 16
    ADDED_NINTH = 17
    MAJOR_NINTH = 18
    MINOR_NINTH = 19
    DOMINANT_NINTH = 20


class Feel(IntEnum):
    """How the beat is felt against the metre."""

    UNSPECIFIED = 0
    HALF_TIME = 1
    DOUBLE_TIME = 2


@dataclass(frozen=True, slots=True)
class Key:
    """A tonic ("F#") and a mode."""

    tonic: str
    mode: Mode


@dataclass(frozen=True, slots=True)
class Metre:
    """A time signature."""

    beats: int
    unit: int


@dataclass(frozen=True, slots=True)
class TempoPoint:
    """A tempo from its start tick to the next point."""

    start_tick: int
    quarters_per_minute: float


@dataclass(frozen=True, slots=True)
class Layer:
    """One part of the band in one section."""

    kind: LayerKind
    instruments: tuple[str, ...] = ()
    level: float | None = None


@dataclass(frozen=True, slots=True)
class Chord:
    """A harmony, its start and its length."""

    root: str
    quality: ChordQuality
    start_tick: int
    ticks: int
    bass: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """One sounding note."""

    layer: LayerKind
    start_tick: int
    ticks: int
    pitch: int
    velocity: int
    instrument: str = ""


@dataclass(frozen=True, slots=True)
class MotifNote:
    """A note of a theme, as a scale degree in any key."""

    start_tick: int
    ticks: int
    degree: int
    alteration: int = 0


@dataclass(frozen=True, slots=True)
class Motif:
    """A short theme."""

    notes: tuple[MotifNote, ...]
    ticks: int


@dataclass(frozen=True, slots=True)
class Groove:
    """The rhythm's pattern and its swing."""

    name: str = ""
    swing: float | None = None
    feel: Feel = Feel.UNSPECIFIED
