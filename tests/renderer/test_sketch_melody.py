"""Melodies: steps, strong beats, arcs with a climax, choruses above verses, solos with a direction, phrases."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from benchmarks.music_measures import GENRES, metre_of
from benchmarks.symbolic import BEFORE, RECORDED, distances, measure_plan, plan_of, played
from benchmarks.symbolic_measures import mean, mean_of, measure_line
from tests.renderer.rig import plan_of as plan_of_prompt

from segue_music.elements import LayerKind
from segue_music.plan import Role
from segue_music.theory import chord_classes
from segue_music.timing import TICKS_PER_QUARTER, ticks_per_bar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from segue_music.elements import Note
    from segue_music.plan import Plan, SectionSpec

SECONDS = 40.0


@cache
def leads() -> tuple[tuple[SectionSpec, tuple[Note, ...]], ...]:
    """Return every section of a piece of each genre with the notes of its lead."""
    return tuple(
        found for number, genre in enumerate(GENRES) for found in leads_of(plan_of(genre, 400 + number, SECONDS))
    )


def leads_of(plan: Plan) -> Iterator[tuple[SectionSpec, tuple[Note, ...]]]:
    for spec, notes in played(plan):
        yield spec, tuple(note for note in notes if note.layer == LayerKind.LEAD)


def on_strong_beats(spec: SectionSpec, notes: Sequence[Note]) -> Iterator[tuple[Note, tuple[int, ...]]]:
    """Return the notes at the beginnings of bars, and their chords."""
    bar = ticks_per_bar(metre_of(spec))
    for note in notes:
        if note.start_tick % bar == 0:
            chord = [each for each in spec.chords if each.start_tick <= note.start_tick][-1]
            yield note, chord_classes(chord)


def test_most_moves_are_steps_and_every_measure_comes_nearer_to_real_tunes() -> None:
    found = [measure_plan(plan_of(genre, 400 + number, SECONDS)) for number, genre in enumerate(GENRES)]
    now = mean_of([each for each in found if each is not None])
    assert now.steps > 0.5
    assert now.turns < 0.62
    corpora = mean_of(list(RECORDED.values()))
    before, after = distances(BEFORE, corpora), distances(now, corpora)
    assert all(after[name] < before[name] for name in ("steps", "turns", "rhythms", "bars", "span", "single_climax"))
    assert mean(after[name] / before[name] for name in before) < 0.65


def test_notes_at_the_beginning_of_a_bar_are_chord_tones() -> None:
    found = [note.pitch % 12 in classes for spec, notes in leads() for note, classes in on_strong_beats(spec, notes)]
    assert len(found) > 300
    assert all(found)


def test_a_chorus_is_at_least_a_third_above_its_verse() -> None:
    lifts = []
    for genre in ("pop", "rock", "synthwave", "country", "soul"):
        for seed in range(4):
            means: dict[Role, list[float]] = {}
            plan = plan_of_prompt(
                f"{genre} song with a melody, verse and chorus", seed=seed, form=(Role.VERSE, Role.CHORUS) * 2
            )
            for spec, notes in leads_of(plan):
                if len(notes) > 6 and spec.key == plan.key:
                    means.setdefault(spec.role, []).append(mean(note.pitch for note in notes))
            lifts.append(mean(means[Role.CHORUS]) - mean(means[Role.VERSE]))
    assert mean(lifts) >= 3.5
    assert sum(lift >= 3 for lift in lifts) >= 0.8 * len(lifts)
    assert min(lifts) > 0


def test_the_highest_note_of_a_chorus_is_heard_in_one_bar() -> None:
    single = []
    for spec, notes in leads():
        if spec.role == Role.CHORUS and len(notes) > 8:
            top = max(note.pitch for note in notes)
            bar = ticks_per_bar(metre_of(spec))
            single.append(len({note.start_tick // bar for note in notes if note.pitch == top}) == 1)
    assert len(single) >= 8
    assert sum(single) >= 0.8 * len(single)


def test_a_solo_gets_denser_and_higher() -> None:
    rises, fills = [], []
    for seed in range(6):
        plan = plan_of_prompt("jazz with a saxophone, 60 seconds", seed=seed, form=(Role.VERSE, Role.SOLO, Role.OUTRO))
        for spec, notes in leads_of(plan):
            if spec.role == Role.SOLO and spec.bars >= 8:
                half = spec.bars * ticks_per_bar(metre_of(spec)) // 2
                first, second = ([n.pitch for n in notes if (n.start_tick >= half) == late] for late in (False, True))
                rises.append(mean(second) - mean(first))
                fills.append(len(second) / len(first))
    assert len(rises) >= 4
    assert mean(rises) > 0.5
    assert mean(fills) > 1.1


def test_a_line_that_is_known_has_the_measures_that_it_should() -> None:
    scale = [(float(n), 1.0, pitch) for n, pitch in enumerate((60, 62, 64, 65, 67, 69, 71, 72) * 4)]
    found = measure_line(scale, [(note[0], 1.0, note[2] - 12) for note in scale], 4.0)
    moves = [after[2] - before[2] for before, after in pairwise(scale)]
    assert found.steps == pytest.approx(sum(0 < abs(move) <= 2 for move in moves) / len(moves))
    assert found.rhythms == 1 / 8
    assert found.bars == 2 / 8
    assert found.parallels == 1.0
    assert found.span == 12
    assert found.single_climax == 0.0
    assert found.climax == pytest.approx(7 / 32)


def test_the_time_of_every_note_is_within_its_section() -> None:
    for spec, notes in leads():
        end = spec.bars * ticks_per_bar(metre_of(spec)) + TICKS_PER_QUARTER // 8
        assert all(0 <= note.start_tick < note.start_tick + note.ticks <= end for note in notes)
