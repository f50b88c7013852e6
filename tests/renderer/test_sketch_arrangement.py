"""Arrangement: drums that vary, basses that walk into sections, counter-lines, endings, patterns by piece."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from benchmarks.music_measures import GENRES, metre_of
from benchmarks.symbolic import plan_of, played
from benchmarks.symbolic_measures import mean
from tests.renderer.rig import plan_of as plan_of_prompt

from segue_music.elements import LayerKind
from segue_music.plan import Role, Transition
from segue_music.timing import TICKS_PER_QUARTER, ticks_per_bar, ticks_per_beat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_music.elements import Note
    from segue_music.plan import SectionSpec

SIXTEENTH = TICKS_PER_QUARTER // 4


@pytest.fixture(scope="module")
def sections() -> list[tuple[SectionSpec, tuple[Note, ...]]]:
    """Every section of a piece of each genre, with its notes."""
    plans = [plan_of(genre, 500 + number, 40.0) for number, genre in enumerate(GENRES)]
    return [found for plan in plans for found in played(plan)]


def of_layer(notes: Sequence[Note], kind: LayerKind) -> list[Note]:
    return [note for note in notes if note.layer == kind]


def drum_bars(spec: SectionSpec, notes: Sequence[Note]) -> list[frozenset[tuple[int, int]]]:
    """Return the strokes of each bar: drum and sixteenth."""
    bar = ticks_per_bar(metre_of(spec))
    found: list[set[tuple[int, int]]] = [set() for _ in range(spec.bars)]
    for note in of_layer(notes, LayerKind.RHYTHM):
        place = round(note.start_tick / SIXTEENTH) * SIXTEENTH
        if place < spec.bars * bar:
            found[place // bar].add((note.pitch, place % bar))
    return [frozenset(strokes) for strokes in found]


def test_drums_vary_every_second_bar(sections: list[tuple[SectionSpec, tuple[Note, ...]]]) -> None:
    differ, distinct = [], []
    for spec, notes in sections:
        if spec.bars >= 8 and min(spec.energy[:4]) > 0.45 and of_layer(notes, LayerKind.RHYTHM):
            bars = drum_bars(spec, notes)[:8]
            differ += [before != after for before, after in zip(bars[::2], bars[1::2], strict=False)]
            distinct.append(len(set(bars)))
    assert len(distinct) >= 15
    assert mean(differ) >= 0.9
    assert mean(distinct) >= 4.5
    assert min(distinct) >= 3


def test_the_bass_walks_into_the_next_section(sections: list[tuple[SectionSpec, tuple[Note, ...]]]) -> None:
    walks = []
    for (spec, notes), (_, after) in pairwise(sections):
        bass, following = of_layer(notes, LayerKind.BASS), of_layer(after, LayerKind.BASS)
        if spec.next and spec.transition == Transition.FILL and spec.energy[-1] > 0.45 and bass and following:
            last = [note.pitch for note in bass[-2:]] + [following[0].pitch]
            # The next root may be in another octave; to the same root it comes from the fifth.
            away = [min((b - a) % 12, (a - b) % 12) for a, b in pairwise(last)]
            walks.append(0 < away[0] <= 3 and 0 < away[1] <= 3)
    assert len(walks) >= 12
    assert mean(walks) >= 0.8


def test_a_counter_line_moves_against_the_lead_and_below_it() -> None:
    below, against = [], []
    for seed in range(4):
        plan = plan_of_prompt("pop with strings and a piano, 40 seconds", seed=seed, form=(Role.VERSE, Role.CHORUS))
        for spec, notes in played(plan):
            if spec.role == Role.CHORUS:
                lead, line = of_layer(notes, LayerKind.LEAD), of_layer(notes, LayerKind.TEXTURES)
                assert len({note.pitch for note in line}) >= 4
                tops = {note.start_tick: note.pitch for note in sorted(line, key=lambda note: note.pitch)}
                for (at, pitch), (then, goal) in pairwise(sorted(tops.items())):
                    above, later = pitch_at(lead, at), pitch_at(lead, then)
                    below.append(pitch < above)
                    if (later - above) * (goal - pitch):
                        against.append((later > above) != (goal > pitch))
    assert mean(below) >= 0.75
    assert mean(against) >= 0.6


def pitch_at(line: Sequence[Note], tick: int) -> int:
    return [note for note in line if note.start_tick <= tick + 40 or note is line[0]][-1].pitch


def test_the_last_bar_is_one_chord_that_rings(sections: list[tuple[SectionSpec, tuple[Note, ...]]]) -> None:
    for spec, notes in sections:
        if spec.next is None:
            bar = ticks_per_bar(metre_of(spec))
            start = (spec.bars - 1) * bar
            # The chord is rolled, within a beat.
            late = [note for note in notes if note.start_tick >= start + ticks_per_beat(metre_of(spec))]
            assert {note.layer for note in late} <= {LayerKind.TEXTURES, LayerKind.VOCALS}, spec.genre


def test_drums_play_beats_only_while_the_tempo_slows_down() -> None:
    plan = plan_of_prompt("rock that slows down at the end, 40 seconds", seed=3)
    *_, (spec, notes) = played(plan)
    slow = spec.tempo_points[1].start_tick
    beat = ticks_per_beat(metre_of(spec))
    drums = [note.start_tick for note in of_layer(notes, LayerKind.RHYTHM)]
    off = [min(tick % beat, beat - tick % beat) > beat // 8 for tick in drums if tick >= slow]
    assert off
    assert not any(off)
    assert any(min(tick % beat, beat - tick % beat) > beat // 8 for tick in drums if tick < slow)


def bar_rhythms(spec: SectionSpec, notes: Sequence[Note], kind: LayerKind) -> frozenset[tuple[int, ...]]:
    """Return the rhythms of the bars of full energy but the last: the sixteenths on which a layer plays."""
    bar = ticks_per_bar(metre_of(spec))
    found: dict[int, set[int]] = {}
    for note in of_layer(notes, kind):
        found.setdefault(note.start_tick // bar, set()).add(round(note.start_tick % bar / SIXTEENTH))
    return frozenset(
        tuple(sorted(places))
        for number, places in found.items()
        if number < spec.bars - 1 and spec.energy[number] > 0.5
    )


@pytest.mark.parametrize("genre", ["house", "pop", "lofi"])
def test_pieces_of_a_genre_play_different_patterns_and_their_sections_the_same(genre: str) -> None:
    basses = set()
    for seed in range(8):
        plan = plan_of_prompt(f"{genre}, 30 seconds", seed=seed, form=(Role.CHORUS, Role.CHORUS))
        own = {bar_rhythms(spec, notes, LayerKind.BASS) for spec, notes in played(plan)}
        assert len(own) == 1, "both sections have the bass of the piece"
        basses |= own
    assert len(basses) >= 2
