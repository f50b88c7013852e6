"""The master's tone: section gains, high-pass, equaliser, stereo width with mono bass, saturation.

The three filters are one: a minimum-phase FIR for the middle and one for the sides, so that nothing rings before its
time, and an edit in the piece changes no more than the filter's length after it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from segue_mixer.spectrum import CENTRES_HZ
from segue_mixer.steps import BLOCK_FRAMES, between_steps, step_frames

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_mixer.material import Float32, Float64
    from segue_mixer.presets import MasterSettings
    from segue_mixer.sections import SectionGains

SATURATION_LUFS: Final = -9.0
"""Saturation sees the piece as if it were this loud: its curve begins to bend where a dense mix has its peaks."""
FLOOR: Final = 1e-4


class Tone:
    """Shapes a piece block by block, in place and without delay."""

    def __init__(
        self,
        settings: MasterSettings,
        band_gains_db: Sequence[float],
        sections: SectionGains,
        draft_lufs: float | None,
        sample_rate: int,
        channels: int,
    ) -> None:
        self._sections = sections
        self._step = step_frames(sample_rate)
        self._next_step = 0
        self._filter = _filter_of(settings, band_gains_db, sample_rate, channels)
        self._saturation: Saturation | None = None
        if settings.saturation and draft_lufs is not None:
            self._saturation = Saturation(settings.saturation, SATURATION_LUFS - draft_lufs, channels)

    def push(self, block: Float32) -> Float32:
        """Take a whole block and give it shaped."""
        if self._filter is not None:
            block = self._filter.push(block)
        if self._sections.is_level:
            return block if self._saturation is None else self._saturation.push(block)
        num_steps = BLOCK_FRAMES // self._step
        knots = self._sections.at(self._next_step - 1, num_steps + 2)
        self._next_step += num_steps
        block = block * between_steps(10 ** (knots / 20), self._step)[:, None]
        return block if self._saturation is None else self._saturation.push(block)


class _Filter:
    """Overlap-save convolution; the first lane's kernel is the middle's or every channel's, the second the sides'."""

    def __init__(self, kernels: Float32, channels: int, *, mid_side: bool) -> None:
        import scipy.fft

        self._fft = scipy.fft
        self._mid_side = mid_side
        self._overlap = kernels.shape[1] - 1
        self._size = self._fft.next_fast_len(BLOCK_FRAMES + self._overlap, real=True)
        self._response = self._fft.rfft(kernels, self._size, axis=1)
        self._lanes = np.zeros((channels, self._overlap + BLOCK_FRAMES), np.float32)

    def push(self, block: Float32) -> Float32:
        """Take a whole block and give it filtered."""
        lanes = self._lanes
        lanes[:, : self._overlap] = lanes[:, BLOCK_FRAMES:]
        if self._mid_side:
            lanes[0, self._overlap :] = (block[:, 0] + block[:, 1]) * np.float32(0.5)
            lanes[1, self._overlap :] = (block[:, 0] - block[:, 1]) * np.float32(0.5)
        else:
            lanes[:, self._overlap :] = block.T
        spectrum = self._fft.rfft(lanes, self._size, axis=1)
        spectrum *= self._response
        shaped = self._fft.irfft(spectrum, self._size, axis=1)[:, self._overlap : self._overlap + BLOCK_FRAMES]
        made = np.empty_like(block)
        if self._mid_side:
            np.add(shaped[0], shaped[1], out=made[:, 0])
            np.subtract(shaped[0], shaped[1], out=made[:, 1])
        else:
            made[:] = shaped.T
        return made


class Saturation:
    """A soft bend of the wave: x - x³/3 up to its top, blended in.

    Only the difference to the straight line is made, as the mean over the way from each sample to the next: that
    keeps its overtones from folding back (antiderivative anti-aliasing).
    """

    def __init__(self, amount: float, gain_db: float, channels: int) -> None:
        self._amount = np.float32(amount)
        self._gain = np.float32(10 ** (gain_db / 20))
        self._last = np.zeros((1, channels), np.float32)

    def push(self, block: Float32) -> Float32:
        """Take sound and give it bent."""
        # One frame more at the front: the way to the first frame begins at the last one of the block before.
        wide = np.empty((len(block) + 1, block.shape[1]), np.float32)
        wide[0] = self._last
        np.multiply(block, self._gain, out=wide[1:])
        self._last = wide[-1:].copy()
        before, here = wide[:-1], wide[1:]
        way = here - before
        near = np.abs(way) < 1e-2
        np.copyto(way, 1.0, where=near)
        area = _area(wide)
        bent = area[1:] - area[:-1]
        bent /= way
        np.copyto(bent, _bend((here + before) * np.float32(0.5)), where=near)
        bent *= self._amount / self._gain
        np.subtract(block, bent, out=bent)
        return np.asarray(bent, np.float32)


def _bend(wave: Float32) -> Float32:
    """What the curve takes away."""
    inside = np.clip(wave, -1.0, 1.0)
    bent: Float32 = inside * inside * inside * np.float32(1 / 3) + (wave - inside)
    return bent


def _area(wave: Float32) -> Float32:
    """The integral of `_bend` from 0."""
    area: Float32 = wave * wave
    area *= area
    area *= np.float32(1 / 12)
    size = np.abs(wave)
    # Few samples are beyond the curve's top, and only they need more.
    beyond = size > 1.0
    if beyond.any():
        over = size[beyond] - np.float32(1.0)
        area[beyond] = np.float32(1 / 12) + over * np.float32(1 / 3) + over * over * np.float32(0.5)
    return area


def _filter_of(
    settings: MasterSettings, band_gains_db: Sequence[float], sample_rate: int, channels: int
) -> _Filter | None:
    """Make the filter that the settings ask for; None when they ask for none."""
    width = 1.0 if settings.width is None else settings.width
    shapes_sides = channels == 2 and (width != 1.0 or bool(settings.mono_below_hz))
    if not settings.high_pass_hz and not any(band_gains_db) and not shapes_sides:
        return None
    taps = 8_192 if sample_rate <= 64_000 else 16_384
    points = 4 * taps
    frequency = np.asarray(np.fft.rfftfreq(points, 1 / sample_rate), np.float64)
    middle = _equaliser(frequency, band_gains_db) * _high_pass(frequency, settings.high_pass_hz or 0.0)
    kernels = [_minimum_phase(middle, taps)]
    if shapes_sides:
        sides = middle * _high_pass(frequency, settings.mono_below_hz or 0.0) * width
        kernels.append(_minimum_phase(sides, taps) if width else np.zeros(taps))
    return _Filter(np.array(kernels, np.float32), channels, mid_side=shapes_sides)


def _high_pass(frequency: Float64, corner_hz: float) -> Float64:
    """Size of a Butterworth high-pass of 24 dB an octave."""
    if not corner_hz:
        return np.ones(len(frequency))
    ratio = np.maximum(frequency, 1e-3) / corner_hz
    size: Float64 = 1 / np.sqrt(1 + ratio**-8.0)
    return size


def _equaliser(frequency: Float64, band_gains_db: Sequence[float]) -> Float64:
    """Octave-band gains, drawn straight over the logarithm of frequency and level beyond the ends."""
    if not any(band_gains_db):
        return np.ones(len(frequency))
    octave = np.log2(np.maximum(frequency, 1.0))
    gains_db = np.interp(octave, np.log2(CENTRES_HZ[: len(band_gains_db)]), band_gains_db)
    gains: Float64 = 10 ** (gains_db / 20)
    return gains


def _minimum_phase(size: Float64, taps: int) -> Float64:
    """The shortest-delay impulse response of a spectrum's size, by folding its cepstrum."""
    points = 2 * (len(size) - 1)
    cepstrum = np.fft.irfft(np.log(np.maximum(size, FLOOR * size.max())), points)
    folded = np.zeros(points)
    folded[0] = cepstrum[0]
    folded[1 : points // 2] = 2 * cepstrum[1 : points // 2]
    folded[points // 2] = cepstrum[points // 2]
    response: Float64 = np.fft.irfft(np.exp(np.fft.rfft(folded)), points)[:taps]
    fade = taps // 4
    response[-fade:] *= 0.5 + 0.5 * np.cos(np.linspace(0, np.pi, fade))
    return response
