"""Writes counter-lines: they move while the lead holds or rests, in the opposite direction, on the chords."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Final

from segue_renderer.sketch.score.melody.fitting import fit_to_chords
from segue_renderer.sketch.score.melody.notes import MelodyNote, is_strong

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_music.elements import Chord, Key
    from segue_renderer.sketch.score.grid import TickGrid

RANGE: Final = (57, 76)
BELOW: Final = 3
"""Semitones that the counter-line stays below the lead, where its range allows that."""


def counter_line(
    grid: TickGrid, key: Key, chords: Sequence[Chord], lead: Sequence[MelodyNote], *, ends: bool
) -> list[MelodyNote]:  # fmt: skip
    """Return a second voice below a lead; at the end of a piece it holds the last bar."""
    starts = [tone.tick for tone in lead]
    busy = set(starts)
    last = grid.end - grid.bar if ends else grid.end
    changes = {chord.start_tick for chord in chords}
    ticks = [
        tick
        for tick in range(0, grid.end, grid.beat)
        if tick <= last and (tick in changes or is_strong(grid, tick) or (tick not in busy and tick % (2 * grid.beat)))
    ]
    if not ticks or not lead:
        return []
    # The mirror of the lead in the middle between both ranges.
    axis = (sum(tone.pitch for tone in lead) / len(lead) + sum(RANGE) / 2) / 2
    tones = []
    for tick, end in zip(ticks, [*ticks[1:], grid.end], strict=True):
        above = lead[max(0, bisect_right(starts, tick) - 1)].pitch
        highest = max(RANGE[0] + 7, min(RANGE[1], above - BELOW))
        wanted = min(highest, max(RANGE[0], round(2 * axis - above)))
        tones.append(MelodyNote(tick, end - tick, 0, pitch=wanted, lowest=RANGE[0], highest=highest))
    return fit_to_chords(tones, grid, key, chords)
