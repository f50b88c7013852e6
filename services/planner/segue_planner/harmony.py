"""Chords from roman numerals, with cadences and modulations, and the motif."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from segue_music.plan import Cadence, Chord, ChordQuality, Key, Mode, Motif, MotifNote, Role
from segue_music.theory import MINOR_MODES, note_name, pitch_class, uses_flats
from segue_music.timing import ticks_per_bar, ticks_per_beat

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from segue_music.plan import Metre

NUMERAL: Final = re.compile(r"^(?P<sign>[b#]?)(?P<numeral>[ivIV]+)(?P<suffix>.*)$")
STEPS: Final = {"i": 0, "ii": 2, "iii": 4, "iv": 5, "v": 7, "vi": 9, "vii": 11}
Q = ChordQuality
MAJOR_SUFFIX: Final = {
    "": Q.MAJOR, "7": Q.DOMINANT_SEVENTH, "maj7": Q.MAJOR_SEVENTH, "9": Q.DOMINANT_NINTH, "maj9": Q.MAJOR_NINTH,
    "6": Q.SIXTH, "sus4": Q.SUSPENDED_FOURTH, "sus2": Q.SUSPENDED_SECOND, "5": Q.POWER, "add9": Q.ADDED_NINTH,
    "7sus4": Q.DOMINANT_SEVENTH_SUSPENDED, "aug": Q.AUGMENTED,
}  # fmt: skip
MINOR_SUFFIX: Final = {
    "": Q.MINOR, "7": Q.MINOR_SEVENTH, "9": Q.MINOR_NINTH, "6": Q.MINOR_SIXTH, "7b5": Q.HALF_DIMINISHED,
    "dim": Q.DIMINISHED, "dim7": Q.DIMINISHED_SEVENTH, "5": Q.POWER, "maj7": Q.MINOR_MAJOR_SEVENTH,
}  # fmt: skip
# Which of a genre's progressions a role takes.
PROGRESSION: Final = {
    Role.CHORUS: 1, Role.DROP: 1, Role.RESOLUTION: 1, Role.BRIDGE: 2, Role.DEVELOPMENT: 2, Role.PRE_CHORUS: 2,
    Role.BREAKDOWN: 2,
}  # fmt: skip


def chord_of(numeral: str, key: Key, start_tick: int, ticks: int) -> Chord:
    """Return the chord that a roman numeral names in a key."""
    match = NUMERAL.match(numeral)
    if match is None or match["numeral"].lower() not in STEPS:
        message = f"{numeral!r} is not a roman numeral"
        raise ValueError(message)
    sign = {"b": -1, "#": 1}.get(match["sign"], 0)
    pitch = pitch_class(key.tonic) + STEPS[match["numeral"].lower()] + sign
    suffixes = MINOR_SUFFIX if match["numeral"].islower() else MAJOR_SUFFIX
    return Chord(
        root=note_name(pitch, flats=uses_flats(key) or sign < 0),
        quality=suffixes[match["suffix"]],
        start_tick=start_tick,
        ticks=ticks,
    )


def choose_progression(progressions: Sequence[tuple[str, ...]], role: Role) -> tuple[str, ...]:
    """Return the progression that a role takes of a genre's."""
    return progressions[PROGRESSION.get(role, 0) % len(progressions)]


def fill_chords(
    progression: tuple[str, ...], key: Key, metre: Metre, bars: int, cadence: Cadence, chord_bars: int = 1
) -> tuple[Chord, ...]:
    """Fill bars with a progression, a chord for each `chord_bars`, and close with a cadence."""
    bar = ticks_per_bar(metre)
    numerals = [progression[index // chord_bars % len(progression)] for index in range(bars)]
    close = _closing(key, cadence)
    if close and bars >= 2:
        numerals[-len(close) :] = close
    elif cadence in {Cadence.AUTHENTIC, Cadence.PLAGAL} and close:
        numerals[-1] = close[-1]
    chords: list[Chord] = []
    for index, numeral in enumerate(numerals):
        if chords and numerals[index - 1] == numeral:
            last = chords.pop()
            chords.append(chord_of(numeral, key, last.start_tick, last.ticks + bar))
        else:
            chords.append(chord_of(numeral, key, index * bar, bar))
    return tuple(chords)


def _closing(key: Key, cadence: Cadence) -> list[str]:
    minor = key.mode in MINOR_MODES
    tonic = "i" if minor else "I"
    if cadence == Cadence.AUTHENTIC:
        return ["V7", tonic]
    if cadence == Cadence.PLAGAL:
        return ["iv" if minor else "IV", tonic]
    if cadence == Cadence.HALF:
        return ["V7"]
    if cadence == Cadence.DECEPTIVE:
        return ["V7", "bVI" if minor else "vi"]
    return []


def cadence_for(role: Role, following: Role | None, *, closes: Cadence, loops: bool) -> Cadence:
    """Return how a section's harmony closes: open before what it leads to, shut where a thought ends."""
    if following is None:
        # A loop leads back to its own beginning.
        return Cadence.HALF if loops else closes
    if role in {Role.PRE_CHORUS, Role.BRIDGE, Role.BREAKDOWN, Role.DEVELOPMENT, Role.INTRO}:
        return Cadence.HALF
    if role == Role.CHORUS and following in {Role.BRIDGE, Role.BREAKDOWN, Role.SOLO}:
        return Cadence.DECEPTIVE
    if following in {Role.OUTRO, Role.RESOLUTION}:
        return Cadence.DECEPTIVE if role in {Role.CHORUS, Role.MOTIF} else Cadence.HALF
    return Cadence.UNSPECIFIED


def relative(key: Key) -> Key:
    """Return the relative major of a minor key, and the relative minor of a major one."""
    minor = key.mode in MINOR_MODES
    pitch = pitch_class(key.tonic) + (3 if minor else -3)
    mode = Mode.MAJOR if minor else Mode.MINOR
    return Key(note_name(pitch, flats=uses_flats(key)), mode)


def raised(key: Key, semitones: int) -> Key:
    """Return a key some semitones higher, spelt with the fewer signs."""
    pitch = (pitch_class(key.tonic) + semitones) % 12
    flat = Key(note_name(pitch, flats=True), key.mode)
    return flat if uses_flats(flat) else Key(note_name(pitch, flats=False), key.mode)


def make_motif(metre: Metre, chance: random.Random) -> Motif:
    """Draw a theme of two bars: mostly steps, one leap, room to breathe, closing on a stable degree."""
    beat, bar = ticks_per_beat(metre), ticks_per_bar(metre)
    total = bar * 2
    degree = chance.choice((0, 2, 4))
    notes: list[MotifNote] = []
    tick = 0
    leap_at = chance.randrange(1, 4)
    while tick < total - bar // 2:
        length = chance.choice((beat // 2, beat // 2, beat, beat, beat + beat // 2))
        length = min(length, total - tick)
        notes.append(MotifNote(tick, max(1, length * 9 // 10), degree))
        tick += length
        if len(notes) == leap_at:
            degree += chance.choice((-4, -3, 3, 4))
        else:
            degree += chance.choice((-1, -1, 1, 1, 0, 2, -2))
        degree = min(9, max(-2, degree))
        if len(notes) >= 10:
            break
    stable = min((0, 2, 4, 7), key=lambda target: abs(target - degree))
    if tick < total:
        notes.append(MotifNote(tick, total - tick, stable))
    return Motif(tuple(notes), total)
