"""Places a section: as planned, or moved so that its measured beats meet those before it, as far as there is sound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from segue_mixer.mix.beats import Grid, Room, measured, shift_onto

if TYPE_CHECKING:
    from segue_mixer.mix.beats import Measured
    from segue_mixer.mix.sections import Incoming, LateBeats, Section

NO_TEMPO = "its measured beats are too few, uneven or of another tempo than planned: it lies as planned"


@dataclass(frozen=True, slots=True)
class Behind:
    """What a section leaves to the next: how far beyond its end its next beat and bar lie, and how it was moved.

    Tempos may differ a little: the beat that both sound together is the first one of the join.
    """

    beat: float = 0.0
    bar: float = 0.0
    shift: int = 0


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a section lies against its place, and what there is to say about it."""

    behind: Behind
    shift: int = 0
    continuous: bool = False
    drift: float | None = None
    """How far its first beat lies from the beats before it, in beats; None: not measured."""
    note: str = ""


def place(section: Section, incoming: Incoming, before: Behind, room: Room) -> Placed:
    """Decide where a section lies."""
    found = measured(incoming.beats, incoming.downbeats, section.beat_frames, section.bar_frames)
    # What was moved to an earlier place has used up its end: nothing can go on from there.
    continuous = incoming.continuous and before.shift >= 0
    if incoming.sample_locked:
        shift, note = 0, ""
    elif continuous:
        shift, note = before.shift, ""
    else:
        shift, note = _moved(incoming, before, room, found)
    beat = 0.0 if incoming.sample_locked or not continuous else before.beat
    bar = 0.0 if incoming.sample_locked or not continuous else before.bar
    if not incoming.sample_locked:
        beat = _offset_out(found.beats_out, shift, section.frames, beat)
        bar = _offset_out(found.bars_out, shift, section.frames, bar)
    drift = _drift(section, incoming, before, found, shift)
    return Placed(Behind(beat, bar, shift), shift, continuous, drift, note)


def measured_late(section: Section, placed: Placed, late: LateBeats) -> Behind:
    """What a section leaves to the next whose beats were measured when it was already there."""
    found = measured(late.beats, late.downbeats, section.beat_frames, section.bar_frames)
    behind = placed.behind
    beat = _offset_out(found.beats_out, behind.shift, section.frames, behind.beat)
    return Behind(beat, _offset_out(found.bars_out, behind.shift, section.frames, behind.bar), behind.shift)


def _moved(incoming: Incoming, before: Behind, room: Room, found: Measured) -> tuple[int, str]:
    note = ""
    if incoming.kept_shift is not None:
        if room.allows(incoming.kept_shift):
            return incoming.kept_shift, ""
        note = "there is no sound to keep it where it was; "
    if found.beats_in is None:
        return 0, note + (NO_TEMPO if incoming.beats else "")
    on_bar = None if found.bars_in is None else shift_onto(before.bar, found.bars_in, room)
    if on_bar is not None:
        return on_bar, note + (f"moved by {on_bar:+d} frames onto the bars before it" if on_bar else "")
    on_beat = shift_onto(before.beat, found.beats_in, room)
    if on_beat is not None:
        return on_beat, note + (f"moved by {on_beat:+d} frames onto the beats before it" if on_beat else "")
    return 0, note + "there is no sound to move it by onto the beats before it"


def _offset_out(grid: Grid | None, shift: int, frames: int, otherwise: float) -> float:
    return otherwise if grid is None else grid.moved(shift).next_after(frames)


def _drift(section: Section, incoming: Incoming, before: Behind, found: Measured, shift: int) -> float | None:
    if not incoming.beats:
        return None
    grid = found.beats_in or Grid(incoming.beats[0], section.beat_frames)
    return grid.moved(shift).offset_at(before.beat) / section.beat_frames
