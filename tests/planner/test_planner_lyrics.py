"""Lyrics: words find their sections, lines their bars, and what cannot be sung is refused or named."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.planner.planner_client import NANOSECONDS, PlannerClient, assert_valid, codes, kinds, specs

from segue.music.v1 import music_pb2
from segue.planner.v1 import planner_pb2
from segue.renderer.v1 import renderer_pb2
from segue_music import codec, picture
from segue_music.elements import LayerKind
from segue_music.lrc import lrc_file
from segue_music.plan import Brief, LyricLine, Lyrics, Origin, Plan, Role, SectionSpec
from segue_music.timing import ticks_per_bar
from segue_runtime import errors

SONG = """[Verse 1: Ana]
Rain is falling on the window
I can hear you in the hall

[Chorus]
Stay with me
Stay until the morning

[verse 2]
Streets are empty, no one's talking
All the letters that I wrote

[chorus]

[Bridge]
And I know
"""
BAR = 3840


def brief(text: str, language: str = "", seconds: float = 60, **more: object) -> Brief:
    fields: dict[str, object] = {"prompt": "calm pop, 96 bpm, 4/4", "seed": 3, **more}
    return Brief(lyrics=Lyrics(text, language), duration_ns=round(seconds * NANOSECONDS), **fields)  # type: ignore[arg-type]  # fields of Brief


def words(plan: Plan) -> dict[str, tuple[str, ...]]:
    """Return the lines of each section that has some."""
    return {spec.section_id: tuple(line.text for line in spec.lyrics.lines) for spec in specs(plan) if spec.lyrics}


def assert_timed(spec: SectionSpec) -> None:
    """Assert that the lines of a section are those of its text, in order and within it, on bars or half bars."""
    assert spec.lyrics is not None
    assert spec.metre is not None
    lines, bar = spec.lyrics.lines, ticks_per_bar(spec.metre)
    assert "\n".join(line.text for line in lines) == spec.lyrics.text
    assert all(line.ticks > 0 for line in lines)
    assert all(early.start_tick + early.ticks <= late.start_tick for early, late in pairwise(lines))
    assert lines[0].start_tick >= 0
    assert lines[-1].start_tick + lines[-1].ticks <= spec.bars * bar
    if len(lines) <= spec.bars:
        assert all(line.start_tick % bar == line.ticks % bar == 0 for line in lines)
        assert all(line.ticks <= 4 * bar for line in lines)
    elif len(lines) <= 2 * spec.bars and bar % 2 == 0:
        assert all(line.start_tick % (bar // 2) == line.ticks % (bar // 2) == 0 for line in lines)


def model(**more: object) -> renderer_pb2.ModelProfile:
    return renderer_pb2.ModelProfile(model="m", sample_rate=48_000, channels=2, **more)  # type: ignore[arg-type]  # fields of the message


def test_the_marks_are_the_form_and_words_go_to_their_sections(planner: PlannerClient) -> None:
    plan = planner.plan(brief(SONG, "en"))
    assert_valid(plan)
    assert [spec.role for spec in specs(plan)] == [Role.VERSE, Role.CHORUS, Role.VERSE, Role.CHORUS, Role.BRIDGE]
    chorus = ("Stay with me", "Stay until the morning")
    assert words(plan) == {
        "verse-1": ("Rain is falling on the window", "I can hear you in the hall"),
        "chorus-1": chorus,
        "verse-2": ("Streets are empty, no one's talking", "All the letters that I wrote"),
        "chorus-2": chorus,
        "bridge": ("And I know",),
    }
    for spec in specs(plan):
        assert_timed(spec)
        assert LayerKind.VOCALS in kinds(spec)
    (reading,) = [each for each in plan.readings if each.field == "lyrics"]
    assert (reading.value, reading.origin) == ("9 lines in 5 sections, en", Origin.CALLER)
    assert {each.origin for each in plan.readings if each.field == "form"} == {Origin.CALLER}


def test_a_form_of_the_caller_stays_and_its_sections_find_words(planner: PlannerClient) -> None:
    roles = (Role.INTRO, Role.VERSE, Role.CHORUS, Role.SOLO, Role.CHORUS, Role.CHORUS, Role.OUTRO)
    plan = planner.plan(brief(SONG, form=roles))
    assert [spec.role for spec in specs(plan)] == list(roles)
    assert set(words(plan)) == {"verse", "chorus-1", "chorus-2", "chorus-3"}
    assert len(set(words(plan).values())) == 2
    left_out = [each.text for each in plan.warnings if each.code == "lyrics_left_out"]
    assert left_out == [
        "there is no section for 2 lines of lyrics marked [verse 2]",
        "there is no section for 1 line of lyrics marked [bridge]",
    ]


def test_words_without_marks_fill_the_sections_in_order(planner: PlannerClient) -> None:
    form = (Role.INTRO, Role.VERSE, Role.CHORUS, Role.VERSE)
    stanzas = planner.plan(brief("one\ntwo\n\n\nthree\n\nfour", form=form))
    assert words(stanzas) == {"verse-1": ("one", "two"), "chorus": ("three",), "verse-2": ("four",)}
    lines = tuple(f"line {number}" for number in range(30))
    long = planner.plan(brief("\n".join(lines), form=form))
    assert [line for each in words(long).values() for line in each] == list(lines)
    assert "intro" not in words(long)


def test_a_section_that_is_divided_for_the_model_shares_its_words(planner: PlannerClient) -> None:
    short = model(uses_lyrics=True)
    short.max_duration.FromSeconds(8)
    plan = planner.plan(brief("[verse]\na\nb\nc\nd\n[chorus]\ne\nf", seconds=40), short)
    found = words(plan)
    assert len(specs(plan)) > 4
    assert [line for each in found.values() for line in each] == list("abcdef")
    assert all(name.startswith("verse") == set(lines).issubset("abcd") for name, lines in found.items())


def test_unknown_marks_have_no_effect_and_are_named_by_line(planner: PlannerClient) -> None:
    plan = planner.plan(brief("[verse]\nhello <b>you</b> [x]\n[guitar screams]\nagain"))
    assert words(plan) == {"verse": ("hello <b>you</b> [x]", "again")}
    (warning,) = [each for each in plan.warnings if each.code == "lyrics_mark_unknown"]
    assert warning.text.endswith("line 3")


def test_too_many_syllables_are_a_warning_of_their_section(planner: PlannerClient) -> None:
    plan = planner.plan(brief("[verse]\n" + "banana " * 30 + "\n[chorus]\nstay", seconds=20))
    assert [each.section_id for each in plan.warnings if each.code == "lyrics_crowded"] == ["verse"]
    assert "lyrics_crowded" not in codes(planner.plan(brief(SONG, seconds=60)))


def test_a_model_without_voice_gets_no_voices(planner: PlannerClient) -> None:
    plan = planner.plan(brief(SONG), model())
    assert words(plan)
    assert all(LayerKind.VOCALS not in kinds(spec) for spec in specs(plan))


def test_a_section_that_changes_to_a_model_with_voice_gets_voices(planner: PlannerClient) -> None:
    silent, singer = model(), model(uses_lyrics=True)
    singer.model = "singer"
    plan = planner.plan(brief(SONG), silent)
    first = dataclasses.replace(plan.sections[0], spec=dataclasses.replace(plan.sections[0].spec, model="singer"))
    changed = dataclasses.replace(plan, sections=(first, *plan.sections[1:]), digest="")
    voices = [LayerKind.VOCALS in kinds(spec) for spec in specs(planner.complete(changed, silent, singer))]
    assert voices == [True, *[False] * (len(voices) - 1)]


def test_a_plan_with_words_gets_lines_and_keeps_them(planner: PlannerClient) -> None:
    plan = planner.plan(Brief(prompt="calm piano, 80 bpm", seed=3, duration_ns=30 * NANOSECONDS))
    first = plan.sections[0]
    sung = dataclasses.replace(first.spec, lyrics=Lyrics("Oh  my love\n\nmy darling", "en"))
    sections = (dataclasses.replace(first, spec=sung), *plan.sections[1:])
    filled = planner.complete(dataclasses.replace(plan, sections=sections, digest=""))
    lyrics = filled.sections[0].spec.lyrics
    assert lyrics is not None
    assert [line.text for line in lyrics.lines] == ["Oh my love", "my darling"]
    assert lyrics.text == "Oh  my love\n\nmy darling", "what the caller states stays"
    assert LayerKind.VOCALS in kinds(filled.sections[0].spec)
    assert planner.complete(filled) == filled
    assert planner.complete(dataclasses.replace(filled, digest="")) == filled
    moved = dataclasses.replace(lyrics, lines=(LyricLine("Oh my love", 960, 960), LyricLine("my darling", 1920, 1)))
    assert _with_lyrics(planner, filled, moved).sections[0].spec.lyrics == moved


@pytest.mark.parametrize(
    "lyrics",
    [
        Lyrics("", "en"),
        Lyrics("[verse]\nla"),
        Lyrics("a " * 300),
        Lyrics("la", lines=(LyricLine("lo", 0, 960),)),
        Lyrics("la\nle", lines=(LyricLine("la", 0, 960), LyricLine("le", 480, 960))),
        Lyrics("la", lines=(LyricLine("la", 0, 0),)),
        Lyrics("la", lines=(LyricLine("la", 0, 10**9),)),
        Lyrics("la\n" * 400),
    ],
    ids=range(8),
)
def test_words_that_a_section_cannot_have_are_refused(planner: PlannerClient, lyrics: Lyrics) -> None:
    plan = planner.plan(Brief(prompt="calm piano, 80 bpm", seed=3, duration_ns=30 * NANOSECONDS))
    changed = dataclasses.replace(plan.sections[0].spec, lyrics=lyrics)
    sections = (dataclasses.replace(plan.sections[0], spec=changed), *plan.sections[1:])
    error = planner.refused_plan(dataclasses.replace(plan, sections=sections, digest=""))
    assert error.violations[0].field.startswith("plan.sections[0].spec.lyrics")
    assert "la" not in error.message.replace("plan", "").split()


def _with_lyrics(planner: PlannerClient, plan: Plan, lyrics: Lyrics) -> Plan:
    first = dataclasses.replace(plan.sections[0], spec=dataclasses.replace(plan.sections[0].spec, lyrics=lyrics))
    return planner.complete(dataclasses.replace(plan, sections=(first, *plan.sections[1:]), digest=""))


def test_words_beside_a_plan_are_given_to_it_once(planner: PlannerClient) -> None:
    plan = planner.plan(Brief(prompt="calm piano, 80 bpm, verse chorus", seed=3, duration_ns=30 * NANOSECONDS))

    def beside(lyrics: Lyrics, plan: Plan) -> planner_pb2.CreatePlanRequest:
        message = codec.to_message(Brief(lyrics=lyrics), music_pb2.Brief())
        return planner_pb2.CreatePlanRequest(brief=message, plan=codec.plan_to_message(plan))

    lyrics = Lyrics("[verse]\nhello\n[chorus]\nstay")
    filled = codec.plan_from_message(planner.ask(beside(lyrics, dataclasses.replace(plan, digest=""))).plan)
    assert words(filled) == {"verse": ("hello",), "chorus": ("stay",)}
    assert codec.plan_from_message(planner.ask(beside(lyrics, filled)).plan) == filled
    for wrong in (beside(Lyrics("other words"), filled), beside(lyrics, plan)):
        assert planner.refused(wrong).violations[0].field == "brief.lyrics"


@pytest.mark.parametrize(
    "text",
    [
        "x" * 100_000, "la \x1b[31m", "la \u202ela", "la\r\nla", "", "\n \n", "[verse]\n[chorus]", "x" * 600,
        "la\n" * 5_000, "[chorus]\n" + "x" * 16_000 + "\n" + "[chorus]\n" * 30,
    ],
    ids=range(10),
)  # fmt: skip
def test_impossible_lyrics_are_refused_with_their_field(planner: PlannerClient, text: str) -> None:
    error = planner.refused_brief(brief(text))
    assert error.violations[0].field.startswith("brief.lyrics"), error
    assert "xx" not in error.message


def test_lyrics_and_no_voices_contradict(planner: PlannerClient) -> None:
    error = planner.refused_brief(brief(SONG, exclude_layers=(LayerKind.VOCALS,)))
    assert error.violations[0].field == "brief.exclude_layers"
    assert "lyrics_contradiction" in codes(planner.plan(brief(SONG, prompt="calm pop without vocals")))


marks = st.sampled_from(["[verse]", "[Chorus 2]", "[pre-chorus]", "[bridge]", "[solo]", "[outro]", "[what]", ""])
sung = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cf"], exclude_characters="\u2028\u2029"), max_size=40
)
texts = st.lists(st.one_of(marks, sung), min_size=1, max_size=40).map("\n".join)


@settings(max_examples=120, deadline=None)
@given(
    text=texts,
    seconds=st.integers(1, 240),
    form=st.lists(st.sampled_from([role for role in Role if role]), max_size=5).map(tuple),
    prompt=st.sampled_from(["calm pop", "techno loop", "waltz, 3/4", "jazz in 5/4, 200 bpm"]),
)
def test_all_words_are_sung_in_time_or_named(
    planner: PlannerClient, text: str, seconds: int, form: tuple[Role, ...], prompt: str
) -> None:
    asked = brief(text, "", seconds, form=form, prompt=prompt)
    plan = planner.attempt(asked)
    if isinstance(plan, errors.SegueError):
        assert plan.violations or "longer" in plan.metadata
        return
    assert_valid(plan)
    for spec in specs(plan):
        if spec.lyrics:
            assert_timed(spec)
    stated = [" ".join(line.split()) for line in text.split("\n")]
    sung_lines = {line for lines in words(plan).values() for line in lines}
    assert sung_lines <= set(stated)
    missing = [line for line in stated if line and line not in sung_lines and not line.startswith("[")]
    assert not missing or "lyrics_left_out" in codes(plan)
    assert planner.plan(asked) == plan
    assert planner.complete(plan) == plan


def test_plans_and_lrc_files_show_the_lines_with_their_times(planner: PlannerClient) -> None:
    plan = planner.plan(brief("[intro]\n[verse]\nhello [1:00.00] you\nmy friend", "en", 20, title="A ] title"))
    lines = lrc_file(plan, "Segue").splitlines()
    assert lines[:4] == ["[ti:A ) title]", "[la:en]", "[length:00:20.00]", "[re:Segue]"]
    verse = plan.sections[1]
    start_s = verse.first_frame / plan.sample_rate
    assert lines[4] == f"[00:{int(start_s * 100) / 100:05.2f}]hello (1:00.00) you"
    assert lines[5].endswith("]my friend")
    assert f"{picture.clock(verse.first_frame, plan.sample_rate)}  hello [1:00.00] you" in picture.draw(plan)
