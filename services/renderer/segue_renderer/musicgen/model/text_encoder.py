"""The T5 encoder: runs once for each new prompt, in fp32 on the model's device."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from segue_renderer.musicgen.checkpoint.tensors import Tensors
    from segue_renderer.musicgen.config import TextConfig


@dataclass
class EncoderBlock:
    """The weights of one layer."""

    attention_norm: torch.Tensor
    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    o: torch.Tensor
    ffn_norm: torch.Tensor
    wi: torch.Tensor
    wo: torch.Tensor


class TextEncoder:
    """Encodes tokens to hidden states."""

    def __init__(self, config: TextConfig, tensors: Tensors, device: torch.device) -> None:
        inner, hidden, ffn = config.num_heads * config.head_size, config.hidden_size, config.ffn_size
        self.config = config
        self.device = device

        def pop(name: str, *shape: int) -> torch.Tensor:
            return tensors.pop(name, *shape).to(device)

        self._embedding = pop("shared.weight", config.vocab_size, hidden)
        self._bias = pop(
            "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", config.num_buckets, config.num_heads
        )
        self._norm = pop("encoder.final_layer_norm.weight", hidden)
        self._blocks = []
        for index in range(config.num_layers):
            attention, ffn_part = (f"encoder.block.{index}.layer.{part}" for part in range(2))
            self._blocks.append(
                EncoderBlock(
                    attention_norm=pop(f"{attention}.layer_norm.weight", hidden),
                    q=pop(f"{attention}.SelfAttention.q.weight", inner, hidden),
                    k=pop(f"{attention}.SelfAttention.k.weight", inner, hidden),
                    v=pop(f"{attention}.SelfAttention.v.weight", inner, hidden),
                    o=pop(f"{attention}.SelfAttention.o.weight", hidden, inner),
                    ffn_norm=pop(f"{ffn_part}.layer_norm.weight", hidden),
                    wi=pop(f"{ffn_part}.DenseReluDense.wi.weight", ffn, hidden),
                    wo=pop(f"{ffn_part}.DenseReluDense.wo.weight", hidden, ffn),
                )
            )

    def encode(self, tokens: list[int]) -> torch.Tensor:
        """Return the states of one prompt, of shape (tokens, hidden)."""
        states = self._embedding[torch.tensor(tokens, device=self.device)]
        bias = self._position_bias(len(tokens))
        heads = self.config.num_heads
        for block in self._blocks:
            normed = self._scale(states, block.attention_norm)
            q, k, v = (
                functional.linear(normed, weight).view(len(tokens), heads, -1).transpose(0, 1)
                for weight in (block.q, block.k, block.v)
            )
            # T5 does not scale the products; its initialisation accounts for it.
            weights = functional.softmax(q @ k.transpose(1, 2) + bias, dim=-1)
            mixed = (weights @ v).transpose(0, 1).reshape(len(tokens), -1)
            states = states + functional.linear(mixed, block.o)
            normed = self._scale(states, block.ffn_norm)
            states = states + functional.linear(functional.relu(functional.linear(normed, block.wi)), block.wo)
        return self._scale(states, self._norm)

    def _scale(self, states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return weight * (states * torch.rsqrt(states.pow(2).mean(-1, keepdim=True) + self.config.epsilon))

    def _position_bias(self, length: int) -> torch.Tensor:
        """Return the bias by distance: one bucket for each near distance, logarithmic buckets for far ones."""
        buckets, positions = self.config.num_buckets // 2, torch.arange(length, device=self.device)
        distance = positions[None, :] - positions[:, None]
        far_from = buckets // 2
        far = (
            far_from
            + (
                torch.log(distance.abs().clamp(min=1).float() / far_from)
                / math.log(self.config.max_distance / far_from)
                * (buckets - far_from)
            ).to(torch.long)
        ).clamp(max=buckets - 1)
        bucket = torch.where(distance.abs() < far_from, distance.abs(), far) + (distance > 0) * buckets
        return self._bias[bucket].permute(2, 0, 1)
