"""Draws a plan as text: a timeline with roles, bars, energy and chords, and the origin of each value."""

from __future__ import annotations

import itertools
import textwrap
from typing import TYPE_CHECKING, Final

from segue_music import timing
from segue_music.elements import Feel, LayerKind
from segue_music.plan import Join, JoinKind, Origin, Transition
from segue_music.theory import chord_name, key_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from segue_music.elements import Chord, Metre
    from segue_music.plan import Lyrics, Plan, PlannedSection, SectionSpec

BARS: Final = " ▁▂▃▄▅▆▇█"
NARROWEST: Final = 60
INDENT: Final = 11
"""The column of a section's own lines, and of every value."""
SHORT: Final = {
    LayerKind.RHYTHM: "rhythm", LayerKind.BASS: "bass", LayerKind.HARMONY: "harmony", LayerKind.LEAD: "lead",
    LayerKind.TEXTURES: "textures", LayerKind.VOCALS: "vocals",
}  # fmt: skip


def draw(plan: Plan, width: int = 100) -> str:
    """Draw a complete plan in lines of at most `width` characters (at least 60)."""
    width = max(NARROWEST, width)
    lines = [*_head(plan), "", *_timeline(plan, width), "", *_sections(plan), ""]
    labels = {item.spec.section_id: f"{item.spec.label}: " for item in plan.sections}
    lines += [*_readings(plan), *(f"! {labels.get(each.section_id, '')}{each.text}" for each in plan.warnings)]
    return "\n".join(part for line in lines for part in _wrap(line, width)) + "\n"


def _wrap(line: str, width: int) -> list[str]:
    """Wrap a long line between words, and indent the continuation."""
    # The plan of a caller may contain control characters; a terminal must not execute them.
    line = "".join(letter if letter.isprintable() else "?" for letter in line).rstrip()
    if len(line) <= width:
        return [line]
    found = textwrap.wrap(line, width, subsequent_indent=" " * INDENT, break_on_hyphens=False)
    return [part.rstrip() for part in found]


def _head(plan: Plan) -> Iterator[str]:
    if plan.title:
        yield plan.title
    bars = sum(item.spec.bars for item in plan.sections)
    tempo = timing.bpm_from_quarters(plan.quarters_per_minute, plan.metre)
    yield (
        f"{clock(plan.frames, plan.sample_rate)} = {plan.frames} frames at {plan.sample_rate} Hz, {_bars(bars)} of "
        f"{plan.metre.beats}/{plan.metre.unit}, {tempo:.6g} bpm, {key_name(plan.key)}, {plan.genre}"
    )


def clock(frames: int, sample_rate: int) -> str:
    """Format a time as "1:04.250"."""
    milliseconds = frames * 1000 // sample_rate
    return f"{milliseconds // 60_000}:{milliseconds // 1000 % 60:02}.{milliseconds % 1000:03}"


def _timeline(plan: Plan, width: int) -> Iterator[str]:
    """Draw to scale the names of the sections, their energy, and a line for each part."""
    room = width - 10
    edges = _edges(plan, room)
    names = [
        (item.spec.label or item.spec.section_id)[: max(0, end - start - 1)]
        for item, (start, end) in zip(plan.sections, edges, strict=True)
    ]
    yield " " * 10 + "".join(
        ("|" + name).ljust(end - start) for name, (start, end) in zip(names, edges, strict=True) if end > start
    )
    yield "energy    " + "".join(
        _curve(item.spec, end - start) for item, (start, end) in zip(plan.sections, edges, strict=True)
    )
    kinds = sorted({layer.kind for item in plan.sections for layer in item.spec.layers})
    for kind in kinds:
        row = "".join(
            _part(item.spec, kind) * (end - start) for item, (start, end) in zip(plan.sections, edges, strict=True)
        )
        yield f"{SHORT[kind]:<10}{row}"


def _edges(plan: Plan, room: int) -> list[tuple[int, int]]:
    places = [round(item.first_frame * room / plan.frames) for item in plan.sections]
    return list(itertools.pairwise([*places, room]))


def _curve(spec: SectionSpec, columns: int) -> str:
    return "".join(
        BARS[min(len(BARS) - 1, 1 + int(spec.energy[column * len(spec.energy) // columns] * (len(BARS) - 1)))]
        for column in range(columns)
    )


def _part(spec: SectionSpec, kind: LayerKind) -> str:
    return "─" if any(layer.kind == kind for layer in spec.layers) else " "


def _sections(plan: Plan) -> Iterator[str]:
    for item in plan.sections:
        spec = item.spec
        yield (
            f"{clock(item.first_frame, plan.sample_rate):>9}  {spec.label or spec.section_id}: {_bars(spec.bars)}"
            f"{_own(plan, item)}"
        )
        players = ", ".join(
            f"{SHORT[layer.kind]} ({layer.instruments[0]})" if layer.instruments else SHORT[layer.kind]
            for layer in spec.layers
        )
        yield f"{'':11}{players}"
        if spec.metre:
            yield f"{'':11}{chord_line(spec.chords, spec.metre)}"
        if spec.lyrics:
            yield from _words(plan, item, spec.lyrics)


def _words(plan: Plan, item: PlannedSection, lyrics: Lyrics) -> Iterator[str]:
    tempo = timing.tempo_map(item.spec)
    for line in lyrics.lines:
        first = item.first_frame + tempo.frame(line.start_tick, plan.sample_rate)
        yield f"{'':11}{clock(first, plan.sample_rate):>9}  {line.text}"


def _bars(count: int) -> str:
    return "1 bar" if count == 1 else f"{count} bars"


def _own(plan: Plan, item: PlannedSection) -> str:
    """Describe what a section does not share with the piece."""
    spec = item.spec
    found: list[str] = []
    if spec.model:
        found.append(f"played by {spec.model}")
    if spec.key and spec.key != plan.key:
        found.append(f"in {key_name(spec.key)}")
    if spec.metre and spec.metre != plan.metre:
        found.append(f"in {spec.metre.beats}/{spec.metre.unit}")
    if spec.groove and spec.groove.feel != Feel.UNSPECIFIED:
        found.append(spec.groove.feel.name.lower().replace("_", " "))
    tempos = [point.quarters_per_minute for point in spec.tempo_points]
    if spec.metre and any(abs(tempo - plan.quarters_per_minute) > 1e-6 for tempo in tempos):
        shown = ", ".join(f"{timing.bpm_from_quarters(tempo, spec.metre):.4g}" for tempo in tempos)
        found.append(f"at {shown} bpm")
    if spec.transition != Transition.UNSPECIFIED:
        found.append(spec.transition.name.lower().replace("_", " ") + " into the next")
    if item.join and item.join.kind == JoinKind.CROSSFADE:
        found.append(_crossfade(item.join))
    if spec.tail_frames:
        found.append(f"rings out for {spec.tail_frames / plan.sample_rate:.2f} s")
    return "".join(f", {each}" for each in found)


def _crossfade(join: Join) -> str:
    beats = 1.0 if join.beats is None else join.beats
    return "faded in over 1 beat" if beats == 1 else f"faded in over {beats:g} beats"


def chord_line(chords: Sequence[Chord], metre: Metre) -> str:
    """Format the chords of a section by bars; repeated lines of four bars stand once: "Am F C G  x4"."""
    bar = timing.ticks_per_bar(metre)
    cells: list[str] = []
    for chord in chords:
        length = -(-chord.ticks // bar)
        cells.append(chord_name(chord))
        cells.extend(["%"] * (length - 1))
    rows = [" ".join(cells[place : place + 4]) for place in range(0, len(cells), 4)]
    grouped = [(row, len(list(same))) for row, same in itertools.groupby(rows)]
    return " | ".join(row if count == 1 else f"{row}  x{count}" for row, count in grouped)


def _readings(plan: Plan) -> Iterator[str]:
    sources = {
        Origin.CALLER: "asked for", Origin.GENRE: "of the genre", Origin.SEED: "drawn by the seed",
        Origin.DEFAULT: "default", Origin.LANGUAGE_MODEL: "proposed by the language model",
    }  # fmt: skip
    for reading in plan.readings:
        source = f"“{reading.words}”" if reading.words else sources.get(reading.origin, "")
        source = f"not {source}" if reading.origin == Origin.NEGATIVE_PROMPT else source
        yield f"{reading.field:<11}{reading.value}  <- {source}"
