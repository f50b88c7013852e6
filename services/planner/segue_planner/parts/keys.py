"""Related keys for sections that leave the main key."""

from __future__ import annotations

from segue_music.elements import Key, Mode
from segue_music.theory import MINOR_MODES, note_name, pitch_class, uses_flats


def relative(key: Key) -> Key:
    """Return the relative major of a minor key, and the relative minor of a major one."""
    minor = key.mode in MINOR_MODES
    pitch = pitch_class(key.tonic) + (3 if minor else -3)
    mode = Mode.MAJOR if minor else Mode.MINOR
    return Key(note_name(pitch, flats=uses_flats(key)), mode)


def parallel(key: Key) -> Key:
    """Return the major or minor key on the same tonic."""
    return Key(key.tonic, Mode.MAJOR if key.mode in MINOR_MODES else Mode.MINOR)


def subdominant(key: Key) -> Key:
    """Return the key a fourth higher in the same mode: the key of the middle of many standards."""
    pitch = (pitch_class(key.tonic) + 5) % 12
    return Key(note_name(pitch, flats=uses_flats(Key(note_name(pitch, flats=True), key.mode))), key.mode)


def raised(key: Key, semitones: int) -> Key:
    """Return the key some semitones higher, in the spelling with fewer accidentals."""
    pitch = (pitch_class(key.tonic) + semitones) % 12
    flat = Key(note_name(pitch, flats=True), key.mode)
    return flat if uses_flats(flat) else Key(note_name(pitch, flats=False), key.mode)
