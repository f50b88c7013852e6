"""The motif: a theme of two bars that is drawn by the seed and independent of the key."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from segue_music.elements import Motif, MotifNote
from segue_music.timing import ticks_per_bar, ticks_per_beat

if TYPE_CHECKING:
    from segue_music.elements import Metre


def random_of(seed: int) -> random.Random:
    """Return a piece's random numbers; a seed gives the same ones on every machine."""
    return random.Random(f"segue/plan/{seed}")  # noqa: S311  music, not secrets


def make_motif(metre: Metre, chance: random.Random) -> Motif:
    """Draw a theme of two bars: mostly steps, one leap, a rest, and a stable last degree."""
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
