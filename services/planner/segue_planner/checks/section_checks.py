"""Checks of a filled section: lengths, energy, layers and chords must agree with its bars."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from segue_music import timing
from segue_music.elements import LayerKind
from segue_planner.names import bars_name, metre_name
from segue_runtime.errors import FieldViolation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from segue_music.elements import Metre
    from segue_music.plan import SectionSpec

LEAVE_OUT: Final = "leave it out; the planner fills it in"


def check_section(path: str, filled: SectionSpec, given: SectionSpec, *, last: bool) -> Iterator[FieldViolation]:
    """Find what does not fit together in a filled section. `given` is the section before it was filled."""
    if filled.metre is None:
        return
    frames = timing.section_frames(filled.bars, filled.metre, filled.tempo_points, filled.sample_rate)
    if abs(filled.frames - frames) > 1:
        yield FieldViolation(
            f"{path}.frames",
            f"it is {filled.frames}, but {bars_name(filled.bars)} at this tempo have {frames} frames",
            str(frames),
        )
    if len(filled.energy) != filled.bars:
        yield FieldViolation(
            f"{path}.energy",
            f"its length is {len(filled.energy)}, but {bars_name(filled.bars)} need {filled.bars} values: "
            "one for each bar",
            LEAVE_OUT,
        )
    if given.sample_rate and given.sample_rate != filled.sample_rate:
        yield FieldViolation(
            f"{path}.sample_rate",
            f"it is {given.sample_rate}, but it must be the plan's sample rate",
            str(filled.sample_rate),
        )
    if filled.tail_frames and not last:
        yield FieldViolation(
            f"{path}.tail_frames", f"it is {filled.tail_frames}, but only the last section may have a tail", "0"
        )
    yield from _check_layers(path, filled)
    yield from _check_chords(path, filled, filled.metre)


def _check_layers(path: str, filled: SectionSpec) -> Iterator[FieldViolation]:
    kinds = [layer.kind for layer in filled.layers]
    for index, kind in enumerate(kinds):
        if kind in kinds[:index]:
            free = [each.name for each in LayerKind if each and each not in kinds]
            yield FieldViolation(
                f"{path}.layers[{index}].kind",
                f"{kind.name} is also layer {kinds.index(kind)}; move the instruments there",
                free[0] if free else LEAVE_OUT,
            )


def _check_chords(path: str, filled: SectionSpec, metre: Metre) -> Iterator[FieldViolation]:
    """Find gaps, overlaps, and chords that do not end with the last bar."""
    end, tick = filled.bars * timing.ticks_per_bar(metre), 0
    for index, chord in enumerate(filled.chords):
        if chord.start_tick != tick:
            gap = "there is a gap before it" if chord.start_tick > tick else "it overlaps the chord before"
            yield FieldViolation(f"{path}.chords[{index}].start_tick", f"it is {chord.start_tick}: {gap}", str(tick))
            return
        tick += chord.ticks
    if tick != end:
        last = len(filled.chords) - 1
        wanted = filled.chords[last].ticks + end - tick
        yield FieldViolation(
            f"{path}.chords[{last}].ticks",
            f"it is {filled.chords[last].ticks}, so the chords end at tick {tick}, but {bars_name(filled.bars)} of "
            f"{metre_name(metre)} end at tick {end}",
            str(wanted) if wanted > 0 else "leave chords out; the planner fills them in",
        )
