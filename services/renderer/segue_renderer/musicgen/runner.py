"""The batch on the device: caches, columns and sampling settings of all slots, and the step over them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from segue_renderer.musicgen.graphs import SWITCH, CapturedSteps
from segue_renderer.musicgen.model import sampling
from segue_renderer.musicgen.model.caches import Caches
from segue_renderer.musicgen.model.decoder import NegativeText
from segue_renderer.musicgen.policy.delay_pattern import FREE, DelayPattern
from segue_runtime import errors, logs

if TYPE_CHECKING:
    from collections.abc import Callable

    from segue_renderer.musicgen.graphs import StepCapture
    from segue_renderer.musicgen.loaded_model import LoadedModel
    from segue_renderer.musicgen.policy.delay_pattern import Codes

log = logs.get("musicgen")
LENGTH_BUCKET: Final = 32
"""Attention covers the used part of the cache, rounded up to a multiple of this many positions."""


@dataclass(frozen=True)
class SamplingParams:
    """Sampling settings of one request."""

    guidance: float = 3.0
    temperature: float = 1.0
    top_k: int = 250
    top_p: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Conditions:
    """A request's text and melody, ready for the decoder."""

    text: torch.Tensor | None
    """(tokens, hidden), for models with cross attention."""
    prefix: torch.Tensor | None
    """(2, positions, hidden), for melody models."""
    negative: torch.Tensor | None = None
    """(tokens, hidden), the text of the free row; None: it has no text, and for melody models."""

    @property
    def prefix_positions(self) -> int:
        """The number of positions that the prefix takes."""
        return 0 if self.prefix is None else self.prefix.shape[1]


class BatchRunner:
    """Slots on a device. One thread must make all calls."""

    def __init__(
        self,
        model: LoadedModel,
        *,
        slots: int,
        columns: int,
        text_positions: int,
        cache_dtype: torch.dtype | None = None,
    ) -> None:
        config = model.config.decoder
        self.model = model
        self.pattern = DelayPattern(config.delays, config.pad)
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
        self._settings = sampling.SlotSampling.make(slots, decoder.device)
        self._laid = self._integers(slots, config.num_codebooks, columns).fill_(config.pad)
        self._column = self._integers(slots)
        self._offset = self._integers(slots)
        self._text_mask = torch.zeros(slots, text_positions, dtype=torch.bool, device=decoder.device)
        # An empty mask would turn its row into NaN.
        self._text_mask[:, 0] = True
        self._negative = NegativeText(
            mask=self._text_mask.clone(), has=torch.zeros(slots, dtype=torch.bool, device=decoder.device)
        )
        self._with_negative = [False] * slots
        """What the device has in `_negative.has`, for decisions without reading it."""
        self._finite = torch.ones(slots, dtype=torch.bool, device=decoder.device)
        self._rows = torch.arange(slots, device=decoder.device)
        self._logits = torch.zeros(slots, config.num_codebooks, config.codebook_size, device=decoder.device)
        self._captured: CapturedSteps | None = None

    def _integers(self, *shape: int) -> torch.Tensor:
        return torch.zeros(shape, dtype=torch.int64, device=self._decoder.device)

    # joining and leaving

    def begin(self, slot: int, laid: Codes, known: int, conditions: Conditions, settings: SamplingParams) -> None:
        """Put a request into a slot and prefill the first `known` of its columns."""
        device = self._decoder.device
        columns = torch.from_numpy(laid).to(device)
        self._laid[slot].fill_(self.pattern.pad)
        self._laid[slot, :, : laid.shape[1]] = columns
        # The first step reads the last known column.
        self._column[slot], self._offset[slot] = known - 1, conditions.prefix_positions
        self._finite[slot] = True
        self._text_mask[slot] = False
        self._text_mask[slot, : 1 if conditions.text is None else len(conditions.text)] = True
        negative = conditions.negative
        self._negative.mask[slot] = False
        self._negative.mask[slot, : 1 if negative is None else len(negative)] = True
        self._negative.has[slot] = self._with_negative[slot] = negative is not None
        self._settings.put(
            slot,
            guidance=settings.guidance,
            temperature=settings.temperature,
            top_k=settings.top_k,
            top_p=settings.top_p,
            seed=settings.seed,
        )
        prefix = None if conditions.prefix is None else conditions.prefix.to(device)
        self._decoder.prefill(slot, columns[:, : known - 1], prefix, conditions.text, self.caches, negative)

    def end(self, slot: int) -> None:
        """Take a request out of a slot."""
        self._with_negative[slot] = False

    def move(self, source: int, target: int, used: int) -> None:
        """Move a request to another slot, with its first `used` positions."""
        self.caches.move(source, target, used)
        self._settings.move(source, target)
        negative = self._negative
        for tensor in (
            self._laid, self._column, self._offset, self._text_mask, negative.mask, negative.has, self._finite,
        ):  # fmt: skip
            tensor[target] = tensor[source]
        self._with_negative[target], self._with_negative[source] = self._with_negative[source], False

    def clear(self, slot: int) -> None:
        """Set a slot's caches to zero. NaN would spoil the next request, although its positions are masked."""
        self.caches.clear(slot)

    # stepping

    def step(self, bucket: int, used: int) -> None:
        """Fill one more column of the first `bucket` slots; all slots are at positions below `used`."""
        with_negative = any(self._with_negative[:bucket])
        if self._captured is not None and not with_negative:
            self._captured(bucket, used)
        else:
            length = min(-(-used // LENGTH_BUCKET) * LENGTH_BUCKET, self.caches.positions)
            self._compute(bucket, length, with_negative=with_negative)

    def capture(self, capture: StepCapture) -> int:
        """Use captured graphs from now on; return their number.

        All slots must be empty: capturing runs the step, and its results are cleared afterwards.
        """
        try:
            self._captured = CapturedSteps(self._compute, capture, slots=self._slots, positions=self.caches.positions)
        finally:
            self._column.zero_()
            self._laid.fill_(self.pattern.pad)
            for slot in range(self._slots):
                self.clear(slot)
        return len(self._captured)

    def _compute(self, bucket: int, length: int, *, with_negative: bool = False) -> None:
        """Step, with attention over `length` positions, and over negative prompts when a slot has one.

        It can be captured: it reads and writes buffers with fixed addresses, its shapes follow from its arguments, and
        it never waits for the device.
        """
        rows, column = self._rows[:bucket], self._column[:bucket]
        codes = self._laid[rows, :, column]
        negative = NegativeText(self._negative.mask[:bucket], self._negative.has[:bucket]) if with_negative else None
        logits = self._decoder.step(
            codes, column + self._offset[:bucket], self._text_mask[:bucket], self.caches, length, negative
        )
        mixed = sampling.guided(logits, self._settings.guidance[:bucket])
        self._logits[:bucket] = mixed
        self._finite[:bucket] &= mixed.isfinite().all(dim=-1).all(dim=-1)
        chosen = sampling.choose(mixed, column + 1, self._settings)
        # Empty slots stay at the last column.
        following = (column + 1).clamp(max=self._laid.shape[2] - 1)
        due = self._laid[rows, :, following]
        self._laid[rows, :, following] = torch.where(due == FREE, chosen, due)
        self._column[:bucket] = following

    # reading

    def frames(self, slot: int, first_frame: int, frames: int) -> Codes:
        """Read finished frames of a slot."""
        last = 1 + first_frame + frames + self.pattern.lag
        part = self._laid[slot, :, first_frame:last].cpu().numpy()
        return self.pattern.read(part, 0, frames)

    def is_finite(self, slot: int) -> bool:
        """Return whether all of a slot's logits were finite."""
        return bool(self._finite[slot])

    @property
    def last_logits(self) -> torch.Tensor:
        """The last step's logits after guidance, (slots, codebooks, entries), for tests and benchmarks."""
        return self._logits

    def jump(self, slot: int, column: int) -> None:
        """Set a slot's column, for benchmarks."""
        self._column[slot] = column


def empty_prompt(model: LoadedModel) -> Codes:
    """Return a prompt of no frames."""
    return np.zeros((model.config.decoder.num_codebooks, 0), np.int64)


def capture_steps(runner: BatchRunner, wanted: str, make_capture: Callable[[], StepCapture]) -> int:
    """Capture a runner's step as the setting asks; return the number of graphs, 0 for the plain loop."""
    if wanted == "off":
        return 0
    try:
        return runner.capture(make_capture())
    except RuntimeError as error:
        if wanted == "auto":
            log.warning("the steps were not captured; the slower plain loop is used", error=str(error), switch=SWITCH)
            return 0
        if isinstance(error, torch.OutOfMemoryError):
            raise errors.OutOfMemory(
                f"no memory to capture the steps: {error}; reduce renderer.musicgen.slots, or set {SWITCH}"
            ) from error
        raise errors.DeviceRequired(f"renderer.musicgen.cuda_graphs = on: {error}") from error
