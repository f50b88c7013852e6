"""The notes of a section's lead without audio, as a guide for other models."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from segue_music.elements import LayerKind
from segue_music.plan import Continuity
from segue_renderer.backend import RenderRequest
from segue_renderer.sketch import validation
from segue_renderer.sketch.score.writer import ScoreWriter

if TYPE_CHECKING:
    from segue_music.elements import Note
    from segue_music.plan import SectionSpec


def lead_notes(spec: SectionSpec, seed: int) -> tuple[Note, ...]:
    """Return the notes of the lead layer, else those of the vocals; empty when the section has neither."""
    validation.check(RenderRequest(replace(spec, continuity=Continuity.NONE), model="", seed=seed))
    notes = ScoreWriter(spec, seed).notes()
    for layer in (LayerKind.LEAD, LayerKind.VOCALS):
        found = tuple(note for note in notes if note.layer == layer)
        if found:
            return found
    return ()
