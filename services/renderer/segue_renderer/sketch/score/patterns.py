"""Rhythms of chords and bass lines: sixteen marks a bar, four for each quarter. To add a pattern, add an entry.

Chords: a digit is a level from 1 to 9, "-" holds, "." rests. Bass: "R" root, "r" quiet root, "3" third, "5" fifth,
"6" sixth, "8" octave, "a" a step into the next chord, "b" and "c" two steps into the next bar. Patterns of several bars
take turns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

CHORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "sustain": ("8---------------",),
    "halves": ("8-------6-------", "8-------6-----5-"),
    "quarters": ("8---6---7---6---", "8---6---7---6-5-"),
    "ballad": ("8---5---7---5-5-", "8---5-5-7---5---"),
    "lazy": ("7---------5-----", "7-----5---------", "7-------..6-----"),
    "charleston": ("7-----5---......", "..6-......6-----", "7---..5-......6-"),
    "stabs": ("..7...7...7..7..", "7..6..7...6..7.."),
    "tresillo": ("7-----6-----5---", "7-----6-----5---", "7-----6-----5-5-"),
    "skank": ("..7...7...7...7.",),
    "offbeats": ("..8...8...8...8.", "..8...8...8..78."),
    "funk": ("7..5..6...5..6..", "..6.7..5....6.5."),
    "chug": ("9-7-7-7-8-7-7-7-", "9-7-7-8---7-7-7-"),
    "drive": ("9-8-8-8-9-8-8-8-", "9-8-8-8-9-8-9---"),
    "gallop": ("9-879-879-879-87", "9-879-8-9---8---"),
    "strum": ("8---6-5-..5-6-5-", "8---6-5-7-5-6-5-"),
    "chick": ("....7-......7-..", "....7-..5-..7-5-"),
    "figure": ("8-6-7-6-8-6-7-6-",),
    "broken": ("8---6---7---6---",),
    "ostinato": ("8-5-6-5-7-5-6-5-",),
    "pulse": ("..9..9....9..9..", "..9..9....9..9.9"),
    "boogie": ("8---..6-8---..6-", "8---6---8---6-5-"),
    "bossa": ("7--5--6---5-6---", "..6---5--6--5---"),
    "montuno": ("7.6.6.76.6.6.6.7", ".6.6.6.76.6.6.6."),
    "gospel": ("8---..6-7---6-..", "8-----7---6-7-5-"),
    "marcato": ("8-..7-..8-..7-..", "8-----8-----7-..", "8-..7-..8-..7-6-"),
    "afrobeat": ("..6.6...6..6....", "..6.6..6..6...6."),
    "run": ("8676867686768676",),
}
FIGURED: Final = frozenset({"figure", "broken", "run"})
"""Patterns that play broken chords, note by note."""
BASSES: Final[Mapping[str, tuple[str, ...]]] = {
    "hold": ("R---------------",),
    "fill": ("R-----R-R---b-c-",),
    "arco": ("R---------------", "R-------5-----a-", "R---------------", "R-------R---b-c-"),
    "two": ("R-------5-------", "R-------5-----a-"),
    "pop": ("R-----R-R---R-5-", "R-----R-R---5-a-"),
    "eighths": ("R-R-R-R-R-R-R-R-", "R-R-R-R-R-R-5-a-"),
    "octaves": ("R-8-R-8-R-8-R-8-", "R-8-R-8-R-8-5-a-"),
    "disco": ("R-8-R-8-R-8-R-8-", "R-8-r-8-5-8-3-a-"),
    "offbeat": ("..R-..R-..R-..8-", "..R-..R-..R-.R8-"),
    "rolling": (".RRR.RRR.RRR.RR8", ".RRR.RRR.RRR.R8R"),
    "lazy": ("R-----R-5-------", "R-----..R---..a-"),
    "boom": ("R---....R-..R---", "R------R--5---a-"),
    "funk": ("R..R..8.r.5.R.a-", "R.r5..8...R.5.a-"),
    "deep": ("R-------....R---", "R-----..R---5-a-"),
    "wobble": ("R---r-r-R---r-8-", "R---r-r-R-rrr-a-"),
    "dub": ("R---..R-5-R-....", "..R-R-..5-R-..a-"),
    "boogie": ("R---3---5---6---", "R---3---5---a---"),
    "walk": ("R---3---5---a---", "R---5---3---a---", "R---6---5---a---"),
    "soul": ("R-----r-3-5-..5-", "R--R..5-8-5-3-a-"),
    "bossa": ("R-----5-5-----R-", "R-----5-5-----a-"),
    "tumbao": ("R-----5-----8---", "..----5-----a---"),
    "tango": ("R---5---R---a---", "R-----5-----a---"),
    "afrobeat": ("R..R..5-..8.5...", "R..R..5-..3.5.a."),
    "gallop": ("R-RRR-RRR-RRR-RR", "R-RRR-RRR-RR5-a-"),
}
