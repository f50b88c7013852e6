"""Requests in the prompt are in the plan, and the form stays musical."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.planner.planner_client import assert_valid, fingerprint, kinds, made, mean, specs

from segue_music import theory
from segue_music.elements import Feel, Key, LayerKind
from segue_music.plan import Role
from segue_planner.form.roles import PEAKS
from segue_planner.genres.genre import genres

NAMES = list(genres())
REQUESTS = (
    "", "with a solo", "with a bridge", "with a drop", "a breakdown", "no chorus", "no intro, no outro", "no verse",
    "no bridge", "no drums", "key change", "half-time chorus", "builds to a climax", "in 7/8", "in 12/8", "long outro",
)  # fmt: skip


@pytest.mark.parametrize(
    ("words", "kind"),
    [("no drums", LayerKind.RHYTHM), ("without bass", LayerKind.BASS), ("no melody", LayerKind.LEAD),
     ("instrumental", LayerKind.VOCALS), ("no textures", LayerKind.TEXTURES)],
)  # fmt: skip
@pytest.mark.parametrize("genre", ["pop", "cinematic", "jazz", "techno"])
def test_denied_layers_do_not_play(words: str, kind: LayerKind, genre: str) -> None:
    plan = made(f"{genre}, {words}", 120)
    assert all(kind not in kinds(spec) for spec in specs(plan))


def test_a_denied_instrument_is_replaced() -> None:
    plan = made("jazz, no piano, no saxophone", 90)
    heard = {name for spec in specs(plan) for layer in spec.layers for name in layer.instruments}
    assert not {name for name in heard if "piano" in name or "saxophone" in name}
    assert LayerKind.HARMONY in {kind for spec in specs(plan) for kind in kinds(spec)}


@pytest.mark.parametrize("names", [("piano", "guitar"), ("violin", "flute", "oboe"), ("cello", "harp"), ("kazoo",)])
def test_every_named_instrument_is_first_in_some_layer(names: tuple[str, ...]) -> None:
    plan = made("a piece", 180, instruments=names)
    first = {layer.instruments[0] for spec in specs(plan) for layer in spec.layers}
    assert set(names) <= first


def test_only_excludes_other_instruments() -> None:
    plan = made("solo cello", 60)
    assert {name for spec in specs(plan) for layer in spec.layers for name in layer.instruments} == {"cello"}
    assert all(LayerKind.LEAD in kinds(spec) for spec in specs(plan))
    plan = made("just piano and drums", 60)
    heard = {name for spec in specs(plan) for layer in spec.layers for name in layer.instruments}
    assert heard == {"piano", "drums"}


def test_an_opening_instrument_begins_alone() -> None:
    first, *rest = specs(made("rock, starts with solo piano, then drums come in", 120))
    assert {name for layer in first.layers for name in layer.instruments} == {"piano"}
    assert any(LayerKind.RHYTHM in kinds(spec) for spec in rest)


def test_half_time_applies_to_the_named_sections() -> None:
    plan = made("pop song, half-time chorus", 120)
    assert {spec.role for spec in specs(plan) if spec.groove and spec.groove.feel == Feel.HALF_TIME} == {Role.CHORUS}


def test_a_key_change_lifts_the_last_peak_and_what_follows() -> None:
    plan = made("pop in C major, key change before the last chorus", 180)
    keys = [spec.key.tonic for spec in specs(plan) if spec.key]
    at = max(index for index, spec in enumerate(specs(plan)) if spec.role == Role.CHORUS)
    assert keys == ["C"] * at + ["D"] * (len(keys) - at)
    assert theory.pitch_class(specs(plan)[-1].chords[-1].root) == theory.pitch_class("D")
    half = made("pop in C major, modulates up a half step at the end", 180)
    assert specs(half)[-1].key == Key("Db", half.key.mode)


@pytest.mark.parametrize("tempo", ["", ", 100 bpm"])
def test_tempo_changes_keep_the_length(tempo: str) -> None:
    for words in ("gradually speeds up", "ritardando at the end", "speeds up, slows down at the end"):
        plan = made(f"rock{tempo}, {words}", 97)
        assert_valid(plan)
        assert plan.frames == 97 * 48_000
        tempos = [point.quarters_per_minute for spec in specs(plan) for point in spec.tempo_points]
        if "speeds" in words:
            assert max(tempos) > min(tempos) * 1.1
        if "slow" in words or "ritardando" in words:
            assert tempos[-1] < tempos[-3]
        if tempo:
            assert plan.quarters_per_minute == 100
            assert tempos[0] == 100


def test_the_described_course_is_in_the_energy() -> None:
    def ends(words: str) -> float:
        return specs(made(f"pop, {words}", 120))[-1].energy[-1]

    assert ends("big ending") > 0.9
    assert ends("soft ending") < 0.2
    assert ends("fade out") < 0.1
    building = [mean(spec) for spec in specs(made("cinematic, builds to a climax", 120))]
    assert building[0] < 0.3
    assert building.index(max(building)) >= len(building) // 2


def test_stated_forms_are_planned() -> None:
    plan = made("intro 8 bars, verse 16 bars, chorus 8 bars, 120 bpm")
    assert [(spec.role, spec.bars) for spec in specs(plan)] == [
        (Role.INTRO, 8), (Role.VERSE, 16), (Role.CHORUS, 8),
    ]  # fmt: skip
    assert plan.frames == 32 * 2 * 48_000
    plan = made("pop with an 8 bar intro, no outro, with a guitar solo", 180)
    assert next(spec.bars for spec in specs(plan) if spec.role == Role.INTRO) == 8
    assert Role.OUTRO not in {spec.role for spec in specs(plan)}
    assert Role.SOLO in {spec.role for spec in specs(plan)}


def test_moods_choose_mode_and_tempo() -> None:
    sad = [made(f"sad pop number {number}", 60) for number in range(12)]
    glad = [made(f"happy energetic pop number {number}", 60) for number in range(12)]
    assert all(plan.key.mode in theory.MINOR_MODES for plan in sad)
    assert all(plan.key.mode not in theory.MINOR_MODES for plan in glad)
    slow, fast = (sum(plan.quarters_per_minute for plan in plans) / 12 for plans in (sad, glad))
    assert slow * 1.05 < fast


def test_section_prompts_have_the_style_and_the_changes() -> None:
    plan = made("dusty trip hop", 120)
    assert all(spec.prompt.startswith("dusty trip hop. ") for spec in specs(plan))
    first, second = specs(plan)[:2]
    assert "it begins here" in first.prompt
    entering = kinds(second) - kinds(first)
    assert not entering or "now with" in second.prompt
    assert "it ends here" in specs(plan)[-1].prompt


def test_a_ballad_is_slow_and_a_string_quartet_has_strings_only() -> None:
    for prompt in ("sad pop ballad", "power ballad, rock", "country ballad"):
        assert made(prompt, 180).quarters_per_minute <= 87
    assert made("fast ballad", 60).quarters_per_minute > 100
    plan = made("string quartet in D minor, three minutes")
    heard = {name for spec in specs(plan) for layer in spec.layers for name in layer.instruments}
    assert heard == {"violin", "viola", "cello"}


@settings(max_examples=120, deadline=None)
@given(
    genre=st.sampled_from(NAMES),
    requests=st.lists(st.sampled_from(REQUESTS), max_size=2, unique=True),
    seconds=st.sampled_from([20, 60, 120, 240, 480, 1800]),
    seed=st.integers(0, 2**32 - 1),
)
@example(genre="indie", requests=["no bridge"], seconds=1800, seed=0)
def test_requests_keep_the_form_musical(genre: str, requests: list[str], seconds: int, seed: int) -> None:
    plan = made(", ".join(["x", *requests]), seconds, genre=genre, seed=seed)
    assert_valid(plan)
    for before, after in pairwise(specs(plan)):
        assert before.role != Role.PRE_CHORUS or after.role in PEAKS
        assert fingerprint(before) != fingerprint(after), (before.section_id, after.section_id)
