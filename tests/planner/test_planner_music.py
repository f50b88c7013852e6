"""Musical properties of plans: phrases, cadences, entries and contrasts."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.planner.planner_client import NANOSECONDS, assert_valid, codes, fingerprint, kinds, made, mean, specs

from segue_music import theory
from segue_music.elements import ChordQuality, Feel, LayerKind
from segue_music.plan import Brief, Cadence, Kind, Role, Transition
from segue_planner.form.roles import PEAKS
from segue_planner.genres.genre import genres
from segue_planner.planner import Planner

NAMES = list(genres())
lengths = st.integers(1, 1800).map(lambda seconds: seconds * NANOSECONDS)


@pytest.mark.parametrize("genre", NAMES)
@settings(max_examples=8, deadline=None)
@given(duration_ns=lengths, seed=st.integers(0, 2**32 - 1))
def test_every_genre_gives_valid_plans_of_every_length(genre: str, duration_ns: int, seed: int) -> None:
    plan = Planner(Brief(prompt="x", genre=genre, duration_ns=duration_ns, seed=seed)).plan()
    assert_valid(plan)
    assert plan.frames == duration_ns * 48_000 // NANOSECONDS
    low, high = genres()[genre].tempo_bpm
    if duration_ns >= 15 * NANOSECONDS:
        assert low * 0.969 <= plan.quarters_per_minute <= high * 1.031


@pytest.mark.parametrize("genre", NAMES)
def test_an_unstated_tempo_gives_whole_phrases_and_a_short_ring_out(genre: str) -> None:
    for seconds in (60, 95, 180, 240):
        plan = made("music", seconds, genre=genre)
        low, high = genres()[genre].tempo_bpm
        # A narrow tempo range of the genre may leave half a phrase.
        assert sum(spec.bars for spec in specs(plan)) % (4 if high > low * 1.15 else 2) == 0
        assert all(spec.bars % 2 == 0 for spec in specs(plan))
        assert 0 < plan.sections[-1].spec.tail_frames <= 4 * 48_000
        assert not plan.warnings


@settings(max_examples=80, deadline=None)
@given(genre=st.sampled_from(NAMES), duration_ns=lengths, seed=st.integers(0, 2**32 - 1))
def test_forms_make_sense(genre: str, duration_ns: int, seed: int) -> None:
    plan = Planner(Brief(prompt="x", genre=genre, duration_ns=duration_ns, seed=seed)).plan()
    roles = [spec.role for spec in specs(plan)]
    for role, following in pairwise(roles):
        assert role != Role.OUTRO, "nothing comes after an outro"
        assert following != Role.INTRO, "nothing comes before an intro"
        if role == Role.PRE_CHORUS:
            assert following in PEAKS, "what leads up leads to a peak"
    last = plan.sections[-1].spec
    assert last.transition == Transition.UNSPECIFIED
    if last.cadence in {Cadence.AUTHENTIC, Cadence.PLAGAL}:
        assert last.key
        assert theory.pitch_class(last.chords[-1].root) == theory.pitch_class(last.key.tonic), "it comes home"
    scales = {theory.pitch_class(spec.key.tonic) for spec in specs(plan) if spec.key}
    assert len(scales) <= 2


@pytest.mark.parametrize("genre", ["pop", "rock", "house", "jazz", "cinematic", "classical", "lofi"])
def test_the_fullest_section_is_a_peak_and_the_beginning_is_thinner(genre: str) -> None:
    plan = made("x", 180, genre=genre)
    fullest = max(specs(plan), key=mean)
    assert fullest.role in {*PEAKS, Role.SOLO, Role.DEVELOPMENT}
    assert len(kinds(specs(plan)[0])) <= len(kinds(fullest))


def test_a_loop_leads_into_itself() -> None:
    for prompt in ("techno loop", "an 8-bar lofi loop", "loop, 92 bpm, 16 bars", "jazz loop in 7/8, 4 bars"):
        plan = made(prompt)
        assert plan.kind == Kind.LOOP
        assert plan.sections[-1].spec.tail_frames == 0
        assert plan.sections[-1].spec.cadence == Cadence.HALF
        assert_valid(plan)
    plan = made("ambient loop", 30)
    assert plan.sections[-1].spec.tail_frames == 0
    assert plan.frames == 30 * 48_000


def test_a_loop_that_is_not_whole_bars_gives_a_warning_with_the_nearest_lengths() -> None:
    plan = made("loop, 100 bpm", 10)
    assert plan.sections[-1].spec.tail_frames > 0
    assert "loop_gap" in codes(plan)
    assert any("9.600 s or 12.000 s" in each.text for each in plan.warnings)


@pytest.mark.parametrize("genre", NAMES)
@pytest.mark.parametrize("seconds", [90, 180, 420])
def test_no_section_copies_the_one_before_and_layers_rest(genre: str, seconds: int) -> None:
    plan = made("x", seconds, genre=genre)
    for before, after in pairwise(specs(plan)):
        assert fingerprint(before) != fingerprint(after), (before.section_id, after.section_id)
    most = max(len(kinds(spec)) for spec in specs(plan))
    if most > 3 and len(plan.sections) > 3:
        assert sum(len(kinds(spec)) < most for spec in specs(plan)) >= 2


@pytest.mark.parametrize("genre", ["pop", "rock", "country", "soul", "synthwave", "disco"])
def test_a_verse_holds_something_back_for_the_chorus(genre: str) -> None:
    plan = made("x", 180, genre=genre)
    for verse, chorus in (
        (verse, chorus) for verse in specs(plan) for chorus in specs(plan)
        if (verse.role, chorus.role) == (Role.VERSE, Role.CHORUS)
    ):  # fmt: skip
        front, full = ({layer.kind: layer.level or 0 for layer in each.layers} for each in (verse, chorus))
        assert set(front) <= set(full)
        assert sum(front.values()) < sum(full.values()) - 0.1
        assert mean(verse) < mean(chorus)


@settings(max_examples=60, deadline=None)
@given(genre=st.sampled_from(NAMES), seconds=st.integers(60, 900), seed=st.integers(0, 2**32 - 1))
def test_a_half_cadence_leads_to_the_next_section(genre: str, seconds: int, seed: int) -> None:
    plan = made("x", seconds, genre=genre, seed=seed)
    for before, after in pairwise(specs(plan)):
        if before.cadence != Cadence.HALF or before.bars < 2:
            continue
        assert after.key
        step = (theory.pitch_class(before.chords[-1].root) - theory.pitch_class(after.key.tonic)) % 12
        # The fifth, the second above in Phrygian, or the seventh below in modal scales.
        assert step in {7, 1, 10}, (before.section_id, after.section_id)


@pytest.mark.parametrize("genre", ["metal", "punk"])
def test_power_chords_stay_power_chords_at_the_cadence(genre: str) -> None:
    plan = made("x in E minor", 180, genre=genre)
    assert {chord.quality for spec in specs(plan) for chord in spec.chords} == {ChordQuality.POWER}


def test_endings_keep_the_colour_of_the_music() -> None:
    assert specs(made("jazz in Eb major", 120))[-1].chords[-1].quality == ChordQuality.MAJOR_NINTH
    assert specs(made("blues in E", 120))[-1].chords[-1].quality == ChordQuality.DOMINANT_SEVENTH
    assert specs(made("folk in G major", 120))[-1].chords[-1].quality == ChordQuality.MAJOR


def test_each_solo_has_another_soloist() -> None:
    plan = made("jazz", 300)
    players = [
        layer.instruments[0]
        for spec in specs(plan) for layer in spec.layers
        if spec.role == Role.SOLO and layer.kind == LayerKind.LEAD
    ]  # fmt: skip
    assert len(players) >= 2
    assert len(set(players)) == min(3, len(players))


def test_a_short_loop_is_one_section_and_a_long_one_has_no_ends() -> None:
    for genre in NAMES:
        short = made("x loop, 16 bars", genre=genre)
        assert len(short.sections) == 1
        assert short.sections[0].spec.loop
        roles = {spec.role for spec in specs(made("x loop, 64 bars", genre=genre))}
        assert not roles & {Role.INTRO, Role.OUTRO}


@pytest.mark.parametrize("genre", [name for name in NAMES if genres()[name].form == "drop"])
@settings(max_examples=15, deadline=None)
@given(seconds=st.integers(60, 1800))
def test_drops_are_prepared_and_beats_begin_and_end_the_piece(genre: str, seconds: int) -> None:
    plan = made("x", seconds, genre=genre)
    roles = [spec.role for spec in specs(plan)]
    for before, after in pairwise(roles):
        assert not (before == after == Role.DROP)
        if after == Role.DROP and seconds > 240:
            assert before == Role.PRE_CHORUS
    assert LayerKind.RHYTHM in kinds(specs(plan)[0])
    assert LayerKind.RHYTHM in kinds(specs(plan)[-1])


def test_heavy_music_drops_to_half_its_pace_and_other_music_does_not() -> None:
    def half(prompt: str) -> set[Role]:
        plan = made(prompt, 240)
        return {spec.role for spec in specs(plan) if spec.groove and spec.groove.feel == Feel.HALF_TIME}

    assert half("metal with a bridge") == {Role.BRIDGE} | (half("metal with a bridge") & {Role.BREAKDOWN})
    assert half("pop with a bridge") == set()


def test_a_long_piece_leaves_its_key_and_returns() -> None:
    for prompt in ("pop song in G minor", "ambient in C minor", "synthwave in A minor"):
        keys = [spec.key for spec in specs(made(prompt, 480))]
        assert keys[0] == keys[-1]
        assert len(set(keys)) == 2
    assert len({spec.key for spec in specs(made("pop song", 60))}) == 1


def test_a_piece_that_builds_ends_at_its_highest_energy() -> None:
    plan = made("cinematic trailer, builds to a climax", 90)
    assert specs(plan)[-1].energy[-1] == max(energy for spec in specs(plan) for energy in spec.energy)
