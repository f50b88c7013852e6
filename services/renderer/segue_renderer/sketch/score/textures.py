"""Writes textures: pads, arpeggios, a second line that moves while the lead rests, and answers to the lead."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final, TypeAlias

from segue_music.theory import chord_classes
from segue_renderer.sketch.score import harmony
from segue_renderer.sketch.score.melody.notes import chord_at

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from segue_music.elements import Chord
    from segue_renderer.sketch.score.grid import TickGrid
    from segue_renderer.sketch.score.melody.notes import MelodyNote

TextureNote: TypeAlias = tuple[int, int, int, float]
"""Tick, ticks, pitch, level 1 to 9."""

RANGE: Final = (62, 84)
SECOND_RANGE: Final = (58, 79)


def into_range(pitch: int, within: tuple[int, int]) -> int:
    """Move a pitch by octaves into a range."""
    while pitch < within[0]:
        pitch += 12
    while pitch > within[1]:
        pitch -= 12
    return pitch


def pad(chords: Sequence[Chord]) -> Iterator[TextureNote]:
    """Hold the triad of every chord."""
    for start, pitches in harmony.triads(chords).items():
        chord = chord_at(chords, start)
        for pitch in sorted({into_range(each + 12, RANGE) for each in pitches}):
            yield start, chord.ticks, pitch, 5


def arpeggio(
    grid: TickGrid, chords: Sequence[Chord], tonic: int, energy: Sequence[float], turn: int, *, ends: bool
) -> Iterator[TextureNote]:
    """Play up and down each chord: faster with more energy, and only half a bar in quiet bars."""
    pitches_at = harmony.voicings(chords, tonic, has_bass=False)
    for bar in range(grid.bars):
        start = bar * grid.bar
        step = grid.beat // 4 if energy[bar] > 0.66 else grid.beat // 2
        until = start + (grid.bar if energy[bar] > 0.4 else grid.bar // 2)
        if ends and bar == grid.bars - 1:
            until = start + step
        for number, tick in enumerate(range(start, until, step)):
            high = sorted({into_range(each + 12, (62, 86)) for each in pitches_at[chord_at(chords, tick).start_tick]})
            yield tick, step * 3 // 2, high[walk(number + turn, len(high))], 6 if number % 4 == 0 else 4


def walk(number: int, count: int) -> int:
    """Return an index that goes up and down."""
    if count < 2:
        return 0
    place = number % (2 * count - 2)
    return place if place < count else 2 * count - 2 - place


def second_line(
    grid: TickGrid, chords: Sequence[Chord], tonic: int, lead: Sequence[MelodyNote], counter: Sequence[MelodyNote] = ()
) -> Iterator[TextureNote]:
    """Write two voices: a low one that stays on the tonic or the dominant, and a high one that moves while the lead
    does not. A counter-line replaces the high one.
    """
    for tone in counter:
        yield tone.tick, tone.ticks, tone.pitch, 6
    anchors = {tonic, (tonic + 7) % 12}
    attacks = sorted(tone.tick for tone in lead)
    high, low = 76, 69
    for chord in chords:
        classes = chord_classes(chord)
        high = _nearest(classes, high, (70, 83))
        held = [each for each in classes if each in anchors and any(p % 12 == each for p in range(62, high - 2))]
        low = _nearest(held or classes, low, (62, high - 3))
        yield chord.start_tick, chord.ticks, low, 5
        if counter:
            continue
        middle = chord.start_tick + chord.ticks // 2
        middle -= middle % grid.beat
        free = not any(middle - grid.beat // 2 < tick < middle + grid.beat for tick in attacks)
        if lead and free and chord.ticks >= 2 * grid.beat and middle > chord.start_tick:
            # Contrary motion to the lead's last step.
            before = [tone for tone in lead if tone.tick < middle][-2:]
            rises = len(before) == 2 and before[1].pitch > before[0].pitch
            moved = _step(classes, high, (70, 83), -1 if rises else 1)
            yield chord.start_tick, middle - chord.start_tick, high, 5
            yield middle, chord.start_tick + chord.ticks - middle, moved, 5.5
            high = moved
        else:
            yield chord.start_tick, chord.ticks, high, 5


def answers(grid: TickGrid, chords: Sequence[Chord], lead: Sequence[MelodyNote]) -> Iterator[TextureNote]:
    """Answer the lead while it holds or rests: its last rhythm on chord tones, in the opposite direction."""
    ends = [*(tone.tick for tone in lead[1:]), grid.end]
    at = 69
    for number, (tone, following) in enumerate(zip(lead, ends, strict=True)):
        begin = tone.tick + max(grid.beat, min(tone.ticks, 2 * grid.beat))
        begin += -begin % (grid.beat // 2)
        room = following - grid.beat // 4 - begin
        if room < grid.beat:
            continue
        way = -1 if number and tone.pitch > lead[number - 1].pitch else 1
        steps = _rhythm(lead, number, grid)
        tick, count = begin, 0
        at = _nearest(chord_classes(chord_at(chords, begin)), into_range(tone.pitch - 4, SECOND_RANGE), SECOND_RANGE)
        while count < 4 and tick + grid.beat // 2 <= begin + room:
            step = min(steps[count % len(steps)], begin + room - tick)
            is_last = count == 3 or tick + step + grid.beat // 2 > begin + room
            yield tick, min(2 * grid.beat, begin + room - tick) if is_last else step, at, 7 if count == 0 else 6
            tick += step
            count += 1
            if tick < grid.end:
                at = _step(chord_classes(chord_at(chords, tick)), at, SECOND_RANGE, way)


def _rhythm(lead: Sequence[MelodyNote], number: int, grid: TickGrid) -> list[int]:
    """Return the distances between the last notes before an answer."""
    ticks = [tone.tick for tone in lead[max(0, number - 3) : number + 1]]
    steps = [after - before for before, after in itertools.pairwise(ticks)]
    fit = [step for step in steps if grid.beat // 2 <= step <= 2 * grid.beat]
    return fit or [grid.beat // 2, grid.beat // 2, grid.beat]


def _nearest(classes: Sequence[int], pitch: int, within: tuple[int, int]) -> int:
    near = [each for each in range(within[0], within[1] + 1) if each % 12 in classes]
    return min(near, key=lambda each: (abs(each - pitch), each))


def _step(classes: Sequence[int], pitch: int, within: tuple[int, int], way: int) -> int:
    """Return the next chord tone up or down; at the end of the range, in the other direction."""
    for sign in (way, -way):
        further = [p for p in range(within[0], within[1] + 1) if p % 12 in classes and (p - pitch) * sign > 0]
        if further:
            return min(further, key=lambda each: abs(each - pitch))
    return pitch
