"""Writes chords: voicings with little movement, and the rhythm of the strokes."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from segue_music.elements import ChordQuality
from segue_music.theory import chord_classes, pitch_class
from segue_renderer.sketch.score.melody.notes import chord_at
from segue_renderer.sketch.score.patterns import CHORDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from segue_music.elements import Chord
    from segue_renderer.sketch.score.grid import TickGrid

RANGE: Final = (52, 76)
LEFT_HAND_LOWEST: Final = 43
STRUM_TICKS: Final = 14
ROLL_TICKS: Final = 110


def voicings(chords: Sequence[Chord], tonic: int, *, has_bass: bool, power: bool = False) -> dict[int, tuple[int, ...]]:
    """Return the pitches of each chord by its start; `tonic` is the tonic's pitch class.

    The tonic chord always has its root at the bottom: with a seventh it could also belong to the relative key.
    """
    found: dict[int, tuple[int, ...]] = {}
    last: tuple[int, ...] = ()
    known: dict[tuple[object, ...], tuple[int, ...]] = {}
    for chord in chords:
        if power:
            last = found[chord.start_tick] = _power(chord)
            continue
        key = (chord.root, chord.quality, last)
        last = known.get(key) or known.setdefault(
            key, closest_voicing(_chord_tones(chord, tonic, has_bass=has_bass), last)
        )
        on_tonic = pitch_class(chord.root) == tonic
        found[chord.start_tick] = _with_root(last, tonic) if on_tonic else last
    return found


def triads(chords: Sequence[Chord]) -> dict[int, tuple[int, ...]]:
    """Return root, third and fifth of each chord by its start; held chords have no sevenths and ninths."""
    found: dict[int, tuple[int, ...]] = {}
    last: tuple[int, ...] = ()
    for chord in chords:
        found[chord.start_tick] = last = closest_voicing(chord_classes(chord)[:3], last)
    return found


def _chord_tones(chord: Chord, tonic: int, *, has_bass: bool) -> Sequence[int]:
    """Return the pitch classes of a chord that are played: all of them in the tonic chord.

    With a bass, other chords of four or more notes leave the root to it. Without one, chords of five notes omit their
    fifth. The tonic and the dominant are never left out: they keep the piece in its key. Nor is the root when the
    rest would be the tonic chord of the relative key.
    """
    classes = chord_classes(chord)
    anchors = {tonic, (tonic + 7) % 12}
    if len(classes) < 4 or classes[0] == tonic:
        return classes
    if has_bass and classes[0] not in anchors and classes[1] != (tonic + 9) % 12:
        return classes[1:]
    if len(classes) == 4 or classes[2] in anchors:
        return classes
    return classes[:2] + classes[3:]


def _with_root(pitches: tuple[int, ...], root: int) -> tuple[int, ...]:
    """Add the root below a voicing, or above it when it would be too low and too close."""
    low = pitches[0] - 1 - (pitches[0] - 1 - root) % 12
    if pitches[0] - low < 3:
        low -= 12
    if low >= LEFT_HAND_LOWEST:
        return (low, *pitches)
    high = pitches[-1] + 1 + (root - pitches[-1] - 1) % 12
    return (*pitches, high)


def closest_voicing(classes: Sequence[int], last: Sequence[int]) -> tuple[int, ...]:
    """Return the voicing of the pitch classes that moves least from the last voicing."""
    best: tuple[float, tuple[int, ...]] | None = None
    for turn in range(len(classes)):
        order = [*classes[turn:], *classes[:turn]]
        for bottom in (RANGE[0], RANGE[0] + 6, RANGE[0] + 12):
            pitches = [bottom + (order[0] - bottom) % 12]
            for each in order[1:]:
                pitches.append(pitches[-1] + ((each - pitches[-1]) % 12 or 12))
            cost = _cost(pitches, last)
            if pitches[-1] <= RANGE[1] and (best is None or cost < best[0]):
                best = (cost, tuple(pitches))
    if best is None:
        return tuple(sorted(RANGE[0] + 6 + (each - RANGE[0] - 6) % 12 for each in classes))
    return best[1]


def _cost(pitches: Sequence[int], last: Sequence[int]) -> float:
    if last:
        moved = float(sum(min(abs(pitch - old) for old in last) for pitch in pitches))
    else:
        moved = abs(sum(pitches) / len(pitches) - 62.0)
    # Penalties for half steps, for narrow low intervals, and for a distance to the middle of the range.
    grates = sum(3.0 for low, high in pairwise(pitches) if high - low == 1)
    mud = sum(2.0 for low, high in pairwise(pitches) if low < 55 and high - low < 3)
    return moved + grates + mud + 0.3 * abs(sum(pitches) / len(pitches) - 63.0)


def _power(chord: Chord) -> tuple[int, ...]:
    """Return root, fifth and octave: a distorted guitar makes thirds rough."""
    root = 40 + (pitch_class(chord.root) - 40) % 12
    soft = {ChordQuality.DIMINISHED, ChordQuality.HALF_DIMINISHED, ChordQuality.DIMINISHED_SEVENTH}
    return (root, root + (6 if chord.quality in soft else 7), root + 12)


def strokes(
    grid: TickGrid, chords: Sequence[Chord], names: Sequence[str]
) -> Iterator[tuple[int, int, int, Chord, str]]:
    """Return the strokes: tick, ticks, level 1 to 9, the chord, and the name of the bar's pattern."""
    for bar, name in enumerate(names):
        patterns = CHORDS[name]
        end = (bar + 1) * grid.bar
        for tick, ticks, mark in grid.strokes(patterns[bar % len(patterns)], bar):
            for start, length, level, chord in _split(chords, tick, min(ticks, end - tick), int(mark)):
                yield start, length, level, chord, name


def _split(chords: Sequence[Chord], tick: int, ticks: int, level: int) -> Iterator[tuple[int, int, int, Chord]]:
    """Split a stroke where the chord changes."""
    end = tick + ticks
    while tick < end:
        chord = chord_at(chords, tick)
        until = min(end, max(tick + 1, chord.start_tick + chord.ticks))
        yield tick, until - tick, level, chord
        tick = until
