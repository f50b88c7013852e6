"""The device's side of the batch: caches, columns and settings of all slots, and the step over them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from segue_renderer.musicgen.graphs import RecordedSteps
from segue_renderer.musicgen.model import sampling
from segue_renderer.musicgen.model.caches import Caches
from segue_renderer.musicgen.policy.delay_pattern import FREE, Pattern

if TYPE_CHECKING:
    from segue_renderer.musicgen.graphs import Recorder
    from segue_renderer.musicgen.loaded_model import Model
    from segue_renderer.musicgen.policy.delay_pattern import Codes

LENGTH_BUCKET: Final = 32
"""Attention looks at the used part of the cache, rounded up to so many positions."""


@dataclass(frozen=True)
class Sampling:
    """How one request chooses."""

    guidance: float = 3.0
    temperature: float = 1.0
    top_k: int = 250
    top_p: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Conditions:
    """What one request hears beside codes, ready for the decoder."""

    text: torch.Tensor | None
    """(tokens, hidden), for models with cross attention."""
    prefix: torch.Tensor | None
    """(2, positions, hidden), for melody models."""

    @property
    def prefix_positions(self) -> int:
        """How many positions the prefix takes."""
        return 0 if self.prefix is None else self.prefix.shape[1]


class Runner:
    """Slots on a device. Every method must be called from one and the same thread."""

    def __init__(
        self, model: Model, *, slots: int, columns: int, text_positions: int, cache_dtype: torch.dtype | None = None
    ) -> None:
        config = model.config.decoder
        self.model = model
        self.pattern = Pattern(config.delays, config.pad)
        self.text_positions = text_positions
        self.prefix_positions = (model.config.melody.chroma_length + text_positions) if model.config.melody else 0
        self._positions = columns + self.prefix_positions
        decoder = self._decoder = model.decoder
        self._slots = slots
        decoder.reserve(-(-self._positions // LENGTH_BUCKET) * LENGTH_BUCKET, slots)
        self.caches = Caches(
            config,
            slots=slots,
            positions=-(-self._positions // LENGTH_BUCKET) * LENGTH_BUCKET,
            text_positions=text_positions,
            dtype=cache_dtype or decoder.dtype,
            text_dtype=decoder.dtype,
            device=decoder.device,
        )
        self._settings = sampling.Settings.make(slots, decoder.device)
        self._laid = self._integers(slots, config.num_codebooks, columns).fill_(config.pad)
        self._column = self._integers(slots)
        self._offset = self._integers(slots)
        self._text_mask = torch.zeros(slots, text_positions, dtype=torch.bool, device=decoder.device)
        # An empty mask would make its row not a number.
        self._text_mask[:, 0] = True
        self._finite = torch.ones(slots, dtype=torch.bool, device=decoder.device)
        self._rows = torch.arange(slots, device=decoder.device)
        self._logits = torch.zeros(slots, config.num_codebooks, config.codebook_size, device=decoder.device)
        self._recorded: RecordedSteps | None = None

    def _integers(self, *shape: int) -> torch.Tensor:
        return torch.zeros(shape, dtype=torch.int64, device=self._decoder.device)

    # joining and leaving

    def begin(self, slot: int, laid: Codes, known: int, conditions: Conditions, settings: Sampling) -> None:
        """Put a request into a slot: its columns, of which the first `known` are heard at once."""
        device = self._decoder.device
        columns = torch.from_numpy(laid).to(device)
        self._laid[slot].fill_(self.pattern.pad)
        self._laid[slot, :, : laid.shape[1]] = columns
        # The last known column is what the first step hears.
        self._column[slot], self._offset[slot] = known - 1, conditions.prefix_positions
        self._finite[slot] = True
        self._text_mask[slot] = False
        self._text_mask[slot, : 1 if conditions.text is None else len(conditions.text)] = True
        self._settings.put(
            slot,
            guidance=settings.guidance,
            temperature=settings.temperature,
            top_k=settings.top_k,
            top_p=settings.top_p,
            seed=settings.seed,
        )
        prefix = None if conditions.prefix is None else conditions.prefix.to(device)
        self._decoder.prefill(slot, columns[:, : known - 1], prefix, conditions.text, self.caches)

    def move(self, source: int, target: int, used: int) -> None:
        """Move a request to another slot, with its first `used` positions."""
        self.caches.move(source, target, used)
        self._settings.move(source, target)
        for tensor in (self._laid, self._column, self._offset, self._text_mask, self._finite):
            tensor[target] = tensor[source]

    def clear(self, slot: int) -> None:
        """Forget all of a slot. What is not a number would spoil the next request, though its places are masked."""
        self.caches.clear(slot)

    # stepping

    def step(self, bucket: int, used: int) -> None:
        """Fill one more column of the first `bucket` slots; no slot has come to position `used`."""
        if self._recorded is not None:
            self._recorded(bucket, used)
        else:
            self._compute(bucket, min(-(-used // LENGTH_BUCKET) * LENGTH_BUCKET, self.caches.positions))

    def record(self, recorder: Recorder) -> int:
        """Step by recorded graphs from now on; return how many there are.

        Nothing may be in a slot yet: recording plays, and what it played is forgotten.
        """
        try:
            self._recorded = RecordedSteps(self._compute, recorder, slots=self._slots, positions=self.caches.positions)
        finally:
            self._column.zero_()
            self._laid.fill_(self.pattern.pad)
            for slot in range(self._slots):
                self.clear(slot)
        return len(self._recorded)

    def _compute(self, bucket: int, length: int) -> None:
        """Step, with attention over `length` positions.

        It reads and writes buffers that stay where they are, its shapes follow from its arguments, and it never waits
        for the device: so it can be recorded.
        """
        rows, column = self._rows[:bucket], self._column[:bucket]
        heard = self._laid[rows, :, column]
        logits = self._decoder.step(
            heard, column + self._offset[:bucket], self._text_mask[:bucket], self.caches, length
        )
        mixed = sampling.guided(logits, self._settings.guidance[:bucket])
        self._logits[:bucket] = mixed
        self._finite[:bucket] &= mixed.isfinite().all(dim=-1).all(dim=-1)
        chosen = sampling.choose(mixed, column + 1, self._settings)
        # Slots that have no request go on in place.
        following = (column + 1).clamp(max=self._laid.shape[2] - 1)
        due = self._laid[rows, :, following]
        self._laid[rows, :, following] = torch.where(due == FREE, chosen, due)
        self._column[:bucket] = following

    # reading

    def frames(self, slot: int, first_frame: int, frames: int) -> Codes:
        """Read finished frames of a slot."""
        last = 1 + first_frame + frames + self.pattern.lag
        part = self._laid[slot, :, first_frame:last].cpu().numpy()
        return self.pattern.take(part, 0, frames)

    def is_finite(self, slot: int) -> bool:
        """Whether all of a slot's logits were numbers."""
        return bool(self._finite[slot])

    @property
    def last_logits(self) -> torch.Tensor:
        """The last step's logits after guidance, (slots, codebooks, entries): for tests and measurements."""
        return self._logits

    def jump(self, slot: int, column: int) -> None:
        """Say that a slot has come to a column, as if it had played so far: for measurements."""
        self._column[slot] = column


def empty_prompt(model: Model) -> Codes:
    """Return a prompt of no frames."""
    return np.zeros((model.config.decoder.num_codebooks, 0), np.int64)
