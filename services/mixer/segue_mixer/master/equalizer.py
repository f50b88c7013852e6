"""Equalizer, high-pass, stereo width and mono bass in one filter.

It is a minimum-phase FIR for the mid channel and another for the sides. Nothing rings before its cause, and an edit in
the piece changes no more than one filter length after it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from segue_mixer.master.control_grid.steps import BLOCK_FRAMES
from segue_mixer.master.tonal_balance import CENTRES_HZ

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_audio.arrays import Float32, Float64
    from segue_mixer.master.presets import MasterSettings

FLOOR: Final = 1e-4


class ConvolutionFilter:
    """Overlap-save convolution: the first kernel is for mid or for every channel, the second for the sides."""

    def __init__(self, kernels: Float32, channels: int, *, mid_side: bool) -> None:
        import scipy.fft

        self._fft = scipy.fft
        self._mid_side = mid_side
        taps = kernels.shape[1]
        self._overlap = taps - 1
        # Two parts of two channels cost as much as one part: the FFT does four at a time.
        self._part = min(taps, BLOCK_FRAMES)
        self._size = self._fft.next_fast_len(self._part + self._overlap, real=True)
        self._response = self._fft.rfft(kernels, self._size, axis=1)[:, None]
        self._input = np.zeros((channels, self._overlap + BLOCK_FRAMES), np.float32)

    def push(self, block: Float32) -> Float32:
        """Filter a whole block."""
        past_and_block = self._input
        past_and_block[:, : self._overlap] = past_and_block[:, BLOCK_FRAMES:]
        if self._mid_side:
            past_and_block[0, self._overlap :] = (block[:, 0] + block[:, 1]) * np.float32(0.5)
            past_and_block[1, self._overlap :] = (block[:, 0] - block[:, 1]) * np.float32(0.5)
        else:
            past_and_block[:, self._overlap :] = block.T
        parts = np.lib.stride_tricks.sliding_window_view(past_and_block, self._part + self._overlap, axis=1)
        spectrum = self._fft.rfft(parts[:, :: self._part], self._size, axis=2)
        spectrum *= self._response
        filtered = self._fft.irfft(spectrum, self._size, axis=2)[:, :, self._overlap : self._overlap + self._part]
        result = np.empty((len(past_and_block), BLOCK_FRAMES), np.float32)
        target = result.reshape(filtered.shape)
        if self._mid_side:
            np.add(filtered[0], filtered[1], out=target[0])
            np.subtract(filtered[0], filtered[1], out=target[1])
        else:
            target[:] = filtered
        return result


def make_filter(
    settings: MasterSettings, band_gains_db: Sequence[float], sample_rate: int, channels: int
) -> ConvolutionFilter | None:
    """Make the filter for the settings; None when they need none."""
    width = 1.0 if settings.width is None else settings.width
    shapes_sides = channels == 2 and (width != 1.0 or bool(settings.mono_below_hz))
    if not settings.high_pass_hz and not any(band_gains_db) and not shapes_sides:
        return None
    taps = 8_192 if sample_rate <= 64_000 else 16_384
    points = 4 * taps
    frequency = np.asarray(np.fft.rfftfreq(points, 1 / sample_rate), np.float64)
    mid = _equalizer_gain(frequency, band_gains_db) * _high_pass_gain(frequency, settings.high_pass_hz or 0.0)
    kernels = [_minimum_phase(mid, taps)]
    if shapes_sides:
        sides = mid * _high_pass_gain(frequency, settings.mono_below_hz or 0.0) * width
        kernels.append(_minimum_phase(sides, taps) if width else np.zeros(taps))
    return ConvolutionFilter(np.array(kernels, np.float32), channels, mid_side=shapes_sides)


def _high_pass_gain(frequency: Float64, corner_hz: float) -> Float64:
    """Return the gain of a Butterworth high-pass of 24 dB per octave."""
    if not corner_hz:
        return np.ones(len(frequency))
    ratio = np.maximum(frequency, 1e-3) / corner_hz
    gain: Float64 = 1 / np.sqrt(1 + ratio**-8.0)
    return gain


def _equalizer_gain(frequency: Float64, band_gains_db: Sequence[float]) -> Float64:
    """Interpolate octave-band gains over the logarithm of frequency; constant beyond the ends."""
    if not any(band_gains_db):
        return np.ones(len(frequency))
    octave = np.log2(np.maximum(frequency, 1.0))
    gains_db = np.interp(octave, np.log2(CENTRES_HZ[: len(band_gains_db)]), band_gains_db)
    gains: Float64 = 10 ** (gains_db / 20)
    return gains


def _minimum_phase(gain: Float64, taps: int) -> Float64:
    """Return the impulse response of least delay with this gain, by folding the cepstrum."""
    points = 2 * (len(gain) - 1)
    cepstrum = np.fft.irfft(np.log(np.maximum(gain, FLOOR * gain.max())), points)
    folded = np.zeros(points)
    folded[0] = cepstrum[0]
    folded[1 : points // 2] = 2 * cepstrum[1 : points // 2]
    folded[points // 2] = cepstrum[points // 2]
    response: Float64 = np.fft.irfft(np.exp(np.fft.rfft(folded)), points)[:taps]
    fade = taps // 4
    response[-fade:] *= 0.5 + 0.5 * np.cos(np.linspace(0, np.pi, fade))
    return response
