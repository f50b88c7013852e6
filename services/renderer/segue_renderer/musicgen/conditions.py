"""Turns a prompt and a melody into the decoder's conditions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from segue_renderer.musicgen.runner import Conditions

if TYPE_CHECKING:
    from segue_renderer.musicgen.loaded_model import LoadedModel


def conditions_of(
    model: LoadedModel, prompt: str, limit: int, chroma: torch.Tensor | None = None
) -> tuple[Conditions, bool]:
    """Return a request's conditions, and whether its prompt was cut to `limit` tokens.

    `chroma` (frames, classes) is the melody that a melody model follows. Without one it gets an empty melody.
    """
    tokens, cut = model.tokenizer.encode(prompt, limit)
    text = model.text_encoder.encode(tokens)
    if model.text_projection is not None:
        text = model.text_projection(text)
    if not model.config.decoder.prefix:
        return Conditions(text=text, prefix=None), cut
    silent = _no_melody(model)
    prompted = torch.cat([_melody(model, silent if chroma is None else chroma), text])
    # The free row has an empty melody of the same length, and zeros for the text.
    frames = 1 if chroma is None else len(chroma)
    free = torch.cat([_melody(model, silent.expand(frames, -1)), torch.zeros_like(text)])
    return Conditions(text=None, prefix=torch.stack([prompted, free])), cut


def _no_melody(model: LoadedModel) -> torch.Tensor:
    melody = model.config.melody
    if melody is None:
        raise ValueError("not a melody model")
    silent = torch.zeros(1, melody.num_chroma)
    silent[0, 0] = 1
    return silent


def _melody(model: LoadedModel, chroma: torch.Tensor) -> torch.Tensor:
    """Repeat a melody up to the length that the model was trained on, or cut it."""
    melody, projection = model.config.melody, model.melody_projection
    if melody is None or projection is None:
        raise ValueError("not a melody model")
    projected = projection(chroma)
    return projected.repeat(-(-melody.chroma_length // len(projected)), 1)[: melody.chroma_length]
