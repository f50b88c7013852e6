"""Puts sections together: their prompts, their borders, and their places in the piece."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

from segue_music import timing
from segue_music.elements import (
    Feel,
    LayerKind,
)
from segue_music.plan import (
    Continuity,
    Join,
    JoinKind,
    Neighbour,
    PlannedSection,
    SectionSpec,
)
from segue_music.theory import key_name
from segue_planner.facts.resolver import bpm_name, metre_name
from segue_planner.parts.energy import mean
from segue_planner.text import clip

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from segue_music.elements import Chord, Metre
    from segue_music.plan import ModelProfile

MAX_PROMPT_BYTES: Final = 1200
LOUDEST_LUFS: Final = -14.0
QUIETEST_LUFS: Final = -20.0


def target_lufs(energy: Sequence[float]) -> float:
    """Return the loudness in the draft for a section's energy."""
    return round(QUIETEST_LUFS + (LOUDEST_LUFS - QUIETEST_LUFS) * mean(energy), 2)


def choose_continuity(wish: Continuity, profile: ModelProfile | None) -> Continuity:
    """Return what sections hear of the one before: the wish, else the best that the model can do."""
    if wish:
        return wish
    possible = profile.continuities if profile else ()
    return next((each for each in (Continuity.MOTIF, Continuity.TAIL) if each in possible), Continuity.NONE)


def section_prompt(style: str, spec: SectionSpec, before: SectionSpec | None, metre: Metre, words: str = "") -> str:
    """Describe a section to a text-to-music model: the style first, always the same; then what is special, and new."""
    average = mean(spec.energy)
    level = "quiet and sparse" if average < 0.35 else "full and driving" if average > 0.75 else "steady"
    if spec.energy[-1] - spec.energy[0] > 0.15:
        level += ", growing"
    elif spec.energy[0] - spec.energy[-1] > 0.15:
        level += ", calming down"
    players = ", ".join(dict.fromkeys(name for layer in spec.layers for name in layer.instruments[:2]))
    facts = [bpm_name(spec.tempo_points[0].quarters_per_minute, metre), key_name(spec.key) if spec.key else ""]
    facts.append(metre_name(metre))
    if spec.groove and spec.groove.feel == Feel.HALF_TIME:
        facts.append("half-time drums")
    parts = [f"{style}. {spec.label}: {level}", words, players, *_changes(spec, before), ", ".join(filter(None, facts))]
    return clip("; ".join(part for part in parts if part), MAX_PROMPT_BYTES)


def _changes(spec: SectionSpec, before: SectionSpec | None) -> Iterator[str]:
    if before is None:
        yield "it begins here"
        return
    now, then = ({layer.kind for layer in each.layers} for each in (spec, before))
    names = {LayerKind.RHYTHM: "drums", LayerKind.LEAD: "melody", LayerKind.HARMONY: "chords"}
    entering = [names.get(kind, kind.name.lower()) for kind in sorted(now - then)]
    leaving = [names.get(kind, kind.name.lower()) for kind in sorted(then - now)]
    if entering:
        yield "now with " + " and ".join(entering)
    if leaving:
        yield "now without " + " and ".join(leaving)
    if spec.key != before.key and spec.key:
        yield f"the key changes to {key_name(spec.key)}"
    if spec.next is None:
        yield "it ends here"


def with_neighbours(specs: Sequence[SectionSpec]) -> list[SectionSpec]:
    """Tell each section what stands at its borders."""
    found = []
    for index, spec in enumerate(specs):
        before = specs[index - 1] if index else None
        after = specs[index + 1] if index + 1 < len(specs) else None
        found.append(
            dataclasses.replace(
                spec,
                previous=_neighbour(before, before.chords[-1], before.energy[-1]) if before else None,
                next=_neighbour(after, after.chords[0], after.energy[0]) if after else None,
            )
        )
    return found


def _neighbour(spec: SectionSpec, chord: Chord, energy: float) -> Neighbour:
    return Neighbour(spec.role, chord, energy)


def with_prompts(specs: Sequence[SectionSpec], style: str, words: Sequence[str] = ()) -> list[SectionSpec]:
    """Give a prompt to each section that has none; `words` are somebody's own for each section."""
    return [
        spec
        if spec.prompt or spec.metre is None
        else dataclasses.replace(
            spec,
            prompt=section_prompt(
                style, spec, specs[index - 1] if index else None, spec.metre, words[index] if words else ""
            ),
        )
        for index, spec in enumerate(specs)
    ]


def join_kind(continuity: Continuity, profile: ModelProfile | None) -> JoinKind:
    """Return how sections meet when nobody says it: a band that reads notes is in time and rings over the border,
    where a crossfade would only blur the downbeat; so is a model that goes on from the sound before."""
    in_time = continuity == Continuity.TAIL or (profile is not None and profile.gives_notes)
    return JoinKind.HARD if in_time else JoinKind.CROSSFADE


def place(specs: Sequence[SectionSpec], profile: ModelProfile | None) -> tuple[PlannedSection, ...]:
    """Put sections one after the other; one that continues the sound before waits for it."""
    placed = []
    frame = bar = 0
    for index, spec in enumerate(specs):
        waits = (specs[index - 1].section_id,) if index and spec.continuity == Continuity.TAIL else ()
        join = Join(join_kind(spec.continuity, profile), 1.0) if index else None
        placed.append(PlannedSection(spec, frame, bar, waits, join))
        frame += spec.frames
        bar += spec.bars
    return tuple(placed)


def first_tempo(spec: SectionSpec) -> float:
    """Return the tempo with which a section begins, in felt beats a minute."""
    quarters = spec.tempo_points[0].quarters_per_minute
    return timing.bpm_from_quarters(quarters, spec.metre) if spec.metre else quarters
