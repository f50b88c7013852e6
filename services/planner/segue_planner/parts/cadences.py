"""Cadences: how a section's harmony closes, and the chords for it."""

from __future__ import annotations

import re
from typing import Final

from segue_music.elements import Key, Mode
from segue_music.plan import Cadence, Role
from segue_music.theory import MINOR_MODES

TONIC: Final = re.compile(r"^[iI](?![iIvV])")
DOMINANT: Final = re.compile(r"^V(?!I)")
NUMERAL_COLOUR: Final = re.compile(r"[79]")
MODAL: Final = frozenset({Mode.DORIAN, Mode.MIXOLYDIAN})
"""Modes without a major dominant: they close by the step from below."""


def choose_cadence(role: Role, following: Role | None, *, closes: Cadence, loops: bool) -> Cadence:
    """Return a section's cadence: open where it leads on, closed where a thought ends. `closes` is the genre's own."""
    if following is None:
        # A loop leads back to its beginning.
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


def cadence_chords(progression: tuple[str, ...], key: Key, cadence: Cadence) -> list[str]:
    """Return the chords of a cadence in the style of a progression: power chords, ninths and so on."""
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
    stated = [numeral for numeral in progression if DOMINANT.match(numeral)]
    if stated:
        return stated[-1]
    if any("bVII" in numeral for numeral in progression) and key.mode in MODAL:
        return next(numeral for numeral in progression if "bVII" in numeral)
    return "V7" if any(NUMERAL_COLOUR.search(numeral) for numeral in progression) else "V"
