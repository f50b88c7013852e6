"""Puts sections together: their neighbours, joins, loudness, continuity and positions in the piece."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from segue_music.dynamics import loudness_lufs
from segue_music.plan import Continuity, GuideKind, Join, JoinKind, Neighbour, PlannedSection, SectionSpec
from segue_planner.averages import mean
from segue_planner.profiles import profile_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_music.plan import ModelProfile


def target_lufs(genre: str, energy: Sequence[float]) -> float:
    """Return a section's loudness in the draft for its energy."""
    return round(loudness_lufs(genre, mean(energy)), 2)


def choose_continuity(requested: Continuity, profile: ModelProfile | None) -> Continuity:
    """Return what a section hears of the one before: as requested, else the best that the model supports."""
    if requested:
        return requested
    possible = profile.continuities if profile else ()
    return next((each for each in (Continuity.MOTIF, Continuity.TAIL) if each in possible), Continuity.NONE)


def with_neighbours(specs: Sequence[SectionSpec]) -> list[SectionSpec]:
    """Give each section the role, chord and energy at the borders of the sections beside it."""
    found: list[SectionSpec] = []
    for index, spec in enumerate(specs):
        before = specs[index - 1] if index else None
        after = specs[index + 1] if index + 1 < len(specs) else None
        found.append(
            dataclasses.replace(
                spec,
                previous=Neighbour(before.role, before.chords[-1], before.energy[-1]) if before else None,
                next=Neighbour(after.role, after.chords[0], after.energy[0]) if after else None,
            )
        )
    return found


def choose_join(continuity: Continuity, before: ModelProfile | None, after: ModelProfile | None) -> JoinKind:
    """Return how sections meet by default: a hard join where the models keep time over the border, else a crossfade.

    Models that play notes, and models that continue the audio before, keep time; a crossfade would blur the downbeat.
    """
    in_time = all(profile is not None and profile.gives_notes for profile in (before, after))
    return JoinKind.HARD if in_time or continuity == Continuity.TAIL else JoinKind.CROSSFADE


def with_same_timbre(specs: Sequence[SectionSpec], profiles: Sequence[ModelProfile]) -> list[SectionSpec]:
    """Let the later sections imitate the sound of the first, where they name no other and their model can."""
    found = list(specs)
    for index, spec in enumerate(specs[1:], 1):
        profile = profile_of(spec, profiles)
        if not spec.timbre_section and (profile is None or GuideKind.TIMBRE_AUDIO in profile.guides):
            found[index] = dataclasses.replace(spec, timbre_section=specs[0].section_id)
    return found


def waits_of(spec: SectionSpec, waits_for: Sequence[str]) -> tuple[str, ...]:
    """Return what a section waits for: also for the section whose sound it imitates."""
    return tuple(dict.fromkeys(each for each in (*waits_for, spec.timbre_section) if each))


def place_sections(specs: Sequence[SectionSpec], profiles: Sequence[ModelProfile]) -> tuple[PlannedSection, ...]:
    """Put sections one after the other. A section that continues the audio before waits for it."""
    placed: list[PlannedSection] = []
    frame = bar = 0
    for index, spec in enumerate(specs):
        waits = (specs[index - 1].section_id,) if index and spec.continuity == Continuity.TAIL else ()
        join = None
        if index:
            before, after = profile_of(specs[index - 1], profiles), profile_of(spec, profiles)
            join = Join(choose_join(spec.continuity, before, after), 1.0)
        placed.append(PlannedSection(spec, frame, bar, waits_of(spec, waits), join))
        frame += spec.frames
        bar += spec.bars
    return tuple(placed)
