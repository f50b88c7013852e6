"""Chords from roman numerals, with cadences and modulations, and the motif."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING, Final

from segue_music.elements import Chord, ChordQuality, Key, Mode, Motif, MotifNote
from segue_music.plan import Cadence, Role
from segue_music.theory import MINOR_MODES, note_name, pitch_class, uses_flats
from segue_music.timing import ticks_per_bar, ticks_per_beat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_music.elements import Metre

NUMERAL: Final = re.compile(r"^(?P<sign>[b#]?)(?P<numeral>[ivIV]+)(?P<suffix>.*)$")
TONIC: Final = re.compile(r"^[iI](?![iIvV])")
DOMINANT: Final = re.compile(r"^V(?!I)")
NUMERAL_COLOUR: Final = re.compile(r"[79]")
MODAL: Final = frozenset({Mode.DORIAN, Mode.MIXOLYDIAN})
"""Scales whose dominant is not theirs: they close by the step from below."""
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
}  # fmt: skip
LOOSE: Final = frozenset({Role.DEVELOPMENT, Role.BRIDGE, Role.BREAKDOWN})
"""Roles whose returns may begin elsewhere in their progression: nobody sings along there."""


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
    """Return the progression that a role takes of a genre's; where there is no third, the first begins in its middle.

    `count` says how often the role has come: later developments begin elsewhere.
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
    """Fill bars with a progression, a chord for each `chord_bars`, and close with a cadence in the progression's style.

    A half cadence before another key stands on that key's dominant: `leads_to`.
    """
    bar = ticks_per_bar(metre)
    numerals = [progression[index // chord_bars % len(progression)] for index in range(bars)]
    close = closing(progression, key, cadence)
    if close and bars >= 2:
        numerals[-len(close) :] = close
    elif cadence in {Cadence.AUTHENTIC, Cadence.PLAGAL} and close:
        numerals[-1] = close[-1]
    keys = [key] * bars
    if cadence == Cadence.HALF and leads_to is not None and close and bars >= 2:
        numerals[-1], keys[-1] = closing(progression, leads_to, cadence)[0], leads_to
    chords: list[Chord] = []
    for index, numeral in enumerate(numerals):
        chord = chord_of(numeral, keys[index], index * bar, bar)
        if chords and (chords[-1].root, chords[-1].quality) == (chord.root, chord.quality):
            last = chords.pop()
            chord = chord_of(numeral, keys[index], last.start_tick, last.ticks + bar)
        chords.append(chord)
    return tuple(chords)


def closing(progression: tuple[str, ...], key: Key, cadence: Cadence) -> list[str]:
    """Return the chords of a cadence as this music says them: power chords stay power chords, ninths stay ninths."""
    minor = key.mode in MINOR_MODES
    power = all(numeral.endswith("5") and not numeral.endswith("b5") for numeral in progression)
    tonic = next((each for each in progression if TONIC.match(each) and each[0].islower() == minor), "")
    tonic = tonic or (("i" if minor else "I") + ("5" if power else ""))
    dominant = _dominant(progression, key, power=power)
    if cadence == Cadence.AUTHENTIC:
        return [dominant, tonic]
    if cadence == Cadence.PLAGAL:
        return [("iv" if minor else "IV") + ("5" if power else ""), tonic]
    if cadence == Cadence.HALF:
        return [dominant]
    if cadence == Cadence.DECEPTIVE:
        return [dominant, ("bVI" if minor else "vi") + ("5" if power else "")]
    return []


def _dominant(progression: tuple[str, ...], key: Key, *, power: bool) -> str:
    if key.mode in {Mode.PHRYGIAN, Mode.LOCRIAN}:
        return "bII5" if power else "bII"
    if power:
        return "V5"
    said = [numeral for numeral in progression if DOMINANT.match(numeral)]
    if said:
        return said[-1]
    if any("bVII" in numeral for numeral in progression) and key.mode in MODAL:
        return next(numeral for numeral in progression if "bVII" in numeral)
    return "V7" if any(NUMERAL_COLOUR.search(numeral) for numeral in progression) else "V"


def cadence_for(role: Role, following: Role | None, *, closes: Cadence, loops: bool) -> Cadence:
    """Return how a section's harmony closes: open before what it leads to, shut where a thought ends."""
    if following is None:
        # A loop leads back to its own beginning.
        return Cadence.HALF if loops else closes
    if role == Role.RESOLUTION:
        return closes
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


def subdominant(key: Key) -> Key:
    """Return the key a fourth higher, in the same mode: where the middle of many standards stands."""
    pitch = (pitch_class(key.tonic) + 5) % 12
    return Key(note_name(pitch, flats=uses_flats(Key(note_name(pitch, flats=True), key.mode))), key.mode)


def raised(key: Key, semitones: int) -> Key:
    """Return a key some semitones higher, spelt with the fewer signs."""
    pitch = (pitch_class(key.tonic) + semitones) % 12
    flat = Key(note_name(pitch, flats=True), key.mode)
    return flat if uses_flats(flat) else Key(note_name(pitch, flats=False), key.mode)


def chance_of(seed: int) -> random.Random:
    """Return a piece's own source of chance: what is drawn from it is the same on every machine."""
    return random.Random(f"segue/plan/{seed}")  # noqa: S311  music, not secrets


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
