"""Chords as the hands take them: voicings that move little, and the rhythm in which they are struck."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from segue_music.elements import ChordQuality
from segue_music.theory import chord_classes, pitch_class
from segue_renderer.sketch.score.melody import chord_at
from segue_renderer.sketch.score.patterns import CHORDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from segue_music.elements import Chord
    from segue_renderer.sketch.score.grid import TickGrid

RANGE: Final = (52, 76)
LEFT_HAND_LOWEST: Final = 43
STRUM_TICKS: Final = 14
ROLL_TICKS: Final = 110


def voicings(chords: Sequence[Chord], home: int, *, has_bass: bool, power: bool = False) -> dict[int, tuple[int, ...]]:
    """Return the pitches of each chord by its start; `home` is the key's tonic as a pitch class.

    At home the left hand takes the root: a tonic chord with a seventh would else be its relative's too.
    """
    found: dict[int, tuple[int, ...]] = {}
    last: tuple[int, ...] = ()
    known: dict[tuple[object, ...], tuple[int, ...]] = {}
    for chord in chords:
        if power:
            last = found[chord.start_tick] = _power(chord)
            continue
        key = (chord.root, chord.quality, last)
        last = known.get(key) or known.setdefault(key, voice(_taken(chord, home, has_bass=has_bass), last))
        at_home = pitch_class(chord.root) == home
        found[chord.start_tick] = _rooted(last, home) if at_home else last
    return found


def triads(chords: Sequence[Chord]) -> dict[int, tuple[int, ...]]:
    """Return root, third and fifth of each chord by its start: who holds leaves sevenths and ninths to the hands."""
    found: dict[int, tuple[int, ...]] = {}
    last: tuple[int, ...] = ()
    for chord in chords:
        found[chord.start_tick] = last = voice(chord_classes(chord)[:3], last)
    return found


def _taken(chord: Chord, home: int, *, has_bass: bool) -> Sequence[int]:
    """Return which notes of a chord the hands take: at home all; away from it a rich chord does without its fifth,
    and where there is a bass, sevenths leave it their root.

    The tonic and the dominant hold a piece together and are never left out; nor is the root of a chord that would
    then be the tonic chord of the relative key.
    """
    classes = chord_classes(chord)
    anchors = {home, (home + 7) % 12}
    if len(classes) < 4 or classes[0] == home:
        return classes
    if has_bass and classes[0] not in anchors and classes[1] != (home + 9) % 12:
        return classes[1:]
    if len(classes) == 4 or classes[2] in anchors:
        return classes
    return classes[:2] + classes[3:]


def _rooted(pitches: tuple[int, ...], root: int) -> tuple[int, ...]:
    """Put the root below a voicing, or an octave above it where that would be mud."""
    low = pitches[0] - 1 - (pitches[0] - 1 - root) % 12
    if pitches[0] - low < 3:
        low -= 12
    if low >= LEFT_HAND_LOWEST:
        return (low, *pitches)
    high = pitches[-1] + 1 + (root - pitches[-1] - 1) % 12
    return (*pitches, high)


def voice(classes: Sequence[int], last: Sequence[int]) -> tuple[int, ...]:
    """Return the voicing of some pitch classes that moves least from the last one."""
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
    # A half step at the top or in the bottom grates; low clusters are mud; the middle is home.
    grates = sum(3.0 for low, high in pairwise(pitches) if high - low == 1)
    mud = sum(2.0 for low, high in pairwise(pitches) if low < 55 and high - low < 3)
    return moved + grates + mud + 0.3 * abs(sum(pitches) / len(pitches) - 63.0)


def _power(chord: Chord) -> tuple[int, ...]:
    """Root, fifth and octave for a distorted guitar, where thirds would growl."""
    root = 40 + (pitch_class(chord.root) - 40) % 12
    soft = {ChordQuality.DIMINISHED, ChordQuality.HALF_DIMINISHED, ChordQuality.DIMINISHED_SEVENTH}
    return (root, root + (6 if chord.quality in soft else 7), root + 12)


def strokes(
    grid: TickGrid, chords: Sequence[Chord], names: Sequence[str]
) -> Iterator[tuple[int, int, int, Chord, str]]:
    """Return when chords are struck: tick, ticks, level 1 to 9, the chord, and the name of the bar's pattern."""
    for bar, name in enumerate(names):
        patterns = CHORDS[name]
        end = (bar + 1) * grid.bar
        for tick, ticks, mark in grid.strokes(patterns[bar % len(patterns)], bar):
            for start, length, level, chord in _split(chords, tick, min(ticks, end - tick), int(mark)):
                yield start, length, level, chord, name


def _split(chords: Sequence[Chord], tick: int, ticks: int, level: int) -> Iterator[tuple[int, int, int, Chord]]:
    """Strike again where the chord changes under a stroke."""
    end = tick + ticks
    while tick < end:
        chord = chord_at(chords, tick)
        until = min(end, max(tick + 1, chord.start_tick + chord.ticks))
        yield tick, until - tick, level, chord
        tick = until
