"""The master's tone: section gains, high-pass, equaliser, stereo width with mono bass, saturation.

The three filters are one: a minimum-phase FIR for the middle and one for the sides, so that nothing rings before its
time, and an edit in the piece changes no more than the filter's length after it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from segue_mixer.master.control_grid.steps import BLOCK_FRAMES, between_steps, step_frames
from segue_mixer.master.tonal_balance import CENTRES_HZ

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_audio.arrays import Float32, Float64
    from segue_mixer.master.presets import MasterSettings
    from segue_mixer.master.section_gains import SectionGains

SATURATION_LUFS: Final = -9.0
"""Saturation sees the piece as if it were this loud: its curve begins to bend where a dense mix has its peaks."""
FLOOR: Final = 1e-4


class Tone:
    """Shapes a piece block by block, in place and without delay: (frames, channels) in, (channels, frames) out."""

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
        planar = np.ascontiguousarray(block.T) if self._filter is None else self._filter.push(block)
        if not self._sections.is_level:
            num_steps = BLOCK_FRAMES // self._step
            knots = self._sections.at(self._next_step - 1, num_steps + 2)
            self._next_step += num_steps
            planar *= between_steps(10 ** (knots / 20), self._step)
        return planar if self._saturation is None else self._saturation.push(planar)


class _Filter:
    """Overlap-save convolution; the first lane's kernel is the middle's or every channel's, the second the sides'."""

    def __init__(self, kernels: Float32, channels: int, *, mid_side: bool) -> None:
        import scipy.fft

        self._fft = scipy.fft
        self._mid_side = mid_side
        taps = kernels.shape[1]
        self._overlap = taps - 1
        # Two stretches of two lanes cost no more than one: the transform does four at a time.
        self._stretch = min(taps, BLOCK_FRAMES)
        self._size = self._fft.next_fast_len(self._stretch + self._overlap, real=True)
        self._response = self._fft.rfft(kernels, self._size, axis=1)[:, None]
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
        stretches = np.lib.stride_tricks.sliding_window_view(lanes, self._stretch + self._overlap, axis=1)
        spectrum = self._fft.rfft(stretches[:, :: self._stretch], self._size, axis=2)
        spectrum *= self._response
        shaped = self._fft.irfft(spectrum, self._size, axis=2)[:, :, self._overlap : self._overlap + self._stretch]
        made = np.empty((len(lanes), BLOCK_FRAMES), np.float32)
        into = made.reshape(shaped.shape)
        if self._mid_side:
            np.add(shaped[0], shaped[1], out=into[0])
            np.subtract(shaped[0], shaped[1], out=into[1])
        else:
            into[:] = shaped
        return made


class Saturation:
    """A soft bend of the wave: x - x³/3 up to its top, blended in.

    Only the difference to the straight line is made, as the mean over the way from each sample to the next: that
    keeps its overtones from folding back (antiderivative anti-aliasing).
    """

    def __init__(self, amount: float, gain_db: float, channels: int) -> None:
        self._amount = np.float32(amount)
        self._gain = np.float32(10 ** (gain_db / 20))
        self._last = np.zeros((channels, 1), np.float32)

    def push(self, block: Float32) -> Float32:
        """Take sound, (channels, frames), and give it bent."""
        # One frame more at the front: the way to the first frame begins at the last one of the block before.
        wide = np.empty((block.shape[0], block.shape[1] + 1), np.float32)
        wide[:, :1] = self._last
        np.multiply(block, self._gain, out=wide[:, 1:])
        self._last = wide[:, -1:].copy()
        before, here = wide[:, :-1], wide[:, 1:]
        squares = wide * wide
        # The mean of x³/3 from a to b is (a + b)(a² + b²) / 12.
        bent = squares[:, :-1] + squares[:, 1:]
        bent *= before + here
        bent *= np.float32(1 / 12)
        # Few samples are beyond the curve's top, and only they need more.
        beyond = squares > 1.0
        if beyond.any():
            where = np.nonzero(beyond[:, :-1] | beyond[:, 1:])
            bent[where] = _mean_bend(before[where].astype(np.float64), here[where].astype(np.float64))
        bent *= self._amount / self._gain
        np.subtract(block, bent, out=bent)
        return np.asarray(bent, np.float32)


def _mean_bend(before: Float64, here: Float64) -> Float64:
    """What the curve takes away, in the mean from each sample to the next."""
    way = here - before
    near = np.abs(way) < 1e-6
    mean = (_area(here) - _area(before)) / np.where(near, 1.0, way)
    middle = (here + before) / 2
    inside = np.clip(middle, -1.0, 1.0)
    return np.where(near, inside**3 / 3 + (middle - inside), mean)


def _area(wave: Float64) -> Float64:
    """The integral, from 0, of what the curve takes away."""
    inside = np.minimum(np.abs(wave), 1.0)
    over = np.abs(wave) - inside
    area: Float64 = inside**4 / 12 + over / 3 + over * over / 2
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
