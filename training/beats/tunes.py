"""Traditional melodies without copyright, written down for this project: degrees of the scale and lengths in beats.

A note is a degree (`,` an octave down, `'` up, `0` a rest), a colon and its length; without a length it is one.
"""

# pyright: basic

from __future__ import annotations

from typing import Final, NamedTuple


class Tune(NamedTuple):
    """A melody."""

    beats_per_bar: int
    upbeat: float
    minor: bool
    notes: tuple[tuple[int | None, float], ...]


def _tune(beats_per_bar: int, upbeat: float, text: str, *, minor: bool = False, unit: float = 1.0) -> Tune:
    return Tune(beats_per_bar, upbeat, minor, tuple(_note(word, unit) for word in text.split()))


def _note(word: str, unit: float) -> tuple[int | None, float]:
    name, _, length = word.partition(":")
    beats = float(length or 1) * unit
    if name == "0":
        return None, beats
    octave = name.count("'") - name.count(",")
    return int(name.strip(",'")) - 1 + 7 * octave, beats


# In compound metres the texts count eighths, three of which are a beat.
_EIGHTH: Final = 1 / 3

TUNES: Final[dict[str, dict[str, Tune]]] = {
    "train": {
        "joy": _tune(
            4,
            0,
            "3 3 4 5 5 4 3 2 1 1 2 3 3:1.5 2:.5 2:2 3 3 4 5 5 4 3 2 1 1 2 3 2:1.5 1:.5 1:2 2 2 3 1 2 3:.5 4:.5 3 1 2 3:.5 4:.5 3 2 1 2 5,:2 3 3 4 5 5 4 3 2 1 1 2 3 2:1.5 1:.5 1:2",
        ),
        "star": _tune(
            4, 0, "1 1 5 5 6 6 5:2 4 4 3 3 2 2 1:2 5 5 4 4 3 3 2:2 5 5 4 4 3 3 2:2 1 1 5 5 6 6 5:2 4 4 3 3 2 2 1:2"
        ),
        "bridge": _tune(4, 0, "5:1.5 6:.5 5 4 3 4 5:2 2 3 4:2 3 4 5:2 5:1.5 6:.5 5 4 3 4 5:2 2:2 5:2 3 1:3"),
        "brother": _tune(
            4, 0, "1 2 3 1 1 2 3 1 3 4 5:2 3 4 5:2 5:.5 6:.5 5:.5 4:.5 3 1 5:.5 6:.5 5:.5 4:.5 3 1 1 5, 1:2 1 5, 1:2"
        ),
        "lang_syne": _tune(
            4,
            1,
            "5, 1:1.5 1:.5 1 3 2:1.5 1:.5 2 3:.5 2:.5 1:1.5 1:.5 3 5 6:3 6 5:1.5 3:.5 3 1 2:1.5 1:.5 2 3:.5 2:.5 1:1.5 6,:.5 6, 5, 1:3",
        ),
        "yankee": _tune(2, 0, "1 1 2 3 1 3 2 5, 1 1 2 3 1:2 7,:2 1 1 2 3 4 3 2 1 7, 5, 6, 7, 1:2 1:2", unit=0.5),
        "green": _tune(
            2,
            _EIGHTH,
            "1 3:2 4 5:1.5 6:.5 5 4:2 2 7,:1.5 1:.5 2 3:2 1 1:1.5 7,:.5 1 2:2 7, 5,:2 1 3:2 4 5:1.5 6:.5 5 4:2 2 7,:1.5 1:.5 2 3:1.5 2:.5 1 7,:1.5 6,:.5 7, 1:3 1:2",
            minor=True,
            unit=_EIGHTH,
        ),
        "grace": _tune(
            3,
            1,
            "5, 1:2 3:.5 1:.5 3:2 2 1:2 6, 5,:2 5, 1:2 3:.5 1:.5 3:2 2 5:3 5:2 3 5:2 3:.5 1:.5 3:2 2 1:2 6, 5,:2 5, 1:2 3:.5 1:.5 3:2 2 1:3 1:2",
        ),
        "susanna": _tune(
            4,
            1,
            "1:.5 2:.5 3 5 5:1.5 6:.5 5 3 1:1.5 2:.5 3 3 2 1 2:3 1:.5 2:.5 3 5 5:1.5 6:.5 5 3 1:1.5 2:.5 3 3 2 2 1:3 0 4:2 4:2 6 6:2 6 5 5 3 1 2:3",
        ),
        "row": _tune(
            2, 0, "1:3 1:3 1:2 2 3:3 3:2 2 3:2 4 5:6 1' 1' 1' 5 5 5 3 3 3 1 1 1 5:2 4 3:2 2 1:6", unit=_EIGHTH
        ),
        "scarborough": _tune(
            3,
            0,
            "1:2 1 5:2 5 2:1.5 3:.5 2 1:3 0 5 7 1':2 7 5 6 4 5:3 0:2 1' 1':2 1' 7:2 5 5 4 3 2 7,:2 1:2 5 4:2 3 2 1 7, 1:3",
            minor=True,
        ),
        "clementine": _tune(
            3,
            1,
            "1:.75 1:.25 1 5, 3:.75 3:.25 3 1 1:.75 3:.25 5:1.5 5:.5 4:.75 3:.25 2:2 2:.75 3:.25 4 4 3:.75 2:.25 3 1 1:.75 3:.25 2:1.5 5,:.5 7,:.75 2:.25 1:2",
        ),
        "saints": _tune(
            4, 3, "1 3 4 5:5 1 3 4 5:5 1 3 4 5:2 3:2 1:2 3:2 2:5 3 3 2 1:3 1 3:2 5 5 5 4:4 3 4 5:2 3:2 1:2 2:2 1:4"
        ),
        "aura": _tune(
            4,
            0,
            "5,:.5 1:.5 7,:.5 1:.5 2 6, 2 1:.5 7,:.5 1:2 5,:.5 1:.5 7,:.5 1:.5 2 6, 2 1:.5 7,:.5 1:2 3:1.5 3:.5 3:.5 2:.5 1 3:1.5 3:.5 3:.5 2:.5 1 3 2:.5 1:.5 6, 1 5,:2 1:2",
        ),
        "drunken": _tune(
            2,
            0,
            "5 5:.5 5:.5 5 5:.5 5:.5 5 1 3 5 4 4:.5 4:.5 4 4:.5 4:.5 4 7, 2 4 5 5:.5 5:.5 5 5:.5 5:.5 5 6 7 1' 7 5 4 2 1:2 1:2",
            minor=True,
            unit=0.5,
        ),
    },
    "test": {
        "morning": _tune(
            3,
            0,
            "1 3 5 5:2 6:.5 6:.5 5:3 3 3 4:.5 2:.5 1:3 5 5 3 5 5:2 4 4 2 4:3 3 3 1 3:3 2 2 3:.5 4:.5 5:2 5 4 3 2 1:3",
        ),
        "silent": _tune(
            2,
            0,
            "5:1.5 6:.5 5 3:3 5:1.5 6:.5 5 3:3 2':2 2' 7:3 1':2 1' 5:3 6:2 6 1':1.5 7:.5 6 5:1.5 6:.5 5 3:3 6:2 6 1':1.5 7:.5 6 5:1.5 6:.5 5 3:3 2':2 2' 4':1.5 2':.5 7 1':3 3':3 1':1.5 5:.5 3 5:1.5 4:.5 2 1:6",
            unit=_EIGHTH,
        ),
        "macdonald": _tune(
            4,
            0,
            "1 1 1 5, 6, 6, 5,:2 3 3 2 2 1:3 5, 1 1 1 5, 6, 6, 5,:2 3 3 2 2 1:4 1:.5 1:.5 1 1:.5 1:.5 1 1:.5 1:.5 1:.5 1:.5 1 1 1 1 1 5, 6, 6, 5,:2 3 3 2 2 1:4",
        ),
        "ranger": _tune(
            4, 1, "5, 1:1.5 2:.5 3 1 6,:1.5 1:.5 5, 5, 1 1 2 2 3:3 5 5:1.5 3:.5 5 3 2 1 6, 5, 1:1.5 2:.5 3 2 1:3"
        ),
        "johnny": _tune(
            2,
            _EIGHTH,
            "1 1:1.5 2:.5 3 3:2 1 3:2 3 5:2 3 5:2 6 5:2 4 3:2 1 1:2 3 5:2 5 5:2 5 4:2 4 4:2 4 3:2 2 1:2 7, 1:3 1:2",
            minor=True,
            unit=_EIGHTH,
        ),
        "londonderry": _tune(
            4,
            1.5,
            "7,:.5 1:.5 2:.5 3:2 2:.5 3:.5 6:.5 5:.5 3:1 2:.5 1:.5 6,:2 0:.5 1:.5 3:.5 4:.5 5:2 6:.5 5:.5 3:.5 1:.5 2:3",
        ),
        "polly": _tune(
            3, 1, "1 1:2 2 3:2 4 5:2 6 5:2 3 4:2 2 7,:2 2 3:2 1 1:2 5 5:2 3 4:2 5 6:2 4 5:2 3 2:2 1 7,:2 2 1:3"
        ),
        "coventry": _tune(3, 0, "1 1 7, 1:2 3 2:2 1 7,:3 1 2 3 4:2 2 1:3 5 4 3 2 1 2 5,:3 1:3", minor=True),
    },
}
