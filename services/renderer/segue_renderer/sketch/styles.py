"""What each genre sounds like in the band's hands: patterns, kit, room and colour. To add a genre, add an entry.

Patterns have sixteen marks, four for each quarter of a bar. Drums: level 1 to 9, "." rests. Chords: level, "-" holds.
Bass: R root, 3 third, 5 fifth, 6 sixth, 8 octave, a step into the next chord, r a soft root.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from segue_music.plan import LayerKind
from segue_renderer.sketch.kits import (
    BRUSH,
    CLAP,
    CLOSED_HAT,
    CONGA,
    HIGH_TOM,
    KICK,
    LOW_CONGA,
    LOW_TOM,
    MID_TOM,
    OPEN_HAT,
    RIDE,
    SHAKER,
    SIDE_STICK,
    SNARE,
    TAMBOURINE,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

RHYTHM, BASS, HARMONY, LEAD, TEXTURES, VOCALS = (
    LayerKind.RHYTHM, LayerKind.BASS, LayerKind.HARMONY, LayerKind.LEAD, LayerKind.TEXTURES, LayerKind.VOCALS,
)  # fmt: skip
TIMEKEEPERS: Final = frozenset({CLOSED_HAT, OPEN_HAT, SHAKER, RIDE, TAMBOURINE, BRUSH})

GROOVES: Final[Mapping[str, Mapping[int, str]]] = {
    "backbeat": {KICK: "9.....4.8.5.....", SNARE: "....8.......8..2", CLOSED_HAT: "6.4.6.4.6.4.6.4.",
                 OPEN_HAT: "..............2."},
    "rock": {KICK: "9..4..8.8.4.....", SNARE: "....9.......9...", CLOSED_HAT: "7.5.7.5.7.5.7.5.",
             OPEN_HAT: "..............3."},
    "boom_bap": {KICK: "9......5..8.....", SNARE: "....8..2....8..1", CLOSED_HAT: "6.4.5.3.6.4.5.34"},
    "four_on_the_floor": {KICK: "9...9...9...9...", CLAP: "....7.......7...", OPEN_HAT: "..6...6...6...6.",
                          CLOSED_HAT: "2212221222122213", SHAKER: "2131213121312131"},
    "swing": {RIDE: "7...6.4.7...6.4.", SIDE_STICK: "............3...", KICK: "4.......3.......",
              BRUSH: "4...6...4...6..."},
    "funk": {KICK: "9..6......7..5..", SNARE: "....8..2.2..8..3", CLOSED_HAT: "6353633563536353",
             TAMBOURINE: "....3.......3..."},
    "breakbeat": {KICK: "9.7.......5.....", SNARE: "....8..3.3..8..3", CLOSED_HAT: "6.4.6.4.6.4.6.4.",
                  RIDE: "2...2...2...2..."},
    "shaker": {SHAKER: "5243624352436243", KICK: "6.......5.......", TAMBOURINE: "....4.......4..."},
    "toms": {LOW_TOM: "9.....5.7.....5.", MID_TOM: "...4........4.5.", HIGH_TOM: "..............3.",
             KICK: "8.......7......."},
    "one_drop": {KICK: "........8.......", SIDE_STICK: "........7.......", CLOSED_HAT: "5.4.6.4.5.4.6.4.",
                 CONGA: "......2.......3.", LOW_CONGA: "...............2"},
    "shuffle": {KICK: "9.......8.....4.", SNARE: "....8.......8...", RIDE: "7...5.5.7...5.5."},
    "trap": {KICK: "9......6..7.....", CLAP: "........8.......", CLOSED_HAT: "6.4.5.4.6.4.5445",
             OPEN_HAT: "......2........."},
    "none": {},
}  # fmt: skip
CHORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "sustain": ("8---------------",),
    "quarters": ("8---6---7---6---", "8---6---7---6-5-"),
    "lazy": ("7---------5-----", "7-----5---------", "7-------..6-----"),
    "charleston": ("7-----5---......", "..6-......6-----", "7---..5-......6-"),
    "stabs": ("..7...7...7..7..", "7..6..7...6..7.."),
    "skank": ("..7...7...7...7.",),
    "funk": ("7..5..6...5..6..", "..6.7..5....6.5."),
    "chug": ("9-7-7-7-8-7-7-7-", "9-7-7-8---7-7-7-"),
    "strum": ("8---6-5-..5-6-5-", "8---6-5-7-5-6-5-"),
    "figure": ("8-6-7-6-8-6-7-6-",),
    "ostinato": ("8-5-6-5-7-5-6-5-",),
    "pulse": ("7..7..7...7..7..", "7..7..7..7..7.7."),
    "boogie": ("8---..6-8---..6-", "8---6---8---6-5-"),
}  # fmt: skip
BASSES: Final[Mapping[str, tuple[str, ...]]] = {
    "hold": ("R---------------",),
    "two": ("R-------5-------", "R-------5-----a-"),
    "pop": ("R-----R-R---R-5-", "R-----R-R---5-a-"),
    "eighths": ("R-R-R-R-R-R-R-R-", "R-R-R-R-R-R-5-a-"),
    "octaves": ("R-8-R-8-R-8-R-8-", "R-8-R-8-R-8-5-a-"),
    "offbeat": ("..R-..R-..R-..8-", "..R-..R-..R-.R8-"),
    "rolling": (".RRR.RRR.RRR.RR8", ".RRR.RRR.RRR.R8R"),
    "lazy": ("R-----R-5-------", "R-----..R---..a-"),
    "boom": ("R---....R-..R---", "R------R--5---a-"),
    "funk": ("R..R..8.r.5.R.a-", "R.r5..8...R.5.a-"),
    "deep": ("R-------....R---", "R-----..R---5-a-"),
    "dub": ("R---..R-5-R-....", "..R-R-..5-R-..a-"),
    "boogie": ("R---3---5---6---", "R---3---5---a---"),
    "walk": ("R---3---5---a---", "R---5---3---a---", "R---6---5---a---"),
}
CALM_CHORDS: Final = "sustain"
CALM_BASS: Final = "hold"


@dataclass(frozen=True)
class Style:
    """How a genre is played."""

    kit: str = "acoustic"
    chords: str = "quarters"
    bass: str = "pop"
    room_s: float = 1.1
    damping: float = 0.35
    echo: float = 0.0
    """How much of the lead goes into repeats of a dotted eighth."""
    duck: float = 0.0
    """How deep the kick pushes the others down, 0 to 1."""
    crackle: float = 0.0
    loose_ms: float = 4.0
    """How far players stray from the grid."""
    gains_db: Mapping[LayerKind, float] = field(default_factory=dict)
    voices: Mapping[str, str] = field(default_factory=dict)
    """Voices that stand in for others here, as "clean guitar" -> "drive guitar"."""
    answers: bool = True
    """Whether textures answer the lead in its rests."""


STYLES: Final[Mapping[str, Style]] = {
    "lofi": Style("dusty", "lazy", "lazy", 0.9, 0.6, crackle=0.5, loose_ms=9.0, gains_db={RHYTHM: -1.0, LEAD: -1.0}),
    "pop": Style("acoustic", "quarters", "pop", 1.0, echo=0.15),
    "rock": Style("acoustic", "chug", "eighths", 0.8, gains_db={RHYTHM: 1.5, HARMONY: 1.0},
                  voices={"clean guitar": "drive guitar"}),
    "house": Style("machine", "stabs", "offbeat", 1.2, echo=0.25, duck=0.55, loose_ms=1.0, gains_db={RHYTHM: 2.0}),
    "techno": Style("machine", "pulse", "rolling", 1.3, echo=0.35, duck=0.5, loose_ms=0.5,
                    gains_db={RHYTHM: 2.5, HARMONY: -1.0}),
    "synthwave": Style("gated", "sustain", "octaves", 1.5, echo=0.3, duck=0.2, loose_ms=1.0, gains_db={RHYTHM: 1.0}),
    "ambient": Style("orchestral", "sustain", "hold", 3.2, 0.45, echo=0.45, loose_ms=8.0, gains_db={TEXTURES: 1.0}),
    "jazz": Style("acoustic", "charleston", "walk", 1.0, 0.5, loose_ms=8.0, gains_db={RHYTHM: -1.0, BASS: 1.0}),
    "funk": Style("acoustic", "funk", "funk", 0.7, 0.5, loose_ms=3.0, gains_db={RHYTHM: 1.0, BASS: 1.0}),
    "hiphop": Style("deep", "lazy", "boom", 0.9, 0.5, echo=0.2, loose_ms=5.0, gains_db={RHYTHM: 1.5, BASS: 1.0}),
    "dnb": Style("machine", "sustain", "deep", 1.3, echo=0.3, duck=0.25, loose_ms=1.0,
                 gains_db={RHYTHM: 2.5, BASS: 1.0}),
    "folk": Style("acoustic", "strum", "two", 1.0, 0.5, loose_ms=7.0, gains_db={RHYTHM: -2.0}),
    "classical": Style("orchestral", "figure", "hold", 2.2, 0.4, loose_ms=9.0),
    "cinematic": Style("orchestral", "ostinato", "hold", 2.8, 0.35, echo=0.1, loose_ms=6.0, gains_db={RHYTHM: 1.0}),
    "reggae": Style("acoustic", "skank", "dub", 1.2, 0.5, echo=0.35, loose_ms=6.0, gains_db={BASS: 2.0}),
    "blues": Style("acoustic", "boogie", "boogie", 1.0, 0.5, loose_ms=7.0),
}  # fmt: skip
DEFAULT_STYLE: Final = Style()


def style_for(genre: str) -> Style:
    """Return how a genre is played; one that nobody wrote down is played plainly."""
    return STYLES.get(genre, DEFAULT_STYLE)
