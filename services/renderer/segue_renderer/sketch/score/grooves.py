"""Drum patterns: the grooves of plans, variants of them for genres, and patterns of single drums.

A pattern has sixteen marks for a bar, four for each quarter; thirty-two marks are two bars in turn. A digit is a level
from 1 to 9, "." rests. To add a groove, add an entry and name it in a style.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from segue_renderer.sketch.tables.kits import (
    BONGO,
    BRUSH,
    CASTANETS,
    CLAP,
    CLAVES,
    CLOSED_HAT,
    CONGA,
    COWBELL,
    GONG,
    HIGH_TOM,
    KICK,
    LOW_BONGO,
    LOW_CONGA,
    LOW_TIMBALE,
    LOW_TOM,
    MID_TOM,
    OPEN_HAT,
    RIDE,
    SHAKER,
    SIDE_STICK,
    SNAP,
    SNARE,
    TAIKO,
    TAMBOURINE,
    TIMBALE,
    TIMPANI,
    TRIANGLE,
    WOODBLOCK,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    Pattern = Mapping[int, str]

TIMEKEEPERS: Final = frozenset({CLOSED_HAT, OPEN_HAT, SHAKER, RIDE, TAMBOURINE, BRUSH, BONGO})
FOUR: Final = "9...9...9...9..."
BACK: Final = "....8.......8..."
EIGHTHS: Final = "6.4.6.4.6.4.6.4."

GROOVES: Final[Mapping[str, Pattern]] = {
    "backbeat": {KICK: "9.....4.8.5.....9..4....8.5...4.", SNARE: "....8.......8..2....8..2....8...",
                 CLOSED_HAT: EIGHTHS, OPEN_HAT: "..............2."},
    "rock": {KICK: "9..4..8.8.4.....9..4..8.8.8.....", SNARE: "....9.......9...", CLOSED_HAT: "7.5.7.5.7.5.7.5.",
             OPEN_HAT: "..............................3."},
    "boom_bap": {KICK: "9......5..8.....9.5....5..8..4..", SNARE: "....8..2....8..1....8.......8.2.",
                 CLOSED_HAT: "6.4.5.3.6.4.5.346.4.5.346.4.5.3."},
    "four_on_the_floor": {KICK: FOUR, CLAP: "....7.......7...", OPEN_HAT: "..6...6...6...6.",
                          CLOSED_HAT: "2212221222122213", SHAKER: "2131213121312131"},
    "swing": {RIDE: "7...6.4.7...6.4.", SIDE_STICK: "............3...............3.2.",
              KICK: "4.......3.......4.......3...2...", BRUSH: "4...6...4...6..."},
    "funk": {KICK: "9.....6.8.....5.9..5..6.8..5....", SNARE: "....9..2.2..9..2....9..2.2.29...",
             CLOSED_HAT: "7252725272527252", TAMBOURINE: "....3.......3..."},
    "breakbeat": {KICK: "9.........7.....9.2.......7.....", SNARE: "....9..2....9.......9..2....9.2.",
                  CLOSED_HAT: "7.4.7.4.7.4.7.4.", RIDE: "2...2...2...2..."},
    "shaker": {SHAKER: "5243624352436243", KICK: "6.......5.......", TAMBOURINE: "....4.......4..."},
    "toms": {LOW_TOM: "9.....5.7.....5.9...5.5.7.....5.", MID_TOM: "...4........4.5....4..4.....4.5.",
             HIGH_TOM: "..............3................4", KICK: "8.......7......."},
    "one_drop": {KICK: "........8.......", SIDE_STICK: "........7...............7.....3.",
                 CLOSED_HAT: "5.4.6.4.5.4.6.4.", CONGA: "......2.......3.", LOW_CONGA: "...............2"},
    "shuffle": {KICK: "9.......8.....4.9.....4.8.......", SNARE: BACK, RIDE: "7...5.5.7...5.5."},
    "trap": {KICK: "9......6..7.....9..5...6......7.", CLAP: "........8.......",
             CLOSED_HAT: "6.4.5.4.6.4.54456.4.5.446.4.5555", OPEN_HAT: "......2........."},
    "none": {},
    # Variants that genres use instead.
    "disco": {KICK: FOUR, SNARE: BACK, OPEN_HAT: "..6...6...6...6.", CLOSED_HAT: "5.2.5.2.5.2.5.2.",
              TAMBOURINE: "..3...5...3...5."},
    "techno": {KICK: FOUR, CLAP: "............5...............5..3", OPEN_HAT: "..6...6...6...6.",
               CLOSED_HAT: "3253325332533253", LOW_TOM: "......3..4............3..4....3."},
    "trance": {KICK: FOUR, CLAP: "....7.......7...", OPEN_HAT: "..7...7...7...7.", CLOSED_HAT: "4.3.4.3.4.3.4.3.",
               RIDE: "...............3"},
    "punk": {KICK: "9.....8.9.8.....9..8..8.9.8.....", SNARE: "....9.......9...", RIDE: "6.4.6.4.6.4.6.4."},
    "metal": {KICK: "9.889.889.889.889.9.9.9.9.889.88", SNARE: "....9.......9...", RIDE: "7...6...7...6..."},
    "ska": {KICK: "8.......8.......8.....4.8.......", SNARE: "....8.......8...", CLOSED_HAT: "3.7.3.7.3.7.3.7."},
    "soul": {KICK: "9.....5...8.....9.....5.4.8.....", SNARE: "....8..2.2..8.......8..2.2..8..3",
             CLOSED_HAT: EIGHTHS, TAMBOURINE: "....5.......5..."},
    "dubstep": {KICK: "9.........5.....9.....5.......4.", SNARE: "........9.......", CLOSED_HAT: "5...4...5...4.4.",
                OPEN_HAT: "......3.......3."},
    "gated": {KICK: "9.......9.4.....9.....4.9.......", SNARE: BACK, CLOSED_HAT: "5353535353535353"},
    "chip": {KICK: "9.....6.8.......9.....6.8.6.....", SNARE: "....8.......8.......8.......8.55",
             CLOSED_HAT: "6.3.6.3.6.3.6.3."},
    "bossa": {SHAKER: "5343534353435343", SIDE_STICK: "7.....7.....7.......7.....7.....", KICK: "6.....5.6.....5."},
    "bodhran": {LOW_CONGA: "8..4..6.8..4.45.8..4..6.8.4.6.5.", SHAKER: "4.2.4.2.4.2.4.2."},
    "train": {BRUSH: "4464446444644464", KICK: "8.......8.......", SIDE_STICK: "....3.......3..."},
    "tumbao": {CONGA: "4.6.3.7.4.6.....", LOW_CONGA: "............7.7.", CLAVES: "........7...7...7.....7.....7...",
               COWBELL: "6...4...6...4...", SHAKER: "3.2.3.2.3.2.3.2.", KICK: "6.....5.6.....5."},
    "afrobeat": {KICK: "9.....4.8.......9..4....8.4.....", SNARE: "....6....2..6..3", SHAKER: "6352635263526352",
                 CLAVES: "6..6..6...6.6...", CONGA: "..4...6.4...6.66", CLOSED_HAT: "..4...4...4...4."},
}  # fmt: skip
# Patterns of drums that the plan names; several drums play together.
ALONE: Final[Mapping[str, Pattern]] = {
    "double kick": {KICK: "9.889.889.889.889.9.9.9.9.889.88"},
    "kick": {KICK: "9.....6.8......."},
    "snare": {SNARE: "7..37.3.7..37.33"},
    "hi-hats": {CLOSED_HAT: EIGHTHS, OPEN_HAT: "..............3."},
    "cymbals": {RIDE: "7.4.6.4.7.4.6.4."},
    "toms": GROOVES["toms"],
    "taiko": {TAIKO: "9..5..7.9.5.7...9..5..7.9.5.7.77", LOW_TOM: "....4.......4..."},
    "timpani": {TIMPANI: "8.......6.......8.......6...4.5."},
    "congas": {CONGA: "4.6.3.7.4.6.....", LOW_CONGA: "............7.7."},
    "bongos": {BONGO: "7.4.5.4.7.4.5.4.", LOW_BONGO: "......6.......6."},
    "timbales": {TIMBALE: "7.4.74.47.4.74.4", LOW_TIMBALE: "............6.6."},
    "djembe": {LOW_CONGA: "8.......8.5.....", CONGA: "..5.7.55..5.7.5."},
    "cajon": {KICK: "8.....5.8.......", SIDE_STICK: "....7..3....7.3."},
    "tabla": {BONGO: "7.36.37.36.37.36", LOW_CONGA: "8.......6.....5."},
    "shaker": GROOVES["shaker"],
    "tambourine": {TAMBOURINE: "5.4.7.4.5.4.7.4."},
    "handclaps": {CLAP: "....7.......7..."},
    "finger snaps": {SNAP: "....7.......7..."},
    "cowbell": {COWBELL: "7...5...7...5..."},
    "woodblock": {WOODBLOCK: "7..6..6...6.6..."},
    "triangle": {TRIANGLE: "6.....4.......4."},
    "castanets": {CASTANETS: "7..446..7.4.6..."},
    "gong": {GONG: "7..............................."},
}  # fmt: skip
WHOLE_KITS: Final = ("drum", "percussion", "beat")


def pattern_of(groove: str, instruments: tuple[str, ...], readings: Mapping[str, str]) -> Pattern:
    """Return the drum pattern: the genre's variant of the groove, or the patterns of the named drums."""
    alone = [ALONE[name] for name in instruments if name in ALONE]
    brushed = any("brush" in name for name in instruments)
    if alone and not brushed and not any(word in name for name in instruments for word in WHOLE_KITS):
        # The genre's variant of a shaker has more drums: a bossa's shaker comes with its clave.
        own = readings.get("shaker", "") if "shaker" in instruments and groove == "shaker" else ""
        found = dict(GROOVES[own]) if own else {}
        for pattern in alone:
            found.update({drum: marks for drum, marks in pattern.items() if drum not in found})
        return found
    name = "swing" if brushed else readings.get(groove, groove)
    kit = GROOVES.get(name, GROOVES["backbeat"])
    added = {drum: marks for each in alone for drum, marks in each.items() if drum not in kit}
    if "double kick" in instruments:
        added |= ALONE["double kick"]
    return {**(kit or GROOVES["shaker"]), **added}


def marks_of(pattern: str, bar: int) -> str:
    """Return the sixteen marks of a bar, from a pattern of one or two bars."""
    return pattern[16:] if len(pattern) == 32 and bar % 2 else pattern[:16]
