"""Chords of a section from roman numerals, closed by a cadence."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from segue_music.elements import Chord, ChordQuality, Key
from segue_music.plan import Cadence, Role
from segue_music.theory import note_name, pitch_class, uses_flats
from segue_music.timing import ticks_per_bar
from segue_planner.parts.cadences import cadence_chords

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_music.elements import Metre

NUMERAL: Final = re.compile(r"^(?P<sign>[b#]?)(?P<numeral>[ivIV]+)(?P<suffix>.*)$")
Q = ChordQuality
STEPS: Final = {"i": 0, "ii": 2, "iii": 4, "iv": 5, "v": 7, "vi": 9, "vii": 11}
MAJOR_SUFFIX: Final = {
    "": Q.MAJOR, "7": Q.DOMINANT_SEVENTH, "maj7": Q.MAJOR_SEVENTH, "9": Q.DOMINANT_NINTH, "maj9": Q.MAJOR_NINTH,
    "6": Q.SIXTH, "sus4": Q.SUSPENDED_FOURTH, "sus2": Q.SUSPENDED_SECOND, "5": Q.POWER, "add9": Q.ADDED_NINTH,
    "7sus4": Q.DOMINANT_SEVENTH_SUSPENDED, "aug": Q.AUGMENTED,
}  # fmt: skip
MINOR_SUFFIX: Final = {
    "": Q.MINOR, "7": Q.MINOR_SEVENTH, "9": Q.MINOR_NINTH, "6": Q.MINOR_SIXTH, "7b5": Q.HALF_DIMINISHED,
    "dim": Q.DIMINISHED, "dim7": Q.DIMINISHED_SEVENTH, "5": Q.POWER, "maj7": Q.MINOR_MAJOR_SEVENTH,
}  # fmt: skip
# The number of the genre's progression that a role uses.
PROGRESSION: Final = {
    Role.CHORUS: 1, Role.DROP: 1, Role.RESOLUTION: 1, Role.BRIDGE: 2, Role.DEVELOPMENT: 2, Role.PRE_CHORUS: 2,
}  # fmt: skip
LOOSE: Final = frozenset({Role.DEVELOPMENT, Role.BRIDGE, Role.BREAKDOWN})
"""Roles whose returns may begin at another chord of their progression."""


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


def choose_progression(progressions: Sequence[tuple[str, ...]], role: Role, count: int = 1) -> tuple[str, ...]:
    """Return the progression for a role. A genre with too few progressions begins one of them in its middle.

    `count` is the number of the role's occurrence: later developments begin at another chord.
    """
    wanted = PROGRESSION.get(role, 0)
    found = progressions[wanted % len(progressions)]
    turn = 0
    if len(found) % 2 == 0 and len(found) <= 8:
        turn = len(found) // 2 if wanted >= len(progressions) else 0
        turn += (count - 1) * (len(found) // 2) if role in LOOSE else 0
        turn %= len(found)
    return found[turn:] + found[:turn]


def fill_chords(
    progression: tuple[str, ...],
    key: Key,
    metre: Metre,
    bars: int,
    cadence: Cadence,
    chord_bars: int = 1,
    *,
    leads_to: Key | None = None,
) -> tuple[Chord, ...]:
    """Fill bars with a progression, one chord for `chord_bars` bars, and close with a cadence in its style.

    `leads_to` is the key of the next section, when it differs: a half cadence then ends on that key's dominant.
    """
    bar = ticks_per_bar(metre)
    numerals = [progression[index // chord_bars % len(progression)] for index in range(bars)]
    close = cadence_chords(progression, key, cadence)
    if close and bars >= 2:
        numerals[-len(close) :] = close
    elif cadence in {Cadence.AUTHENTIC, Cadence.PLAGAL} and close:
        numerals[-1] = close[-1]
    keys = [key] * bars
    if cadence == Cadence.HALF and leads_to is not None and close and bars >= 2:
        numerals[-1], keys[-1] = cadence_chords(progression, leads_to, cadence)[0], leads_to
    chords: list[Chord] = []
    for index, numeral in enumerate(numerals):
        chord = chord_of(numeral, keys[index], index * bar, bar)
        if chords and (chords[-1].root, chords[-1].quality) == (chord.root, chord.quality):
            last = chords.pop()
            chord = chord_of(numeral, keys[index], last.start_tick, last.ticks + bar)
        chords.append(chord)
    return tuple(chords)
