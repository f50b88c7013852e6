"""Checks a request before it is rendered: the section must be complete and consistent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from segue_music.plan import Continuity
from segue_music.singing import lines_of
from segue_music.timing import TempoMap, section_frames, ticks_per_bar
from segue_runtime import errors
from segue_runtime.errors import FieldViolation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from segue_music.plan import SectionSpec
    from segue_renderer.backend import RenderRequest

RATES: Final = (8_000, 192_000)
MAX_S: Final = 1_800
ROUNDING_FRAMES: Final = 256
"""Largest difference between `frames` and the tempo map: the last of up to 256 sections corrects their rounding."""


def check(request: RenderRequest) -> None:
    """Raise an error that lists all violations of a request."""
    if request.conditioning is not None or request.spec.continuity == Continuity.TAIL:
        raise errors.OptionNotSupported(
            "the sketch band cannot continue the audio of another section; it supports NONE and MOTIF",
            metadata={"option": "spec.continuity"},
        )
    if request.guide is not None or request.guide_notes:
        raise errors.OptionNotSupported("the sketch band cannot follow a guide", metadata={"option": "guide"})
    found = [FieldViolation(f"spec.{name}", what, hint) for name, what, hint in _missing(request.spec)]
    if not found:
        found = [FieldViolation(f"spec.{name}", what, hint) for name, what, hint in _contradictions(request.spec)]
    if found:
        first = found[0]
        raise errors.InvalidField(
            f"the section is not complete: {first.field}: {first.description}; the planner completes sections",
            violations=found,
        )


def _missing(spec: SectionSpec) -> Iterator[tuple[str, str, str]]:
    if spec.metre is None:
        yield "metre", "it is not set", "4/4"
    if spec.key is None:
        yield "key", "it is not set", "C major"
    if not spec.chords:
        yield "chords", "there are none", "one chord a bar"
    if not spec.layers:
        yield "layers", "there are none", "LAYER_KIND_HARMONY"
    if not RATES[0] <= spec.sample_rate <= RATES[1]:
        yield (
            "sample_rate",
            f"it is {spec.sample_rate}; {RATES[0]} to {RATES[1]} are possible",
            "48000",
        )
    if len(spec.energy) != spec.bars:
        yield "energy", f"it has {len(spec.energy)} values for {spec.bars} bars", "one value a bar"
    if spec.lyrics is not None and not spec.lyrics.lines:
        yield "lyrics.lines", "there are none", "one line for each line of lyrics.text"
    try:
        TempoMap.of(spec.tempo_points)
    except ValueError as error:
        yield "tempo_points", str(error), "one point at tick 0"


def _contradictions(spec: SectionSpec) -> Iterator[tuple[str, str, str]]:
    if spec.metre is None:
        return
    kinds = [layer.kind for layer in spec.layers]
    if len(set(kinds)) < len(kinds):
        yield "layers", "a kind occurs twice", "each kind once"
    expected = section_frames(spec.bars, spec.metre, spec.tempo_points, spec.sample_rate)
    if expected > MAX_S * spec.sample_rate:
        yield "bars", f"they last more than {MAX_S} s", "fewer bars"
    elif abs(spec.frames - expected) > ROUNDING_FRAMES or spec.frames < 1:
        yield "frames", f"it is {spec.frames}; bars and tempo give {expected}", str(expected)
    if spec.tail_frames > MAX_S * spec.sample_rate:
        yield "tail_frames", f"it is more than {MAX_S} s", "0"
    tick = 0
    for index, chord in enumerate(spec.chords):
        if chord.start_tick != tick:
            yield (
                f"chords[{index}].start_tick",
                f"it is {chord.start_tick}; the chord before it ends at {tick}",
                str(tick),
            )
            return
        tick += chord.ticks
    end = spec.bars * ticks_per_bar(spec.metre)
    yield from _lyrics_contradictions(spec, end)
    if tick != end:
        yield "chords", f"they end at tick {tick}; the section ends at {end}", str(end)


def _lyrics_contradictions(spec: SectionSpec, end: int) -> Iterator[tuple[str, str, str]]:
    if spec.lyrics is None:
        return
    if tuple(line.text for line in spec.lyrics.lines) != lines_of(spec.lyrics.text):
        yield "lyrics.lines", "they are not the lines of lyrics.text", "one line for each line of lyrics.text"
    tick = 0
    for index, line in enumerate(spec.lyrics.lines):
        if line.start_tick < tick or line.ticks < 1 or line.start_tick + line.ticks > end:
            what = f"it is sung from {line.start_tick} to {line.start_tick + line.ticks}; {tick} to {end} is free"
            yield f"lyrics.lines[{index}]", what, "in order, within the section"
            return
        tick = line.start_tick + line.ticks
