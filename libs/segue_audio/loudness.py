"""Loudness after ITU-R BS.1770-4 and EBU Tech 3341/3342: a streaming meter for any rate and up to 5.1 channels.

The filter is loaded at the first use; services call `warm()` in a thread before they are ready.
"""

from __future__ import annotations

import dataclasses
import math
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from segue_audio.biquads import sosfilt
from segue_audio.errors import InvalidSettings
from segue_audio.truepeak import TruePeakMeter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from segue_audio.arrays import Float32, Float64


_WEIGHTS = {
    1: (1.0,),
    2: (1.0, 1.0),
    3: (1.0, 1.0, 1.0),
    4: (1.0, 1.0, 1.41, 1.41),
    5: (1.0, 1.0, 1.0, 1.41, 1.41),
    6: (1.0, 1.0, 1.0, 0.0, 1.41, 1.41),
}
"""Channel weights of BS.1770-4 table 4: L R C LFE Ls Rs; the LFE does not count."""

HOPS_PER_SECOND = 100
"""Power is kept for every 10 ms; with 100 ms the loudest 400 ms of a short sound could be 0.5 dB too low."""
_STEP_HOPS = 10
"""Gated loudness and LRA move their windows by 100 ms."""
_MOMENTARY_HOPS = 40
_SHORT_TERM_HOPS = 300
_ABSOLUTE_GATE_LUFS = -70.0
LOUDNESS_OFFSET_DB = -0.691
SILENT_POWER = 1e-15
_NOTHING = 1e-200
_THINNED_RATES = 14
"""A low-pass of 24 dB an octave leaves 67 dB less at seven times its corner: so many a period hold its power."""


@dataclass(frozen=True, slots=True)
class Loudness:
    """A measurement; None where nothing passed the gate, the audio is too short, or it is silent."""

    integrated_lufs: float | None = None
    max_momentary_lufs: float | None = None
    max_short_term_lufs: float | None = None
    range_lu: float | None = None
    true_peak_dbtp: float | None = None
    sample_peak_dbfs: float | None = None


def warm() -> None:
    """Load the filter before the first measurement."""
    meter = LoudnessMeter(48_000, 1)
    meter.push(np.zeros((48_000, 1), dtype=np.float32))
    meter.result()


def channel_weights(channels: int) -> tuple[float, ...]:
    """Return the weight of each channel."""
    if channels not in _WEIGHTS:
        raise InvalidSettings(f"{channels} channels; loudness is defined for 1 to 6 channels")
    return _WEIGHTS[channels]


def k_weighting(sample_rate: int) -> Float64:
    """Return second-order sections of the K filter for any rate, from the analogue prototype of its two stages."""
    shelf_hz, shelf_db, shelf_q = 1681.974450955533, 3.999843853973347, 0.7071752369554196
    k = math.tan(math.pi * shelf_hz / sample_rate)
    high = 10 ** (shelf_db / 20)
    middle = high**0.4996667741545416
    a0 = 1 + k / shelf_q + k * k
    shelf = [
        (high + middle * k / shelf_q + k * k) / a0,
        2 * (k * k - high) / a0,
        (high - middle * k / shelf_q + k * k) / a0,
        1.0,
        2 * (k * k - 1) / a0,
        (1 - k / shelf_q + k * k) / a0,
    ]
    pass_hz, pass_q = 38.13547087602444, 0.5003270373238773
    k = math.tan(math.pi * pass_hz / sample_rate)
    a0 = 1 + k / pass_q + k * k
    high_pass = [1.0, -2.0, 1.0, 1.0, 2 * (k * k - 1) / a0, (1 - k / pass_q + k * k) / a0]
    return np.array([shelf, high_pass])


def low_pass(sample_rate: int, corner_hz: float) -> Float64:
    """Return second-order sections of a Butterworth low-pass of fourth order, 3 dB down at the corner."""
    k = math.tan(math.pi * corner_hz / sample_rate)
    sections: list[list[float]] = []
    for q in (1 / (2 * math.cos(math.pi / 8)), 1 / (2 * math.cos(3 * math.pi / 8))):
        a0 = 1 + k / q + k * k
        sections.append([k * k / a0, 2 * k * k / a0, k * k / a0, 1.0, 2 * (k * k - 1) / a0, (1 - k / q + k * k) / a0])
    return np.array(sections)


class KWeightedPower:
    """Computes the weighted mean square of each hop of 10 ms; it does not depend on block sizes.

    With `bass_below_hz`, `bass_hops` collects the powers of the band below it.
    """

    def __init__(self, sample_rate: int, channels: int, *, bass_below_hz: float | None = None) -> None:
        self._weights = channel_weights(channels)
        self._sections = k_weighting(sample_rate)
        self._memory = np.zeros((len(self._sections), channels, 2))
        self.hop_frames = round(sample_rate / HOPS_PER_SECOND)
        self._open_hop = np.empty((channels, self.hop_frames))
        self._filled = 0
        self.bass_hops = array("d")
        self._bass = None
        if bass_below_hz is not None:
            self._bass = _ThinnedLowPass(sample_rate, channels, self.hop_frames, bass_below_hz)

    def push(self, planar: NDArray[np.floating]) -> Float64:
        """Add samples, (channels, frames), and return the power of each complete hop."""
        filtered, self._memory = sosfilt(self._sections, planar, self._memory)
        # In silence the memory decays to denormal numbers, which make the filter thirty times as slow. Values below
        # this limit change no bit of any power.
        self._memory[np.abs(self._memory) < _NOTHING] = 0.0
        hop = self.hop_frames
        powers: list[Float64] = []
        position = 0
        if self._filled:
            position = min(hop - self._filled, filtered.shape[1])
            self._open_hop[:, self._filled : self._filled + position] = filtered[:, :position]
            self._filled += position
            if self._filled == hop:
                powers.append(self._powers(self._open_hop))
                self._filled = 0
        whole = (filtered.shape[1] - position) // hop
        if whole:
            powers.append(self._powers(filtered[:, position : position + whole * hop]))
            position += whole * hop
        rest = filtered.shape[1] - position
        if rest:
            self._open_hop[:, :rest] = filtered[:, position:]
            self._filled = rest
        return np.concatenate(powers) if powers else np.zeros(0)

    def _powers(self, filtered: Float64) -> Float64:
        count = filtered.shape[1] // self.hop_frames
        if self._bass is not None:
            self.bass_hops.extend(self._weighted(self._bass.push(filtered), count))
        return self._weighted(filtered, count)

    def _weighted(self, samples: Float64, count: int) -> Float64:
        hops = samples.reshape(len(samples), count, -1)
        mean_squares = np.einsum("chf,chf->ch", hops, hops) / hops.shape[2]
        # One product and one sum per channel, in order: a matrix product may round differently by shape.
        power = np.zeros(mean_squares.shape[1])
        for weight, mean_square in zip(self._weights, mean_squares, strict=True):
            power += weight * mean_square
        return power


class _ThinnedLowPass:
    """A low-pass of which only every n-th sample is computed: its output needs no more, and n divides a hop.

    With poles p, the filter is the one with poles p^n, n samples apart, after an FIR filter of 4 n + 1 taps. So the
    samples are those of the whole filter.
    """

    def __init__(self, sample_rate: int, channels: int, hop_frames: int, corner_hz: float) -> None:
        most = max(1, int(sample_rate / (_THINNED_RATES * corner_hz)))
        self._step = next(each for each in range(min(most, hop_frames), 0, -1) if hop_frames % each == 0)
        sections = low_pass(sample_rate, corner_hz)
        taps = np.ones(1)
        thinned: list[list[float]] = []
        for section in sections:
            pole = complex(np.roots(section[3:])[0])
            powers = pole ** np.arange(self._step)
            # Each pole is one of a pair: together they have real taps.
            taps = np.convolve(np.convolve(taps, section[:3]), np.convolve(powers, powers.conj()).real)
            far = pole**self._step
            thinned.append([1.0, 0.0, 0.0, 1.0, -2 * far.real, abs(far) ** 2])
        self._sections = np.array(thinned)
        self._memory = np.zeros((len(thinned), channels, 2))
        # Taps of this and earlier groups of samples, (groups, samples); the result stands on a group's last sample.
        groups = 2 * len(sections) + 1
        padded = np.concatenate([taps, np.zeros(groups * self._step - len(taps))])
        self._taps = np.ascontiguousarray(padded.reshape(groups, self._step)[:, ::-1], dtype=np.float64)
        self._past = np.zeros((channels, groups, groups - 1))

    def push(self, samples: Float64) -> Float64:
        """Add samples, (channels, frames), at least a hop and whole groups; returns one sample for each group."""
        parts = self._taps @ samples.reshape(len(samples), -1, self._step).transpose(0, 2, 1)
        total = parts[:, 0].copy()
        for age in range(1, len(self._taps)):
            total[:, age:] += parts[:, age, :-age]
            total[:, :age] += self._past[:, age, -age:]
        self._past = parts[:, :, 1 - len(self._taps) :].copy()
        filtered, self._memory = sosfilt(self._sections, total, self._memory)
        self._memory[np.abs(self._memory) < _NOTHING] = 0.0
        return filtered


class LoudnessMeter:
    """Measures a stream; `result` can be called at any time."""

    def __init__(
        self, sample_rate: int, channels: int, *, with_peaks: bool = True, bass_below_hz: float | None = None
    ) -> None:
        if not 8_000 <= sample_rate <= 192_000:
            raise InvalidSettings(f"a sample rate of {sample_rate} Hz; loudness is measured from 8000 to 192000")
        self._channels = channels
        self._power = KWeightedPower(sample_rate, channels, bass_below_hz=bass_below_hz)
        self._hops = array("d")
        self._peaks = TruePeakMeter(sample_rate, channels) if with_peaks else None

    def push(self, block: Float32) -> None:
        """Add frames of shape (frames, channels)."""
        if block.ndim != 2 or block.shape[1] != self._channels:
            raise InvalidSettings(f"a block of shape {block.shape}; expected (frames, {self._channels})")
        planar = np.ascontiguousarray(block.T)
        self._hops.extend(self._power.push(planar))
        if self._peaks is not None:
            self._peaks.push(planar)

    @property
    def momentary_lufs(self) -> float | None:
        """Loudness of the last 400 ms; None before that, or in silence."""
        return self._recent(_MOMENTARY_HOPS)

    @property
    def short_term_lufs(self) -> float | None:
        """Loudness of the last 3 s; None before that, or in silence."""
        return self._recent(_SHORT_TERM_HOPS)

    def hop_powers(self) -> Float64:
        """Return the weighted mean squares of every 10 ms so far."""
        return np.array(self._hops)

    def bass_hop_powers(self) -> Float64:
        """Return the same of the bass; it is K-weighted as the whole, then without what lies above the band."""
        return np.array(self._power.bass_hops)

    def result(self) -> Loudness:
        """Return all measurements so far."""
        true_peak, sample_peak = self._peaks.peaks() if self._peaks is not None else (0.0, 0.0)
        return dataclasses.replace(
            loudness_of(self.hop_powers()),
            true_peak_dbtp=_decibels(true_peak),
            sample_peak_dbfs=_decibels(sample_peak),
        )

    def _recent(self, hops: int) -> float | None:
        if len(self._hops) < hops:
            return None
        return lufs_of(math.fsum(self._hops[-hops:]) / hops)


def loudness_of(hop_powers: Float64) -> Loudness:
    """Return what the powers of every 10 ms say: everything but the peaks."""
    momentary = _sliding_mean(hop_powers, _MOMENTARY_HOPS)
    short_term = _sliding_mean(hop_powers, _SHORT_TERM_HOPS)
    return Loudness(
        integrated_lufs=integrated(hop_powers),
        max_momentary_lufs=lufs_of(float(momentary.max(initial=0.0))),
        max_short_term_lufs=lufs_of(float(short_term.max(initial=0.0))),
        range_lu=loudness_range(hop_powers),
    )


def integrated(hop_powers: Float64) -> float | None:
    """Return the gated loudness of BS.1770-4: blocks of 400 ms that overlap by 75 %, gates at -70 LUFS and -10 LU."""
    blocks = _sliding_mean(_steps(hop_powers), _MOMENTARY_HOPS // _STEP_HOPS)
    blocks = blocks[blocks > _power_of(_ABSOLUTE_GATE_LUFS)]
    if len(blocks) == 0:
        return None
    gated = blocks[blocks > blocks.mean() * 10**-1.0]
    return lufs_of(float(gated.mean()))


def loudness_range(hop_powers: Float64) -> float | None:
    """Return the LRA of EBU Tech 3342: 10th to 95th percentile of short-term loudness, gates at -70 LUFS and -20 LU."""
    blocks = _sliding_mean(_steps(hop_powers), _SHORT_TERM_HOPS // _STEP_HOPS)
    blocks = blocks[blocks > _power_of(_ABSOLUTE_GATE_LUFS)]
    if len(blocks) == 0:
        return None
    gated = np.sort(blocks[blocks >= blocks.mean() * 10**-2.0])
    last = len(gated) - 1
    low, high = gated[round(last * 0.10)], gated[round(last * 0.95)]
    return 10 * math.log10(high / low)


def _steps(hop_powers: Float64) -> Float64:
    """Return the mean powers of whole steps of 100 ms."""
    whole = len(hop_powers) // _STEP_HOPS * _STEP_HOPS
    steps: Float64 = hop_powers[:whole].reshape(-1, _STEP_HOPS).mean(axis=1)
    return steps


def _sliding_mean(powers: Float64, width: int) -> Float64:
    if len(powers) < width:
        return np.zeros(0)
    sums = np.concatenate([[0.0], np.cumsum(powers)])
    # Rounding of the differences must not give negative powers in silence.
    means: Float64 = np.maximum((sums[width:] - sums[:-width]) / width, 0.0)
    return means


def _power_of(lufs: float) -> float:
    return float(10 ** ((lufs - LOUDNESS_OFFSET_DB) / 10))


def lufs_of(power: float) -> float | None:
    """Convert a weighted mean square to LUFS; None for silence, which is far below the absolute gate."""
    return LOUDNESS_OFFSET_DB + 10 * math.log10(power) if power > SILENT_POWER else None


def _decibels(level: float) -> float | None:
    return 20 * math.log10(level) if level > 1e-12 else None
