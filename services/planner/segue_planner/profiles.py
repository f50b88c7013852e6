"""The models that play a plan: the piece's, and those that its sections name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_music.plan import ModelProfile, SectionSpec


def profile_of(spec: SectionSpec, profiles: Sequence[ModelProfile]) -> ModelProfile | None:
    """Return the model that plays a section: its own, else the piece's, which is the first. None: any model."""
    if not spec.model:
        return profiles[0] if profiles else None
    return next((each for each in profiles if each.model == spec.model), None)
