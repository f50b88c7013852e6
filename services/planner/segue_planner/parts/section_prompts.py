"""Section prompts for text-to-music models: the style first, then what is special in the section."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Final

from segue_music.elements import Feel, LayerKind
from segue_music.theory import key_name
from segue_planner.averages import mean
from segue_planner.names import bpm_name, metre_name
from segue_planner.text import clip

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from segue_music.elements import Metre
    from segue_music.plan import SectionSpec

MAX_PROMPT_BYTES: Final = 1200
LEVELS: Final = ("quiet and sparse", "steady", "full and driving")
PLANNED: Final = re.compile(rf"\. .{{0,64}}: (?:{'|'.join(LEVELS)})(?:, (?:growing|calming down))?(?:;|$)")
"""What every prompt has that this module wrote."""
LAYER_WORDS: Final = {LayerKind.RHYTHM: "drums", LayerKind.LEAD: "melody", LayerKind.HARMONY: "chords"}


def with_prompts(specs: Sequence[SectionSpec], style: str, words: Sequence[str] = ()) -> list[SectionSpec]:
    """Give a prompt to each section that has none. `words` are a language model's words for each section."""
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


def is_planned(prompt: str) -> bool:
    """Return whether the planner wrote a prompt; a caller's plan may repeat it."""
    return bool(PLANNED.search(prompt))


def section_prompt(style: str, spec: SectionSpec, before: SectionSpec | None, metre: Metre, words: str = "") -> str:
    """Describe a section: the style, which is the same in all sections, then this section and its changes."""
    players = ", ".join(dict.fromkeys(name for layer in spec.layers for name in layer.instruments[:2]))
    facts = [bpm_name(spec.tempo_points[0].quarters_per_minute, metre), key_name(spec.key) if spec.key else ""]
    facts.append(metre_name(metre))
    if spec.groove and spec.groove.feel == Feel.HALF_TIME:
        facts.append("half-time drums")
    parts = [
        f"{style}. {spec.label}: {_level(spec.energy)}",
        words,
        players,
        *_changes(spec, before),
        ", ".join(filter(None, facts)),
    ]
    return clip("; ".join(part for part in parts if part), MAX_PROMPT_BYTES)


def _level(energy: Sequence[float]) -> str:
    average = mean(energy)
    level = LEVELS[0] if average < 0.35 else LEVELS[2] if average > 0.75 else LEVELS[1]
    if energy[-1] - energy[0] > 0.15:
        return level + ", growing"
    if energy[0] - energy[-1] > 0.15:
        return level + ", calming down"
    return level


def _changes(spec: SectionSpec, before: SectionSpec | None) -> Iterator[str]:
    if before is None:
        yield "it begins here"
        return
    now, then = ({layer.kind for layer in each.layers} for each in (spec, before))
    entering = [LAYER_WORDS.get(kind, kind.name.lower()) for kind in sorted(now - then)]
    leaving = [LAYER_WORDS.get(kind, kind.name.lower()) for kind in sorted(then - now)]
    if entering:
        yield "now with " + " and ".join(entering)
    if leaving:
        yield "now without " + " and ".join(leaving)
    if spec.key != before.key and spec.key:
        yield f"the key changes to {key_name(spec.key)}"
    if spec.next is None:
        yield "it ends here"
