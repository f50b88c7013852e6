"""The decoder: one step for many rows at different positions, and the prefill of one slot."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from segue_renderer.musicgen.model.caches import ROWS_PER_SLOT
from segue_renderer.musicgen.model.linear import FloatLinear, dtype_of, maker_of

if TYPE_CHECKING:
    from segue_renderer.musicgen.checkpoint.tensors import Tensors
    from segue_renderer.musicgen.config import DecoderConfig
    from segue_renderer.musicgen.model.caches import Caches
    from segue_renderer.musicgen.model.linear import Linear

EPSILON = 1e-5


@dataclass
class Normalization:
    """The weights of a layer norm."""

    weight: torch.Tensor
    bias: torch.Tensor

    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        """Normalise the last dimension."""
        return functional.layer_norm(states, states.shape[-1:], self.weight, self.bias, EPSILON)


@dataclass
class TextAttention:
    """A layer's attention to the text; keys and values are computed once for each prompt."""

    norm: Normalization
    q: Linear
    k: FloatLinear
    v: FloatLinear
    out: Linear


@dataclass
class NegativeText:
    """The negative prompts of some slots, for their free rows."""

    mask: torch.Tensor
    """(slots, text positions): where the negative prompt has tokens. An empty row would turn it into NaN."""
    has: torch.Tensor
    """(slots): whether there is one."""


@dataclass
class DecoderBlock:
    """The weights of one layer."""

    norm: Normalization
    qkv: Linear
    out: Linear
    text: TextAttention | None
    ffn_norm: Normalization
    fc1: Linear
    fc2: Linear


class Decoder:
    """Weights and arithmetic. Keys and values are in `Caches`; the scheduler chooses the slots."""

    def __init__(self, config: DecoderConfig, tensors: Tensors, *, precision: str, device: torch.device) -> None:
        self.config = config
        self.dtype = dtype_of(precision)
        self.device = device
        self._make = maker_of(precision, device)
        hidden = config.hidden_size
        self.embeddings = torch.stack(
            [
                tensors.pop(f"embed_tokens.{book}.weight", config.codebook_size + 1, hidden)
                for book in range(config.num_codebooks)
            ]
        ).to(device, self.dtype)
        self._books = torch.arange(config.num_codebooks, device=device)
        self._places = self._rows = torch.arange(0, device=device)
        self.reserve(1, 1)
        self._layers = [self._layer(tensors.scoped(f"layers.{index}")) for index in range(config.num_layers)]
        self._norm = self._norm_of(tensors, "layer_norm")
        heads = [
            tensors.pop(f"lm_heads.{book}.weight", config.codebook_size, hidden) for book in range(config.num_codebooks)
        ]
        self._heads = self._make(torch.cat(heads))

    def reserve(self, positions: int, slots: int) -> None:
        """Make the tables long enough. Tables that are long enough keep their addresses: captured steps read them."""
        if positions > len(self._places):
            self._positions = _sinusoids(positions, self.config.hidden_size).to(self.device)
            self._places = torch.arange(positions, device=self.device)
        if slots * ROWS_PER_SLOT > len(self._rows):
            self._rows = torch.arange(slots * ROWS_PER_SLOT, device=self.device)

    # one step

    def step(
        self,
        codes: torch.Tensor,
        positions: torch.Tensor,
        text_mask: torch.Tensor,
        caches: Caches,
        used: int,
        negative: NegativeText | None = None,
    ) -> torch.Tensor:
        """Return the logits of the first `len(codes)` slots, of shape (slots, 2, codebooks, entries), in fp32.

        `codes` (slots, codebooks) and `positions` (slots) are each slot's input and its position. `text_mask`
        (slots, text positions) is true where its prompt has tokens. All positions are below `used`. `negative` is None
        when no slot has a negative prompt.
        """
        slots, heads = len(codes), self.config.num_heads
        states = _twice(self._embed(codes) + self._positions[positions].to(self.dtype))
        rows, row_positions = self._rows[: len(states)], _twice(positions)
        # Computed once, as an additive mask: the kernels would convert a boolean mask in every layer.
        mask = _additive_mask(self._places[:used] <= row_positions[:, None], caches.dtype)
        of_text = _additive_mask(text_mask, self.dtype)
        of_negative = None if negative is None else _additive_mask(negative.mask, self.dtype)
        for index, layer in enumerate(self._layers):
            qkv = layer.qkv(layer.norm(states)).view(len(states), 3, heads, -1)
            codes, written = caches.codes[index], qkv[:, 1:].to(caches.dtype)
            if slots == 1:
                # Both rows are at one position: this takes half the time of indexing each row.
                codes[:ROWS_PER_SLOT].index_copy_(3, positions, written[:, :, :, None])
            else:
                codes[rows, :, :, row_positions] = written
            mixed = _attend(qkv[:, 0, :, None], codes[: len(states), :, :, :used], mask)
            # Add in place: no allocation for the sum.
            states = layer.out(mixed.view(len(states), -1)).add_(states)
            if layer.text is not None:
                # Free rows without text, and there are no biases: their attention is exactly zero.
                prompted = states[::ROWS_PER_SLOT]
                prompted += self._attend_text(layer.text, prompted, caches.text[index][:slots], of_text)
                if negative is not None and of_negative is not None:
                    free = states[1::ROWS_PER_SLOT]
                    heard = self._attend_text(layer.text, free, caches.negative[index][:slots], of_negative)
                    free += torch.where(negative.has[:, None], heard, torch.zeros_like(heard))
            states = layer.fc2(functional.gelu(layer.fc1(layer.ffn_norm(states)))).add_(states)
        return self._logits(states).view(slots, ROWS_PER_SLOT, self.config.num_codebooks, -1)

    def _attend_text(
        self, text: TextAttention, states: torch.Tensor, cached: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """Return what one row of each slot hears of its text."""
        q = text.q(text.norm(states)).view(len(states), self.config.num_heads, 1, -1)
        return text.out(_attend(q, cached, mask).view(len(states), -1))

    # prefill

    def prefill(
        self,
        slot: int,
        columns: torch.Tensor,
        prefix: torch.Tensor | None,
        text: torch.Tensor | None,
        caches: Caches,
        negative: torch.Tensor | None = None,
    ) -> None:
        """Process `columns` (codebooks, length) after the two rows' `prefix` (2, length, hidden); cache the texts.

        Nothing is sampled: the first step processes the last column.
        """
        texts = [(text, caches.text), (negative, caches.negative)]
        for each, cached in texts:
            if each is not None:
                self._cache_text(slot, each, cached)
        parts = [prefix] if prefix is not None else []
        if columns.shape[1]:
            parts.append(self._embed(columns.t()).expand(ROWS_PER_SLOT, -1, -1))
        if not parts:
            return
        states = torch.cat([part.to(self.dtype) for part in parts], dim=1)
        length, heads = states.shape[1], self.config.num_heads
        states = states + self._positions[:length].to(self.dtype)
        first = slot * ROWS_PER_SLOT
        for index, layer in enumerate(self._layers):
            qkv = layer.qkv(layer.norm(states)).view(ROWS_PER_SLOT, length, 3, heads, -1).permute(2, 0, 3, 1, 4)
            caches.codes[index][first : first + ROWS_PER_SLOT, :, :, :length] = qkv[1:].transpose(0, 1)
            if index == len(self._layers) - 1:
                return
            mixed = functional.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], is_causal=True)
            states = states + layer.out(mixed.transpose(1, 2).reshape(ROWS_PER_SLOT, length, -1))
            if layer.text is not None:
                rows = []
                for row, (each, cached) in zip(states.chunk(ROWS_PER_SLOT), texts, strict=True):
                    known = 0 if each is None else len(each)
                    of_slot = cached[index][slot : slot + 1, :, :, :known]
                    rows.append(row if each is None else row + self._prefill_text(layer.text, row, of_slot))
                states = torch.cat(rows)
            states = states + layer.fc2(functional.gelu(layer.fc1(layer.ffn_norm(states))))

    def _prefill_text(self, text: TextAttention, states: torch.Tensor, cached: torch.Tensor) -> torch.Tensor:
        """Return what all positions of one row hear of its text."""
        length, heads = states.shape[1], self.config.num_heads
        q = text.q(text.norm(states)).view(1, length, heads, -1).transpose(1, 2)
        k, v = cached.unbind(1)
        mixed = functional.scaled_dot_product_attention(q, k, v)
        return text.out(mixed.transpose(1, 2).reshape(1, length, -1))

    def _cache_text(self, slot: int, text: torch.Tensor, cached: list[torch.Tensor]) -> None:
        text = text.to(self.device, self.dtype)
        for index, layer in enumerate(self._layers):
            if layer.text is None:
                return
            for which, projection in enumerate((layer.text.k, layer.text.v)):
                projected = projection(text).view(len(text), self.config.num_heads, -1)
                cached[index][slot, which, :, : len(text)] = projected.transpose(0, 1)

    # parts

    def _embed(self, codes: torch.Tensor) -> torch.Tensor:
        """Sum the codebooks' embeddings of (…, codebooks) in order."""
        embedded = self.embeddings[self._books, codes]
        total = embedded[..., 0, :]
        for book in range(1, self.config.num_codebooks):
            total = total + embedded[..., book, :]
        return total

    def _logits(self, states: torch.Tensor) -> torch.Tensor:
        return self._heads(self._norm(states)).to(torch.float32)

    def _norm_of(self, tensors: Tensors, name: str) -> Normalization:
        hidden = self.config.hidden_size
        weight, bias = (
            tensors.pop(f"{name}.{part}", hidden).to(self.device, self.dtype) for part in ("weight", "bias")
        )
        return Normalization(weight, bias)

    def _layer(self, tensors: Tensors) -> DecoderBlock:
        hidden, ffn = self.config.hidden_size, self.config.ffn_size

        def square(name: str) -> torch.Tensor:
            return tensors.pop(f"{name}.weight", hidden, hidden)

        text = None
        if not self.config.prefix:
            text = TextAttention(
                norm=self._norm_of(tensors, "encoder_attn_layer_norm"),
                q=self._make(square("encoder_attn.q_proj")),
                k=FloatLinear(square("encoder_attn.k_proj").to(self.device, self.dtype)),
                v=FloatLinear(square("encoder_attn.v_proj").to(self.device, self.dtype)),
                out=self._make(square("encoder_attn.out_proj")),
            )
        return DecoderBlock(
            norm=self._norm_of(tensors, "self_attn_layer_norm"),
            qkv=self._make(torch.cat([square(f"self_attn.{part}_proj") for part in "qkv"])),
            out=self._make(square("self_attn.out_proj")),
            text=text,
            ffn_norm=self._norm_of(tensors, "final_layer_norm"),
            fc1=self._make(tensors.pop("fc1.weight", ffn, hidden)),
            fc2=self._make(tensors.pop("fc2.weight", hidden, ffn)),
        )


def _attend(q: torch.Tensor, cached: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    k, v = cached.unbind(1)
    return functional.scaled_dot_product_attention(q.to(k.dtype), k, v, attn_mask=mask).to(q.dtype)


def _twice(tensor: torch.Tensor) -> torch.Tensor:
    """Repeat each slot's entry for its two rows."""
    return tensor.unsqueeze(1).expand(-1, ROWS_PER_SLOT, *tensor.shape[1:]).flatten(0, 1)


def _additive_mask(seen: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return the mask to add to the scores: zero where `seen` is true, minus infinity elsewhere."""
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, -torch.inf)[:, None, None]


def _sinusoids(positions: int, hidden: int) -> torch.Tensor:
    half = hidden // 2
    rates = torch.exp(torch.arange(half).float() * -(math.log(10_000) / (half - 1)))
    angles = torch.arange(positions).float()[:, None] * rates
    return torch.cat([torch.cos(angles), torch.sin(angles)], dim=1)
