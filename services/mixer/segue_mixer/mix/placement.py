"""Where a section lies: as planned, or moved so that its measured beats meet the beats before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from segue_mixer.mix.beats import RegularBeats, ShiftRange, fit_section, shift_onto

if TYPE_CHECKING:
    from segue_mixer.mix.beats import SectionBeats
    from segue_mixer.mix.sections import LateBeats, MixSection, SectionInput

NO_TEMPO = "kept at its planned place: its measured beats are too few, uneven, or of another tempo than planned"


@dataclass(frozen=True, slots=True)
class BeatsAtEnd:
    """Frames from a section's end to its next beat and to its next bar, and the shift of the section.

    The next section aligns to them. Tempos may differ a little, so the two sections meet at the first beat of the join.
    """

    beat: float = 0.0
    bar: float = 0.0
    shift: int = 0


@dataclass(frozen=True, slots=True)
class Placement:
    """The place of a section relative to the plan, and a note about it."""

    at_end: BeatsAtEnd
    shift: int = 0
    continuous: bool = False
    drift: float | None = None
    """Distance of its first beat from the beats before it, in beats; None: not measured."""
    note: str = ""


def place(section: MixSection, source: SectionInput, before: BeatsAtEnd, allowed: ShiftRange) -> Placement:
    """Decide where a section lies."""
    found = fit_section(source.beats, source.downbeats, section.beat_frames, section.bar_frames)
    # A section that moved earlier has used up the audio at its end: nothing can continue from there.
    continuous = source.continuous and before.shift >= 0
    if source.sample_locked:
        shift, note = 0, ""
    elif continuous:
        shift, note = before.shift, ""
    else:
        shift, note = _choose_shift(source, before, allowed, found)
    beat = 0.0 if source.sample_locked or not continuous else before.beat
    bar = 0.0 if source.sample_locked or not continuous else before.bar
    if not source.sample_locked:
        beat = _offset_at_end(found.beats_out, shift, section.frames, beat)
        bar = _offset_at_end(found.bars_out, shift, section.frames, bar)
    drift = _drift(section, source, before, found, shift)
    return Placement(BeatsAtEnd(beat, bar, shift), shift, continuous, drift, note)


def beats_at_end(section: MixSection, placement: Placement, late: LateBeats) -> BeatsAtEnd:
    """Return the beats at the end of a section whose beats were measured after it had been placed."""
    found = fit_section(late.beats, late.downbeats, section.beat_frames, section.bar_frames)
    known = placement.at_end
    beat = _offset_at_end(found.beats_out, known.shift, section.frames, known.beat)
    return BeatsAtEnd(beat, _offset_at_end(found.bars_out, known.shift, section.frames, known.bar), known.shift)


def _choose_shift(
    source: SectionInput, before: BeatsAtEnd, allowed: ShiftRange, found: SectionBeats
) -> tuple[int, str]:
    note = ""
    if source.kept_shift is not None:
        if allowed.allows(source.kept_shift):
            return source.kept_shift, ""
        note = "too little audio to keep its shift of the earlier mix; "
    if found.beats_in is None:
        return 0, note + (NO_TEMPO if source.beats else "")
    on_bar = None if found.bars_in is None else shift_onto(before.bar, found.bars_in, allowed)
    if on_bar is not None:
        return on_bar, note + (f"moved by {on_bar:+d} frames onto the bars before it" if on_bar else "")
    on_beat = shift_onto(before.beat, found.beats_in, allowed)
    if on_beat is not None:
        return on_beat, note + (f"moved by {on_beat:+d} frames onto the beats before it" if on_beat else "")
    return 0, note + "too little audio to move it onto the beats before it"


def _offset_at_end(beats: RegularBeats | None, shift: int, frames: int, otherwise: float) -> float:
    return otherwise if beats is None else beats.moved(shift).next_after(frames)


def _drift(
    section: MixSection, source: SectionInput, before: BeatsAtEnd, found: SectionBeats, shift: int
) -> float | None:
    if not source.beats:
        return None
    beats = found.beats_in or RegularBeats(source.beats[0], section.beat_frames)
    return beats.moved(shift).offset_at(before.beat) / section.beat_frames
