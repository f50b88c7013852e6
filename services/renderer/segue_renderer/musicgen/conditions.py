"""From words and melodies to what the decoder hears."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from segue_renderer.musicgen.runner import Conditions

if TYPE_CHECKING:
    from segue_renderer.musicgen.loaded_model import Model


def conditions_of(model: Model, prompt: str, limit: int, chroma: torch.Tensor | None = None) -> tuple[Conditions, bool]:
    """Return a request's conditions, and whether its prompt was longer than `limit` tokens and cut.

    `chroma` (frames, classes) is the melody to follow, for melody models; without one they are told that there is none.
    """
    tokens, cut = model.tokenizer.encode(prompt, limit)
    text = model.text_encoder.encode(tokens)
    if model.text_projection is not None:
        text = model.text_projection(text)
    if not model.config.decoder.prefix:
        return Conditions(text=text, prefix=None), cut
    silent = _no_melody(model)
    prompted = torch.cat([_melody(model, silent if chroma is None else chroma), text])
    # The free row's melody is the same length of none, and its text is zero.
    frames = 1 if chroma is None else len(chroma)
    free = torch.cat([_melody(model, silent.expand(frames, -1)), torch.zeros_like(text)])
    return Conditions(text=None, prefix=torch.stack([prompted, free])), cut


def _no_melody(model: Model) -> torch.Tensor:
    melody = model.config.melody
    if melody is None:
        raise ValueError("not a melody model")
    silent = torch.zeros(1, melody.num_chroma)
    silent[0, 0] = 1
    return silent


def _melody(model: Model, chroma: torch.Tensor) -> torch.Tensor:
    """Repeat a melody to the length that the model was trained on, or cut it."""
    melody, projection = model.config.melody, model.melody_projection
    if melody is None or projection is None:
        raise ValueError("not a melody model")
    projected = projection(chroma)
    return projected.repeat(-(-melody.chroma_length // len(projected)), 1)[: melody.chroma_length]
