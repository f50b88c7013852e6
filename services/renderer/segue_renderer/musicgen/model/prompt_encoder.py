"""Prompts as hidden states for the decoder. The newest ones are kept: windows and sections of a piece repeat them."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    import torch

    from segue_renderer.musicgen.model.linear import Linear
    from segue_renderer.musicgen.model.text_encoder import TextEncoder
    from segue_renderer.musicgen.model.tokenizer import Tokenizer

KEPT: Final = 64
"""A prompt of 128 tokens takes 1 MiB at most."""


class EncodedPrompt(NamedTuple):
    """The states (tokens, hidden) of a prompt, and whether its end was cut."""

    states: torch.Tensor
    cut: bool


@dataclass
class PromptEncoder:
    """Tokenizer, T5 and projection. One thread must make all calls."""

    tokenizer: Tokenizer
    text_encoder: TextEncoder
    projection: Linear | None
    """Absent where the decoder is as wide as the text encoder."""
    num_encoded: int = 0
    """How often T5 has run."""
    _kept: OrderedDict[tuple[str, int], EncodedPrompt] = field(default_factory=OrderedDict)

    def encode(self, text: str, limit: int) -> EncodedPrompt:
        """Return the states of at most `limit` tokens, on the text encoder's device."""
        found = self._kept.pop((text, limit), None)
        if found is None:
            tokens, cut = self.tokenizer.encode(text, limit)
            states = self.text_encoder.encode(tokens)
            found = EncodedPrompt(states if self.projection is None else self.projection(states), cut)
            self.num_encoded += 1
        self._kept[text, limit] = found  # the newest is the last
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return found
