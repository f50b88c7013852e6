"""The interface of separators, and the stream of stems that add up to the recording."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

if TYPE_CHECKING:
    from segue_audio.arrays import Float32

STEP: Final = np.float32(2.0**-23)
"""One step of 24 bits. Stems are multiples of it, so that the stems of a source of up to 24 bits add up exactly."""
FULL_SCALE: Final = np.float32(1.0) - STEP
"""The largest sample of 24 bits."""


class SeparatorKind(IntEnum):
    """What a recording is separated into; the numbers are those of the contract."""

    HARMONIC_PERCUSSIVE = 1
    FOUR_STEMS = 2


@dataclass(frozen=True, slots=True)
class SeparatorInfo:
    """What a separator is, for reports and manifests."""

    kind: SeparatorKind
    name: str
    stems: tuple[str, ...]
    rest: str
    """The stem that gets what the estimates of the others leave, so that the sum is the recording."""
    digest: str = ""
    """The SHA-256 of its weights in hex; empty without weights."""


class StemEstimates(Protocol):
    """Estimates the stems of one recording but its rest, in their order."""

    def push(self, block: Float32) -> Float32:
        """Add frames of shape (frames, channels); return what is ready, of shape (stems - 1, frames, channels)."""
        ...

    def finish(self) -> Float32:
        """End the recording and return the last estimates, in the same shape."""
        ...


class Separator(Protocol):
    """Separates recordings. It may serve several at the same time."""

    @property
    def info(self) -> SeparatorInfo:
        """What it is."""
        ...

    def estimates(self, sample_rate: int, channels: int) -> StemEstimates:
        """Begin a recording."""
        ...


class StemStream:
    """The stems of one recording: `push` its blocks in order, then `finish` once.

    Both return what is ready, of shape (stems, frames, channels). The sum of the stems is the recording: exactly for
    samples of up to 24 bits, else within half a step of 24 bits. No stem is beyond full scale, as long as the recording
    is not either.
    """

    def __init__(self, separator: Separator, sample_rate: int, channels: int) -> None:
        self.info = separator.info
        self._estimates = separator.estimates(sample_rate, channels)
        self._rest = self.info.stems.index(self.info.rest)
        self._waiting = np.zeros((0, channels), dtype=np.float32)
        """The frames whose estimates are not ready yet."""
        self.frames = 0
        """The frames returned so far."""

    def push(self, block: Float32) -> Float32:
        """Add frames of shape (frames, channels); samples that are not finite count as silence."""
        if not np.isfinite(block).all():
            block = np.where(np.isfinite(block), block, np.float32(0))
        self._waiting = np.concatenate([self._waiting, block])
        return self._add_up(self._estimates.push(block))

    def finish(self) -> Float32:
        """End the recording and return its last frames."""
        last = self._estimates.finish()
        missing = len(self._waiting) - last.shape[1]
        return self._add_up(np.pad(last, ((0, 0), (0, max(0, missing)), (0, 0))))

    def _add_up(self, estimates: Float32) -> Float32:
        """Return the ready stems with the rest among them."""
        ready = min(estimates.shape[1], len(self._waiting))
        source, self._waiting = self._waiting[:ready], self._waiting[ready:].copy()
        self.frames += ready
        return with_rest(estimates[:, :ready], source, self._rest)


def with_rest(estimates: Float32, source: Float32, index: int) -> Float32:
    """Return all stems: the estimates, and at `index` what they leave of the source."""
    estimates = np.clip(np.rint(estimates / STEP) * STEP, -FULL_SCALE, FULL_SCALE)
    rest = source - estimates.sum(axis=0, dtype=np.float64)
    # What does not fit into the rest goes back to the others, as far as it fits there.
    excess = rest - np.clip(rest, -FULL_SCALE, FULL_SCALE)
    if excess.any():
        for at, estimate in enumerate(estimates):
            moved = np.clip(estimate + excess, -FULL_SCALE, FULL_SCALE).astype(np.float32) - estimate
            estimates[at] += moved
            rest -= moved
            excess -= moved
    stems: Float32 = np.insert(estimates, index, rest.astype(np.float32), axis=0)
    return stems
