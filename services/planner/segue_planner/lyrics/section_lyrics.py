"""The lyrics of sections: words with times, a layer of voices that sings them, and what does not fit."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

from segue_music.elements import Layer, LayerKind
from segue_music.singing import lines_of, sung_vowels
from segue_music.timing import TempoMap, ticks_per_bar
from segue_planner.averages import mean
from segue_planner.lyrics.line_times import timed_lines
from segue_planner.lyrics.marks import is_mark
from segue_planner.names import bars_name
from segue_runtime.errors import FieldViolation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from segue_music.elements import Metre
    from segue_music.plan import Lyrics, ModelProfile, SectionSpec
    from segue_planner.facts.decision_log import DecisionLog

MAX_LINES: Final = 512
"""Of one section."""
LINES_A_BAR: Final = 16
"""The most lines; so many are never sung, but have a time each."""
MAX_LINE_BYTES: Final = 512
SINGER: Final = "vocals"
MOST_A_SECOND: Final = 7.0
"""Syllables that can be sung in a second."""
BEHIND: Final = 0.8
"""The level of the lead beside voices that sing the same melody."""


def most_lines(bars: int) -> int:
    """Return the most lines of a section."""
    return min(MAX_LINES, LINES_A_BAR * bars)


def check_lyrics(path: str, spec: SectionSpec) -> Iterator[FieldViolation]:
    """Find what is wrong with the lyrics that a section states."""
    if spec.lyrics is None or spec.metre is None:
        return
    wrong = list(_check_words(f"{path}.text", spec.lyrics.text, spec.bars))
    yield from wrong
    if spec.lyrics.lines and not wrong:
        yield from _check_lines(f"{path}.lines", spec.lyrics, spec.bars, spec.metre)


def _check_words(path: str, text: str, bars: int) -> Iterator[FieldViolation]:
    lines = lines_of(text)
    if not lines:
        yield FieldViolation(path, "it has no words", "leave lyrics out")
    if len(lines) > most_lines(bars):
        text_now = f"it has {len(lines)} lines; {most_lines(bars)} is the most in {bars_name(bars)}"
        yield FieldViolation(path, text_now, "shorten it")
    for number, line in enumerate(text.split("\n"), 1):
        if len(line.encode()) > MAX_LINE_BYTES:
            yield FieldViolation(path, f"line {number} has more than {MAX_LINE_BYTES} bytes", "divide it")
        if is_mark(line):
            yield FieldViolation(path, f"line {number} is a mark, which only brief.lyrics has", "leave it out")


def _check_lines(path: str, lyrics: Lyrics, bars: int, metre: Metre) -> Iterator[FieldViolation]:
    """Find lines that are not those of the text, not in order, or outside the section."""
    if tuple(line.text for line in lyrics.lines) != lines_of(lyrics.text):
        yield FieldViolation(path, "they are not the lines of lyrics.text", "leave lines out; the planner times them")
        return
    end, free = bars * ticks_per_bar(metre), 0
    for index, line in enumerate(lyrics.lines):
        if line.start_tick < free:
            yield FieldViolation(f"{path}[{index}].start_tick", f"the line before ends at {free}", str(free))
        if line.ticks < 1:
            yield FieldViolation(f"{path}[{index}].ticks", "it takes no time", "960")
        free = max(free, line.start_tick + line.ticks)
    if free > end:
        yield FieldViolation(path, f"they end at tick {free}, the section ends at {end}", "leave lines out")


def with_lyrics(spec: SectionSpec, lyrics: Lyrics, profile: ModelProfile | None) -> SectionSpec:
    """Give a complete section words with times; if its model sings, also a layer of voices."""
    if spec.metre is None or not lyrics.text:
        return spec
    timed = timed_lines(lines_of(lyrics.text), spec.bars, spec.metre, lyrics.language)
    return with_voices(dataclasses.replace(spec, lyrics=dataclasses.replace(lyrics, lines=timed)), profile)


def with_voices(spec: SectionSpec, profile: ModelProfile | None) -> SectionSpec:
    """Add voices to a section without any, if its model sings; the lead, which plays the same melody, stays behind."""
    sings = profile is None or profile.uses_lyrics
    if not sings or any(layer.kind == LayerKind.VOCALS for layer in spec.layers):
        return spec
    usual = round(0.6 + 0.3 * mean(spec.energy), 2)
    layers = [
        dataclasses.replace(layer, level=round((usual if layer.level is None else layer.level) * BEHIND, 2))
        if layer.kind == LayerKind.LEAD
        else layer
        for layer in spec.layers
    ]
    voices = Layer(LayerKind.VOCALS, (SINGER,), usual)
    return dataclasses.replace(spec, layers=tuple(sorted((*layers, voices), key=lambda layer: layer.kind)))


def warn_if_crowded(spec: SectionSpec, log: DecisionLog) -> None:
    """Warn about a section with a line of more syllables than can be sung in its time."""
    if spec.lyrics is None or spec.metre is None:
        return
    clock, bar = TempoMap.of(spec.tempo_points), ticks_per_bar(spec.metre)
    worst = (0.0, 0.0, 0.0)
    for line in spec.lyrics.lines:
        seconds = clock.seconds(line.start_tick + line.ticks) - clock.seconds(line.start_tick)
        a_bar = bar / max(1, line.ticks)
        count = len(sung_vowels(line.text, spec.lyrics.language))
        worst = max(worst, (count / max(1e-9, seconds), count * a_bar, MOST_A_SECOND * seconds * a_bar))
    if worst[0] > MOST_A_SECOND:
        log.warn_section(
            "lyrics_crowded", spec,
            f"up to {worst[1]:.0f} syllables a bar are too many at this tempo, which has time for {worst[2]:.0f}; give "
            "it more bars or fewer words",
        )  # fmt: skip
