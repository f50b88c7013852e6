"""Measures of melodies as notes, the same for our pieces and for corpora: steps, turns, rhythms, range, climax."""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import pairwise
from math import isnan
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    NoteSpan = tuple[float, float, int]
    """Start and length in quarters, and pitch."""

WINDOW_BARS = 16
ARC_BARS = 8
PERFECT = (0, 7)


@dataclass(frozen=True)
class LineMeasures:
    """Measures of a melody, of which some pieces have too few notes: those are NaN."""

    steps: float
    """Share of the intervals that are of one or two semitones."""
    turns: float
    """Share of the moves that change the direction of the move before."""
    rhythms: float
    """Share of the bars of a window that have a rhythm of their own: the number of rhythms over that of bars."""
    bars: float
    """The same with rhythm and pitches."""
    parallels: float
    """Share of the moves of both outer voices that are parallel octaves or fifths."""
    span: float
    """Semitones from the lowest to the highest note of eight bars."""
    single_climax: float
    """Share of the eight bars whose highest pitch is heard in one bar only."""
    climax: float
    """Place of the first highest note in its eight bars, 0 to 1."""


NAMES = tuple(each.name for each in fields(LineMeasures))


def measure_line(melody: Sequence[NoteSpan], bass: Sequence[NoteSpan], bar: float) -> LineMeasures:
    """Measure a melody and the bass below it; `bar` is the length of a bar in quarters."""
    line = top_line(melody)
    moves = [after[2] - before[2] for before, after in pairwise(line) if after[0] - before[0] - before[1] < bar]
    ways = [np.sign(move) for move in moves if move]
    return LineMeasures(
        steps=mean(1 <= abs(move) <= 2 for move in moves),
        turns=mean(before != after for before, after in pairwise(ways)),
        rhythms=_distinct(line, bar, pitches=False),
        bars=_distinct(line, bar, pitches=True),
        parallels=_parallels(line, top_line(bass, lowest=True)),
        span=mean(max(pitches) - min(pitches) for _, pitches in _arcs(line, bar)),
        single_climax=mean(_is_single(places, pitches, bar) for places, pitches in _arcs(line, bar)),
        climax=mean(_climax(places, pitches, bar) for places, pitches in _arcs(line, bar)),
    )


def mean(values: Iterable[float]) -> float:
    """Return the mean, or NaN of nothing."""
    found = [float(value) for value in values]
    return float(np.mean(found)) if found else float("nan")


def mean_of(pieces: Sequence[LineMeasures]) -> LineMeasures:
    """Return the mean of each measure over the pieces that have it."""
    values = {name: [getattr(each, name) for each in pieces] for name in NAMES}
    return LineMeasures(**{name: mean(value for value in own if not isnan(value)) for name, own in values.items()})


def top_line(notes: Iterable[NoteSpan], *, lowest: bool = False) -> list[NoteSpan]:
    """Return one voice: of notes that start together on the grid of sixteenths, the highest or the lowest."""
    found: dict[float, NoteSpan] = {}
    for start, length, pitch in sorted(notes):
        place = round(start * 4) / 4
        other = found.get(place)
        if other is None or (pitch < other[2] if lowest else pitch > other[2]):
            found[place] = (place, length, pitch)
    return [found[place] for place in sorted(found)]


def _by_bar(line: Sequence[NoteSpan], bar: float) -> dict[int, list[tuple[float, int]]]:
    found: dict[int, list[tuple[float, int]]] = {}
    for start, _, pitch in line:
        number = int(start // bar)
        found.setdefault(number, []).append((start - number * bar, pitch))
    return found


def _distinct(line: Sequence[NoteSpan], bar: float, *, pitches: bool) -> float:
    """Return the number of different bars over the number of bars that have notes, in windows of sixteen bars."""
    windows: dict[int, list[object]] = {}
    for number, notes in _by_bar(line, bar).items():
        content = tuple(notes) if pitches else tuple(place for place, _ in notes)
        windows.setdefault(number // WINDOW_BARS, []).append(content)
    # A window with few bars has hardly anything to repeat.
    full = [content for content in windows.values() if len(content) > WINDOW_BARS // 2] or list(windows.values())
    return mean(len(set(content)) / len(content) for content in full)


def _arcs(line: Sequence[NoteSpan], bar: float) -> list[tuple[list[float], list[int]]]:
    """Return starts within, and pitches of, each eight bars in which the melody plays at least four."""
    found: dict[int, list[NoteSpan]] = {}
    for note in line:
        found.setdefault(int(note[0] // (ARC_BARS * bar)), []).append(note)
    return [
        ([start - number * ARC_BARS * bar for start, _, _ in notes], [pitch for _, _, pitch in notes])
        for number, notes in found.items()
        if len({start // bar for start, _, _ in notes}) >= ARC_BARS // 2
    ]


def _is_single(places: Sequence[float], pitches: Sequence[int], bar: float) -> bool:
    top = max(pitches)
    return len({place // bar for place, pitch in zip(places, pitches, strict=True) if pitch == top}) == 1


def _climax(places: Sequence[float], pitches: Sequence[int], bar: float) -> float:
    return places[pitches.index(max(pitches))] / (ARC_BARS * bar)


def _parallels(line: Sequence[NoteSpan], bass: Sequence[NoteSpan]) -> float:
    """Return the share of parallel perfect intervals among the moves of both voices, from onset to onset."""
    if not line or not bass:
        return float("nan")
    starts = sorted({start for start, _, _ in (*line, *bass)})
    pairs = [(high, low) for at in starts if (high := _at(line, at)) and (low := _at(bass, at))]
    moved = [(a, b) for a, b in pairwise(pairs) if a[0] != b[0] and a[1] != b[1]]
    return mean(
        (after[0] > before[0]) == (after[1] > before[1])
        and (before[0] - before[1]) % 12 == (after[0] - after[1]) % 12
        and (after[0] - after[1]) % 12 in PERFECT
        for before, after in moved
    )


def _at(line: Sequence[NoteSpan], at: float) -> int:
    """Return the pitch that sounds at a place, or 0."""
    low, high = 0, len(line)
    while low < high:
        middle = (low + high) // 2
        if line[middle][0] <= at:
            low = middle + 1
        else:
            high = middle
    if not low:
        return 0
    start, length, pitch = line[low - 1]
    return pitch if at < start + max(length, 0.25) + 0.26 else 0
