"""The picture of a plan shows every section, part and origin, to scale, within a width."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue_music.elements import Chord, ChordQuality, Metre
from segue_music.picture import chord_line, clock, draw
from segue_music.plan import Brief
from segue_planner.planner import Planner

PROMPT = "sad piano waltz in F# minor, 84 bpm, two minutes, no drums, big ending"


def test_every_fact_and_its_words_are_in_the_picture() -> None:
    picture = draw(Planner(Brief(prompt=PROMPT)).plan())
    for words in ("F# minor", "84 bpm", "3/4", "2:00.000", "“two minutes”", "“no drums”", "“big ending”", "“waltz”"):
        assert words in picture
    assert "\nrhythm" not in picture


def test_the_picture_names_the_model_of_a_section_that_has_its_own() -> None:
    plan = Planner(Brief(prompt=PROMPT)).plan()
    first, *others = plan.sections
    named = replace(plan, sections=(replace(first, spec=replace(first.spec, model="hum")), *others))
    assert draw(named).count(", played by hum") == 1
    assert "played by" not in draw(plan)


@settings(max_examples=40, deadline=None)
@given(
    prompt=st.text(min_size=1, max_size=60).filter(str.strip) | st.just(PROMPT),
    seconds=st.integers(3, 1800),
    width=st.integers(60, 200),
)
def test_any_plan_is_drawn_within_the_width_and_without_control_characters(
    prompt: str, seconds: int, width: int
) -> None:
    plan = Planner(Brief(prompt=prompt, title=prompt, duration_ns=seconds * 10**9)).plan()
    lines = draw(plan, width).splitlines()
    assert all(len(line) <= width and line.isprintable() for line in lines)
    assert sum(line.startswith("energy") for line in lines) == 1
    assert sum(" bar" in line for line in lines) >= len(plan.sections)


def test_repeated_chord_lines_are_drawn_once() -> None:
    metre = Metre(4, 4)
    chords = [Chord("ACFG"[bar % 4], ChordQuality.MAJOR, bar * 3840, 3840) for bar in range(8)]
    assert chord_line(chords, metre) == "A C F G  x2"
    assert chord_line([Chord("A", ChordQuality.MINOR, 0, 7680)], metre) == "Am %"


@pytest.mark.parametrize(("frames", "text"), [(0, "0:00.000"), (48_000 * 61 + 12_000, "1:01.250")])
def test_clock(frames: int, text: str) -> None:
    assert clock(frames, 48_000) == text
