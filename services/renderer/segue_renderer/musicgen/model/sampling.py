"""Samples the next codes: each row with its own settings and its own random numbers."""

from __future__ import annotations

from dataclasses import dataclass

import torch

MASK_32 = 0xFFFF_FFFF


@dataclass
class SlotSampling:
    """Sampling settings, one entry for each slot."""

    guidance: torch.Tensor
    temperature: torch.Tensor
    top_k: torch.Tensor
    top_p: torch.Tensor
    seed: torch.Tensor

    @classmethod
    def make(cls, slots: int, device: torch.device) -> SlotSampling:
        """Return neutral settings for `slots` slots."""

        def row(value: float, dtype: torch.dtype) -> torch.Tensor:
            return torch.full((slots,), value, dtype=dtype, device=device)

        return cls(
            guidance=row(1, torch.float32),
            temperature=row(1, torch.float32),
            top_k=row(0, torch.int64),
            top_p=row(1, torch.float32),
            seed=row(0, torch.int64),
        )

    def put(self, slot: int, *, guidance: float, temperature: float, top_k: int, top_p: float, seed: int) -> None:
        """Set a slot's settings. Temperature 0 chooses the most probable; top_k 0, and top_p 0 or 1, keep all."""
        self.guidance[slot], self.temperature[slot] = guidance, temperature
        self.top_k[slot], self.top_p[slot], self.seed[slot] = top_k, top_p or 1.0, seed

    def move(self, source: int, target: int) -> None:
        """Copy a slot's settings."""
        for tensor in (self.guidance, self.temperature, self.top_k, self.top_p, self.seed):
            tensor[target] = tensor[source]


def guided(logits: torch.Tensor, guidance: torch.Tensor) -> torch.Tensor:
    """Apply guidance: (slots, 2, codebooks, entries) to (slots, codebooks, entries)."""
    prompted, free = logits[:, 0], logits[:, 1]
    return free + (prompted - free) * guidance[:, None, None]


def choose(logits: torch.Tensor, columns: torch.Tensor, settings: SlotSampling) -> torch.Tensor:
    """Choose a code for each (slot, codebook); `columns` has each slot's column.

    Nothing here waits for the device, and rows are independent of each other.
    """
    scores, order = scored(logits, columns, settings)
    return order.gather(-1, scores.argmax(dim=-1, keepdim=True)).squeeze(-1)


def scored(logits: torch.Tensor, columns: torch.Tensor, settings: SlotSampling) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the scores, sorted, and the entry of each score. The entry with the best score is chosen."""
    slots, _, entries = logits.shape
    temperature = settings.temperature[:slots, None, None]
    # Rows at temperature 0 keep the best entry only; avoid the division by zero.
    scaled = logits / torch.where(temperature > 0, temperature, 1.0)
    ranked, order = torch.sort(scaled, dim=-1, descending=True, stable=True)
    rank = torch.arange(entries, device=logits.device)
    top_k = torch.where(settings.top_k > 0, settings.top_k, entries)[:slots, None, None]
    top_k = torch.where(temperature > 0, top_k, 1)
    kept = ranked.masked_fill(rank >= top_k, -torch.inf)
    shares = torch.softmax(kept, dim=-1)
    # The entry that passes the limit is kept, so there is always one.
    kept = kept.masked_fill(shares.cumsum(-1) - shares >= settings.top_p[:slots, None, None], -torch.inf)
    return kept + gumbel(order, columns, settings.seed[:slots]), order


def gumbel(entries: torch.Tensor, columns: torch.Tensor, seeds: torch.Tensor) -> torch.Tensor:
    """Return noise that depends on seed, column, codebook and entry only, not on neighbours, batch or device.

    The largest of logits plus noise is a draw with the softmax's probabilities (the Gumbel-max trick).
    """
    books = torch.arange(entries.shape[1], device=entries.device)
    counter = _mix(_mix(_mix(seeds)[:, None] + columns[:, None])[..., None] + books[:, None] * 0x9E37_79B9 + entries)
    uniform = (counter.to(torch.float64) + 0.5) / 2.0**32
    return -torch.log(-torch.log(uniform)).to(torch.float32)


def _mix(value: torch.Tensor) -> torch.Tensor:
    """Mix 32 bits; products stay below 2**63."""
    value = value & MASK_32
    value = ((value ^ (value >> 16)) * 0x45D9_F3B) & MASK_32
    value = ((value ^ (value >> 16)) * 0x45D9_F3B) & MASK_32
    return value ^ (value >> 16)
