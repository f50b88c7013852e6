"""The IPTC digital source type of a piece: whether models with learned weights made it, by whole sections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from segue_audio.files import SOURCE_TYPES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue.renderer.v1.renderer_pb2 import ModelProfile

LEARNED: Final = SOURCE_TYPES + "trainedAlgorithmicMedia"
WITHOUT_LEARNING: Final = SOURCE_TYPES + "algorithmicMedia"
SOME_LEARNED: Final = SOURCE_TYPES + "compositeSynthetic"
"""Several elements, at least one of which was made by a model with learned weights."""


RECORDED: Final = frozenset({"sketch"})
"""Backends whose files are recordings of instruments, from which nothing was learned."""


def has_weights(profile: ModelProfile) -> bool:
    """Return whether a model has learned weights."""
    return profile.backend not in RECORDED and bool(profile.model_digest or profile.weights_license)


def source_type(players: Sequence[ModelProfile]) -> str:
    """Return the source type of what these models made.

    Guides of a caller change nothing: no audio of a melody or of a sound to imitate is in the piece.
    """
    learned = [has_weights(profile) for profile in players]
    if not any(learned):
        return WITHOUT_LEARNING
    return LEARNED if all(learned) else SOME_LEARNED
