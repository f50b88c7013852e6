"""The decoder: a step for many rows of different age, and the prefill of one slot."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from segue_renderer.musicgen.model.caches import ROWS_A_SLOT
from segue_renderer.musicgen.model.linear import FloatLinear, dtype_of, maker_of

if TYPE_CHECKING:
    from segue_renderer.musicgen.checkpoint.tensors import Tensors
    from segue_renderer.musicgen.config import DecoderConfig
    from segue_renderer.musicgen.model.caches import Caches
    from segue_renderer.musicgen.model.linear import Linear

EPSILON = 1e-5


@dataclass
class Norm:
    """A LayerNorm's weights."""

    weight: torch.Tensor
    bias: torch.Tensor

    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        """Normalise the last dimension."""
        return functional.layer_norm(states, states.shape[-1:], self.weight, self.bias, EPSILON)


@dataclass
class TextAttention:
    """A layer's attention to the text; keys and values are made once a prompt."""

    norm: Norm
    q: Linear
    k: FloatLinear
    v: FloatLinear
    out: Linear


@dataclass
class Layer:
    """One layer."""

    norm: Norm
    qkv: Linear
    out: Linear
    text: TextAttention | None
    ffn_norm: Norm
    fc1: Linear
    fc2: Linear


class Decoder:
    """Weights and arithmetic; what is remembered lies in `Caches`, who runs is decided elsewhere."""

    def __init__(self, config: DecoderConfig, tensors: Tensors, *, precision: str, device: torch.device) -> None:
        self.config = config
        self.dtype = dtype_of(precision)
        self.device = device
        self._make = maker_of(precision, device)
        hidden = config.hidden_size
        self.embeddings = torch.stack(
            [
                tensors.take(f"embed_tokens.{book}.weight", config.codebook_size + 1, hidden)
                for book in range(config.num_codebooks)
            ]
        ).to(device, self.dtype)
        self._books = torch.arange(config.num_codebooks, device=device)
        self._places = self._rows = torch.arange(0, device=device)
        self.reserve(1, 1)
        self._layers = [self._layer(tensors.below(f"layers.{index}")) for index in range(config.num_layers)]
        self._norm = self._norm_of(tensors, "layer_norm")
        heads = [
            tensors.take(f"lm_heads.{book}.weight", config.codebook_size, hidden)
            for book in range(config.num_codebooks)
        ]
        self._heads = self._make(torch.cat(heads))

    def reserve(self, positions: int, slots: int) -> None:
        """Make the tables long enough. What is long enough stays where it is: recorded steps read it there."""
        if positions > len(self._places):
            self._positions = _sinusoids(positions, self.config.hidden_size).to(self.device)
            self._places = torch.arange(positions, device=self.device)
        if slots * ROWS_A_SLOT > len(self._rows):
            self._rows = torch.arange(slots * ROWS_A_SLOT, device=self.device)

    # one step

    def step(
        self, codes: torch.Tensor, positions: torch.Tensor, text_mask: torch.Tensor, caches: Caches, used: int
    ) -> torch.Tensor:
        """Return the logits of the first `len(codes)` slots, of shape (slots, 2, codebooks, entries), in fp32.

        `codes` (slots, codebooks) and `positions` (slots) are what each slot hears and where; `text_mask`
        (slots, text positions) is true where its prompt has tokens; no position is `used` or beyond.
        """
        slots, heads = len(codes), self.config.num_heads
        states = _twice(self._embed(codes) + self._positions[positions].to(self.dtype))
        rows, row_positions = self._rows[: len(states)], _twice(positions)
        # Made once for all layers, and as what is added: the kernels would turn truth values into it in every layer.
        mask = _added(self._places[:used] <= row_positions[:, None], caches.dtype)
        of_text = _added(text_mask, self.dtype)
        for index, layer in enumerate(self._layers):
            qkv = layer.qkv(layer.norm(states)).view(len(states), 3, heads, -1)
            codes, heard = caches.codes[index], qkv[:, 1:].to(caches.dtype)
            if slots == 1:
                # Its two rows are at one position: that takes half the time of a position for each.
                codes[:ROWS_A_SLOT].index_copy_(3, positions, heard[:, :, :, None])
            else:
                codes[rows, :, :, row_positions] = heard
            mixed = _attend(qkv[:, 0, :, None], codes[: len(states), :, :, :used], mask)
            # Sums go into what was just made: nothing is allocated for them.
            states = layer.out(mixed.view(len(states), -1)).add_(states)
            if layer.text is not None:
                # The free rows have no text, keys and values without bias: their attention is exactly zero.
                prompted = states[::ROWS_A_SLOT]
                q = layer.text.q(layer.text.norm(prompted)).view(slots, heads, 1, -1)
                mixed = _attend(q, caches.text[index][:slots], of_text)
                prompted += layer.text.out(mixed.view(slots, -1))
            states = layer.fc2(functional.gelu(layer.fc1(layer.ffn_norm(states)))).add_(states)
        return self._logits(states).view(slots, ROWS_A_SLOT, self.config.num_codebooks, -1)

    # prefill

    def prefill(
        self, slot: int, columns: torch.Tensor, prefix: torch.Tensor | None, text: torch.Tensor | None, caches: Caches
    ) -> None:
        """Hear `columns` (codebooks, length), after the two rows' `prefix` (2, length, hidden); remember the text.

        Nothing is sampled: the last column is left to the first step.
        """
        if text is not None:
            self._remember_text(slot, text, caches)
        parts = [prefix] if prefix is not None else []
        if columns.shape[1]:
            parts.append(self._embed(columns.t()).expand(ROWS_A_SLOT, -1, -1))
        if not parts:
            return
        states = torch.cat([part.to(self.dtype) for part in parts], dim=1)
        length, heads = states.shape[1], self.config.num_heads
        states = states + self._positions[:length].to(self.dtype)
        first = slot * ROWS_A_SLOT
        for index, layer in enumerate(self._layers):
            qkv = layer.qkv(layer.norm(states)).view(ROWS_A_SLOT, length, 3, heads, -1).permute(2, 0, 3, 1, 4)
            caches.codes[index][first : first + ROWS_A_SLOT, :, :, :length] = qkv[1:].transpose(0, 1)
            if index == len(self._layers) - 1:
                return
            mixed = functional.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], is_causal=True)
            states = states + layer.out(mixed.transpose(1, 2).reshape(ROWS_A_SLOT, length, -1))
            if layer.text is not None:
                known = 0 if text is None else len(text)
                q = layer.text.q(layer.text.norm(states[:1])).view(1, length, heads, -1).transpose(1, 2)
                k, v = caches.text[index][slot : slot + 1, :, :, :known].unbind(1)
                mixed = functional.scaled_dot_product_attention(q, k, v)
                heard = layer.text.out(mixed.transpose(1, 2).reshape(1, length, -1))
                states = torch.cat([states[:1] + heard, states[1:]])
            states = states + layer.fc2(functional.gelu(layer.fc1(layer.ffn_norm(states))))

    def _remember_text(self, slot: int, text: torch.Tensor, caches: Caches) -> None:
        text = text.to(self.device, self.dtype)
        for index, layer in enumerate(self._layers):
            if layer.text is None:
                return
            for which, projection in enumerate((layer.text.k, layer.text.v)):
                projected = projection(text).view(len(text), self.config.num_heads, -1)
                caches.text[index][slot, which, :, : len(text)] = projected.transpose(0, 1)

    # parts

    def _embed(self, codes: torch.Tensor) -> torch.Tensor:
        """Sum the codebooks' embeddings of (…, codebooks) in their order."""
        embedded = self.embeddings[self._books, codes]
        total = embedded[..., 0, :]
        for book in range(1, self.config.num_codebooks):
            total = total + embedded[..., book, :]
        return total

    def _logits(self, states: torch.Tensor) -> torch.Tensor:
        return self._heads(self._norm(states)).to(torch.float32)

    def _norm_of(self, tensors: Tensors, name: str) -> Norm:
        hidden = self.config.hidden_size
        weight, bias = (
            tensors.take(f"{name}.{part}", hidden).to(self.device, self.dtype) for part in ("weight", "bias")
        )
        return Norm(weight, bias)

    def _layer(self, tensors: Tensors) -> Layer:
        hidden, ffn = self.config.hidden_size, self.config.ffn_size

        def square(name: str) -> torch.Tensor:
            return tensors.take(f"{name}.weight", hidden, hidden)

        text = None
        if not self.config.prefix:
            text = TextAttention(
                norm=self._norm_of(tensors, "encoder_attn_layer_norm"),
                q=self._make(square("encoder_attn.q_proj")),
                k=FloatLinear(square("encoder_attn.k_proj").to(self.device, self.dtype)),
                v=FloatLinear(square("encoder_attn.v_proj").to(self.device, self.dtype)),
                out=self._make(square("encoder_attn.out_proj")),
            )
        return Layer(
            norm=self._norm_of(tensors, "self_attn_layer_norm"),
            qkv=self._make(torch.cat([square(f"self_attn.{part}_proj") for part in "qkv"])),
            out=self._make(square("self_attn.out_proj")),
            text=text,
            ffn_norm=self._norm_of(tensors, "final_layer_norm"),
            fc1=self._make(tensors.take("fc1.weight", ffn, hidden)),
            fc2=self._make(tensors.take("fc2.weight", hidden, ffn)),
        )


def _attend(q: torch.Tensor, remembered: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    k, v = remembered.unbind(1)
    return functional.scaled_dot_product_attention(q.to(k.dtype), k, v, attn_mask=mask).to(q.dtype)


def _twice(tensor: torch.Tensor) -> torch.Tensor:
    """Give each slot's entry to its two rows."""
    return tensor.unsqueeze(1).expand(-1, ROWS_A_SLOT, *tensor.shape[1:]).flatten(0, 1)


def _added(seen: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return what is added to the scores: nothing where something is seen, minus infinity elsewhere."""
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, -torch.inf)[:, None, None]


def _sinusoids(positions: int, hidden: int) -> torch.Tensor:
    half = hidden // 2
    rates = torch.exp(torch.arange(half).float() * -(math.log(10_000) / (half - 1)))
    angles = torch.arange(positions).float()[:, None] * rates
    return torch.cat([torch.cos(angles), torch.sin(angles)], dim=1)
