"""Fits a line to the chords: the pitches that cost least, of all that are allowed.

Notes on strong beats are chord tones. Another note may be a foreign tone, one outside the chord, if it comes by a step
and goes on by a step within a beat. The costs prefer steps, the direction of the intended line (listeners recognise the
motif by its shape), and pitches near the intended ones.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from segue_music.theory import chord_classes, pitch_class, scale_classes
from segue_renderer.sketch.score.melody.notes import RANGE, chord_at, is_strong

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_music.elements import Chord, Key
    from segue_renderer.sketch.score.grid import TickGrid
    from segue_renderer.sketch.score.melody.notes import MelodyNote

MAX_FOREIGN_SHARE: Final = 0.26
"""Largest share of the melody's time that foreign tones may take."""
REACH: Final = 6
"""Semitones that a note may move away from the intended pitch."""
STEP: Final = 2
TURNED_COST: Final = 10.0
MOVE_COSTS: Final = (1.5, 0.0, 0.0, 1.8, 2.2, 3.2, 4.5, 4.5, 7.0, 8.0, 9.0, 10.0, 9.0)
"""Cost of an interval by its semitones; a larger one costs as much as an octave, and one more for each semitone."""
FOREIGN_COST: Final = 0.6
LEAPT_TO_COST: Final = 3.0
PARALLEL_COST: Final = 4.0
"""Cost of an octave or a fifth above the bass that follows one of the same kind over another chord."""
PERFECT: Final = frozenset({0, 7})
IMPOSSIBLE: Final = 1e6
ATTEMPTS: Final = (1.0, 3.0, 9.0, IMPOSSIBLE)
"""Factors of the cost of foreign tones, tried in turn until their share is small enough."""


_CHORD_TONE, _FOREIGN = False, True


class _Candidate(NamedTuple):
    """A pitch that a note may have, whether it is outside the chord, and its cost."""

    pitch: int
    foreign: bool
    cost: float
    above_bass: int
    """Semitones above the chord's bass, without octaves."""


def fit_to_chords(
    tones: Sequence[MelodyNote], grid: TickGrid, key: Key, chords: Sequence[Chord]
) -> list[MelodyNote]:  # fmt: skip
    """Return the line with pitches that fit the chords; a note ends where it no longer does."""
    found = list(tones)
    for factor in ATTEMPTS:
        found = _cheapest(tones, grid, key, chords, factor)
        if foreign_ticks(found, chords) <= MAX_FOREIGN_SHARE * sum(tone.ticks for tone in found):
            break
    return [_until_chord_changes(tone, chords) for tone in found]


def foreign_ticks(tones: Sequence[MelodyNote], chords: Sequence[Chord]) -> int:
    """Return the time of the notes outside their chords."""
    return sum(tone.ticks for tone in tones if tone.pitch % 12 not in chord_classes(chord_at(chords, tone.tick)))


def foreign_classes(key: Key, chord: Chord) -> frozenset[int]:
    """Return the notes of the scale that may pass over a chord: not the plain form of a note that the chord alters."""
    classes = chord_classes(chord)
    scale = scale_classes(key)
    altered = {near % 12 for each in classes if each not in scale for near in (each - 1, each + 1)}
    low = pitch_class(chord.bass or chord.root)
    return frozenset(each for each in scale if each not in classes and each not in altered and (each - low) % 12 != 1)


def _cheapest(
    tones: Sequence[MelodyNote], grid: TickGrid, key: Key, chords: Sequence[Chord], factor: float
) -> list[MelodyNote]:  # fmt: skip
    """Return the cheapest line: the best way to each pitch of a note comes from the best ways to the note before it."""
    if not tones:
        return []
    passing: dict[tuple[object, ...], frozenset[int]] = {}
    rows: list[list[_Candidate]] = []
    ways: list[list[int]] = []
    costs: list[float] = []
    for index, tone in enumerate(tones):
        chord = chord_at(chords, tone.tick)
        names = (chord.root, chord.quality, chord.bass)
        extra = passing.get(names)
        if extra is None:
            extra = passing.setdefault(names, foreign_classes(key, chord))
        following = tones[index + 1] if index + 1 < len(tones) else None
        in_time = following is not None and following.tick - tone.tick <= grid.beat
        may_pass = in_time and not is_strong(grid, tone.tick) and factor < IMPOSSIBLE
        row = _candidates(tone, chords, extra if may_pass else frozenset(), factor * (0.5 + tone.ticks / grid.beat))
        if not rows:
            costs, back = [each.cost for each in row], [0] * len(row)
        else:
            intended = _sign(tone.pitch - tones[index - 1].pitch)
            costs, back = _step_costs(rows[-1], costs, row, intended)
        rows.append(row)
        ways.append(back)
    at = min(range(len(costs)), key=lambda place: (costs[place], place))
    chosen: list[MelodyNote] = []
    for tone, row, back in zip(reversed(tones), reversed(rows), reversed(ways), strict=True):
        chosen.append(replace(tone, pitch=row[at].pitch))
        at = back[at]
    return chosen[::-1]


def _candidates(tone: MelodyNote, chords: Sequence[Chord], passing: frozenset[int], weight: float) -> list[_Candidate]:
    chord = chord_at(chords, tone.tick)
    classes, bass = chord_classes(chord), pitch_class(chord.bass or chord.root)
    after = chord_at(chords, tone.tick + tone.ticks - 1)
    lasting = chord_classes(after)
    near = min(tone.highest, max(tone.lowest, tone.pitch))
    low, high = max(tone.lowest, near - REACH), min(tone.highest, near + REACH)
    found = []
    for pitch in range(low, high + 1):
        own = pitch % 12
        if own in classes:
            # A note that the next chord does not have ends early.
            cut = 0.0 if own in lasting else 1.0
            found.append(_Candidate(pitch, _CHORD_TONE, 0.9 * abs(pitch - tone.pitch) + cut, (pitch - bass) % 12))
        elif own in passing:
            found.append(
                _Candidate(pitch, _FOREIGN, 0.9 * abs(pitch - tone.pitch) + FOREIGN_COST * weight, (pitch - bass) % 12)
            )
    if found:
        return found
    every = [pitch for pitch in range(RANGE[0], RANGE[1] + 1) if pitch % 12 in classes]
    return [_Candidate(pitch, _CHORD_TONE, abs(pitch - tone.pitch), (pitch - bass) % 12) for pitch in every]


def _step_costs(
    before: Sequence[_Candidate], paid: Sequence[float], row: Sequence[_Candidate], intended: int
) -> tuple[list[float], list[int]]:
    """Return the cheapest cost of each pitch of a note, and the place of the pitch before it."""
    costs, back = [], []
    for each in row:
        best, place = IMPOSSIBLE * IMPOSSIBLE, 0
        for number, old in enumerate(before):
            move = each.pitch - old.pitch
            size = abs(move)
            cost = paid[number] + (MOVE_COSTS[size] if size <= 12 else size - 3.0)
            if old.foreign and not 0 < size <= STEP:
                cost += IMPOSSIBLE
            if size and each.above_bass == old.above_bass and each.above_bass in PERFECT and size != 12:
                cost += PARALLEL_COST
            if each.foreign and size > STEP:
                cost += LEAPT_TO_COST
            if intended != (move > 0) - (move < 0):
                cost += TURNED_COST
            if cost < best:
                best, place = cost, number
        costs.append(best + each.cost)
        back.append(place)
    return costs, back


def _until_chord_changes(tone: MelodyNote, chords: Sequence[Chord]) -> MelodyNote:
    chord = chord_at(chords, tone.tick)
    ends = chord.start_tick + chord.ticks
    if tone.tick + tone.ticks > ends and tone.pitch % 12 not in chord_classes(chord_at(chords, ends)):
        return replace(tone, ticks=max(1, ends - tone.tick))
    return tone


def _sign(step: int) -> int:
    return (step > 0) - (step < 0)
