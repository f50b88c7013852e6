"""Keys, scales and chords as pitch classes and names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segue_music.elements import ChordQuality, Key, Mode

if TYPE_CHECKING:
    from segue_music.elements import Chord

LETTER_CLASS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
SHARP_NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
FLAT_NAMES = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")

SCALES: dict[Mode, tuple[int, ...]] = {
    Mode.MAJOR: (0, 2, 4, 5, 7, 9, 11),
    Mode.MINOR: (0, 2, 3, 5, 7, 8, 10),
    Mode.DORIAN: (0, 2, 3, 5, 7, 9, 10),
    Mode.PHRYGIAN: (0, 1, 3, 5, 7, 8, 10),
    Mode.LYDIAN: (0, 2, 4, 6, 7, 9, 11),
    Mode.MIXOLYDIAN: (0, 2, 4, 5, 7, 9, 10),
    Mode.LOCRIAN: (0, 1, 3, 5, 6, 8, 10),
    Mode.HARMONIC_MINOR: (0, 2, 3, 5, 7, 8, 11),
}
# The distance of each mode's tonic from the tonic of the major scale with the same signature.
SIGNATURE_DEGREES: dict[Mode, int] = {
    Mode.MAJOR: 0,
    Mode.DORIAN: 2,
    Mode.PHRYGIAN: 4,
    Mode.LYDIAN: 5,
    Mode.MIXOLYDIAN: 7,
    Mode.MINOR: 9,
    Mode.HARMONIC_MINOR: 9,
    Mode.LOCRIAN: 11,
}
MINOR_MODES = frozenset({Mode.MINOR, Mode.DORIAN, Mode.PHRYGIAN, Mode.LOCRIAN, Mode.HARMONIC_MINOR})

CHORD_TONES: dict[ChordQuality, tuple[int, ...]] = {
    ChordQuality.MAJOR: (0, 4, 7),
    ChordQuality.MINOR: (0, 3, 7),
    ChordQuality.DIMINISHED: (0, 3, 6),
    ChordQuality.AUGMENTED: (0, 4, 8),
    ChordQuality.SUSPENDED_SECOND: (0, 2, 7),
    ChordQuality.SUSPENDED_FOURTH: (0, 5, 7),
    ChordQuality.POWER: (0, 7),
    ChordQuality.SIXTH: (0, 4, 7, 9),
    ChordQuality.MINOR_SIXTH: (0, 3, 7, 9),
    ChordQuality.MAJOR_SEVENTH: (0, 4, 7, 11),
    ChordQuality.MINOR_SEVENTH: (0, 3, 7, 10),
    ChordQuality.DOMINANT_SEVENTH: (0, 4, 7, 10),
    ChordQuality.DOMINANT_SEVENTH_SUSPENDED: (0, 5, 7, 10),
    ChordQuality.HALF_DIMINISHED: (0, 3, 6, 10),
    ChordQuality.DIMINISHED_SEVENTH: (0, 3, 6, 9),
    ChordQuality.MINOR_MAJOR_SEVENTH: (0, 3, 7, 11),
    ChordQuality.ADDED_NINTH: (0, 4, 7, 14),
    ChordQuality.MAJOR_NINTH: (0, 4, 7, 11, 14),
    ChordQuality.MINOR_NINTH: (0, 3, 7, 10, 14),
    ChordQuality.DOMINANT_NINTH: (0, 4, 7, 10, 14),
}

CHORD_SUFFIX: dict[ChordQuality, str] = {
    ChordQuality.MAJOR: "",
    ChordQuality.MINOR: "m",
    ChordQuality.DIMINISHED: "dim",
    ChordQuality.AUGMENTED: "aug",
    ChordQuality.SUSPENDED_SECOND: "sus2",
    ChordQuality.SUSPENDED_FOURTH: "sus4",
    ChordQuality.POWER: "5",
    ChordQuality.SIXTH: "6",
    ChordQuality.MINOR_SIXTH: "m6",
    ChordQuality.MAJOR_SEVENTH: "maj7",
    ChordQuality.MINOR_SEVENTH: "m7",
    ChordQuality.DOMINANT_SEVENTH: "7",
    ChordQuality.DOMINANT_SEVENTH_SUSPENDED: "7sus4",
    ChordQuality.HALF_DIMINISHED: "m7b5",
    ChordQuality.DIMINISHED_SEVENTH: "dim7",
    ChordQuality.MINOR_MAJOR_SEVENTH: "mMaj7",
    ChordQuality.ADDED_NINTH: "add9",
    ChordQuality.MAJOR_NINTH: "maj9",
    ChordQuality.MINOR_NINTH: "m9",
    ChordQuality.DOMINANT_NINTH: "9",
}

MODE_NAMES: dict[Mode, str] = {
    Mode.MAJOR: "major",
    Mode.MINOR: "minor",
    Mode.DORIAN: "dorian",
    Mode.PHRYGIAN: "phrygian",
    Mode.LYDIAN: "lydian",
    Mode.MIXOLYDIAN: "mixolydian",
    Mode.LOCRIAN: "locrian",
    Mode.HARMONIC_MINOR: "harmonic minor",
}


def pitch_class(name: str) -> int:
    """Return 0 to 11 for a name such as "F#" or "Bb"."""
    return (LETTER_CLASS[name[0]] + name.count("#") - name[1:].count("b")) % 12


def uses_flats(key: Key) -> bool:
    """Tell whether a key's signature is written with flats."""
    if "b" in key.tonic[1:]:
        return True
    if "#" in key.tonic:
        return False
    major = (pitch_class(key.tonic) - SIGNATURE_DEGREES[key.mode]) % 12
    return major in {5, 10, 3, 8, 1}


def note_name(pitch: int, *, flats: bool) -> str:
    """Return the name of a pitch or pitch class."""
    return (FLAT_NAMES if flats else SHARP_NAMES)[pitch % 12]


def scale_classes(key: Key) -> tuple[int, ...]:
    """Return the pitch classes of a key's scale, upwards from the tonic."""
    tonic = pitch_class(key.tonic)
    return tuple((tonic + step) % 12 for step in SCALES[key.mode])


def degree_pitch(key: Key, degree: int, *, octave_pitch: int = 60, alteration: int = 0) -> int:
    """Return the MIDI note of a scale degree; degree 0 is the tonic at or above octave_pitch."""
    octave, step = divmod(degree, 7)
    tonic = octave_pitch + (pitch_class(key.tonic) - octave_pitch) % 12
    return tonic + 12 * octave + SCALES[key.mode][step] + alteration


def chord_classes(chord: Chord) -> tuple[int, ...]:
    """Return the pitch classes of a chord, upwards from the root."""
    root = pitch_class(chord.root)
    return tuple((root + tone) % 12 for tone in CHORD_TONES[chord.quality])


def chord_name(chord: Chord) -> str:
    """Return a chord's symbol, as "F#m7/C#"."""
    bass = f"/{chord.bass}" if chord.bass and chord.bass != chord.root else ""
    return f"{chord.root}{CHORD_SUFFIX[chord.quality]}{bass}"


def key_name(key: Key) -> str:
    """Return a key's name, as "F# minor"."""
    return f"{key.tonic} {MODE_NAMES[key.mode]}"


def camelot(key: Key) -> str:
    """Return a key's place on the Camelot wheel, as "11A"; other modes have the place of their major or minor."""
    minor = key.mode in MINOR_MODES
    major = (pitch_class(key.tonic) + (3 if minor else 0)) % 12
    # 8B is C major; each step of the wheel is a fifth.
    number = (major * 7 + 7) % 12 + 1
    return f"{number}{'A' if minor else 'B'}"
