"""Turns a prompt and a melody into the decoder's conditions."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from segue_renderer.musicgen.runner import Conditions

if TYPE_CHECKING:
    from segue_renderer.musicgen.loaded_model import LoadedModel


class Cuts(NamedTuple):
    """Which texts of a request were too long."""

    prompt: bool
    negative: bool


def conditions_of(
    model: LoadedModel, prompt: str, limit: int, chroma: torch.Tensor | None = None, negative: str = ""
) -> tuple[Conditions, Cuts]:
    """Return a request's conditions, and which of its texts were cut to `limit` tokens.

    `chroma` (frames, classes) is the melody that a melody model follows. Without one it gets an empty melody. The row
    without the prompt, from which guidance leads away, has the negative prompt as its text, or none.
    """
    text, cut = model.prompts.encode(prompt, limit)
    denied, negative_cut = model.prompts.encode(negative, limit) if negative else (None, False)
    cuts = Cuts(cut, negative_cut)
    if not model.config.decoder.prefix:
        return Conditions(text=text, prefix=None, negative=denied), cuts
    silent = _no_melody(model)
    # Both rows have the same positions; zeros are what the model knows as no text.
    length = max(len(text), 0 if denied is None else len(denied))
    prompted = torch.cat([_melody(model, silent if chroma is None else chroma), _padded(text, length)])
    # The free row has an empty melody of the same length.
    frames = 1 if chroma is None else len(chroma)
    free_text = torch.zeros_like(_padded(text, length)) if denied is None else _padded(denied, length)
    free = torch.cat([_melody(model, silent.expand(frames, -1)), free_text])
    return Conditions(text=None, prefix=torch.stack([prompted, free])), cuts


def _padded(text: torch.Tensor, length: int) -> torch.Tensor:
    return torch.cat([text, text.new_zeros(length - len(text), text.shape[1])]) if length > len(text) else text


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
    projected = projection(chroma.to(model.decoder.device))
    return projected.repeat(-(-melody.chroma_length // len(projected)), 1)[: melody.chroma_length]
