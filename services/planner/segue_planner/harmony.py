"""Chords from roman numerals, with cadences, and the motif."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from segue_music.plan import Cadence, Chord, ChordQuality, Key, Motif, MotifNote, Role
from segue_music.theory import MINOR_MODES, note_name, pitch_class, uses_flats
from segue_music.timing import ticks_per_bar, ticks_per_beat

if TYPE_CHECKING:
    import random

    from segue_music.plan import Metre

NUMERAL: Final = re.compile(r"^(?P<sign>[b#]?)(?P<numeral>[ivIV]+)(?P<suffix>.*)$")
STEPS: Final = {"i": 0, "ii": 2, "iii": 4, "iv": 5, "v": 7, "vi": 9, "vii": 11}
Q = ChordQuality
MAJOR_SUFFIX: Final = {
    "": Q.MAJOR, "7": Q.DOMINANT_SEVENTH, "maj7": Q.MAJOR_SEVENTH, "9": Q.DOMINANT_NINTH, "maj9": Q.MAJOR_NINTH,
    "6": Q.SIXTH, "sus4": Q.SUSPENDED_FOURTH,
}  # fmt: skip
MINOR_SUFFIX: Final = {
    "": Q.MINOR, "7": Q.MINOR_SEVENTH, "9": Q.MINOR_NINTH, "6": Q.MINOR_SIXTH, "7b5": Q.HALF_DIMINISHED,
    "dim": Q.DIMINISHED,
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


def fill_chords(progression: tuple[str, ...], key: Key, metre: Metre, bars: int, cadence: Cadence) -> tuple[Chord, ...]:
    """Fill bars with a progression, a chord a bar, and close with a cadence."""
    bar = ticks_per_bar(metre)
    numerals = [progression[index % len(progression)] for index in range(bars)]
    close = _closing(key, cadence)
    if close and bars >= 2:
        numerals[-len(close) :] = close
    elif cadence == Cadence.AUTHENTIC:
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


def cadence_for(role: Role, *, last: bool) -> Cadence:
    """Return how a section's harmony closes."""
    if last:
        return Cadence.AUTHENTIC
    if role in {Role.PRE_CHORUS, Role.BRIDGE, Role.BREAKDOWN, Role.DEVELOPMENT}:
        return Cadence.HALF
    return Cadence.UNSPECIFIED


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
