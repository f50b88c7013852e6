"""The master in two passes: the first finds the gains, the second makes the sound, frame for frame.

The first pass keeps two numbers a step, power and true peak. From them it knows, for any gain, what the limiter will
do and how loud the result will be; so it finds the gain that reaches the target exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_audio.blocks import Reblocker
from segue_audio.loudness import KWeightedPower, Loudness, LoudnessMeter, integrated
from segue_mixer.limiter import LimiterCurve
from segue_mixer.steps import BLOCK_FRAMES, QUICK, Look, StepPeaks, between_steps, close_look, step_frames

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from segue_mixer.material import Float32, Float64
    from segue_mixer.presets import MasterSettings

VERSION: Final = "segue-master-1"
MAX_REDUCTION_DB: Final = 24.0
"""No target is worth more: the limiter's deepest bite bounds the gain, and the result says what it has instead."""
MAX_SECTION_GAIN_DB: Final = 12.0
RAMP_S: Final = 0.1
"""Where two sections meet, the gain goes from one to the other within this time."""
TOLERANCE_LU: Final = 0.005
SILENT: Final = 1e-9
CEILING_MARGIN_DB: Final = 0.05
"""The limiter aims this far under the ceiling: meters differ in how they look between the samples."""
_CHUNK_STEPS: Final = 1 << 16
_SILENCE_LUFS: Final = -200.0


@dataclass(frozen=True, slots=True)
class MasterSection:
    """A section's place and the loudness it shall have before the piece's own gain; None: as it is."""

    section_id: str
    first_frame: int
    frames: int
    target_lufs: float | None = None


@dataclass(frozen=True, slots=True)
class Measurement:
    """What the first pass found and the second needs."""

    settings: MasterSettings
    loudness: Loudness
    gain_db: float
    section_gains_db: tuple[float, ...]
    band_gains_db: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Finished:
    """What the master is like."""

    loudness: Loudness
    max_gain_reduction_db: float
    warnings: tuple[tuple[str, str, str], ...]
    """Code, text and section_id of each."""


class SectionGains:
    """The gains of the sections along the piece, in decibels, with a ramp where two meet."""

    def __init__(self, sections: Sequence[MasterSection], gains_db: Sequence[float], sample_rate: int) -> None:
        places: list[float] = [0.0]
        gains: list[float] = [gains_db[0] if gains_db else 0.0]
        half = RAMP_S * sample_rate / 2
        for index in range(1, len(sections)):
            border = sections[index].first_frame
            reach = min(half, sections[index - 1].frames / 2, sections[index].frames / 2)
            places += [border - reach, border + reach]
            gains += [gains_db[index - 1], gains_db[index]]
        self._places, self._gains = np.array(places), np.array(gains)
        self._step = step_frames(sample_rate)

    def at(self, first_step: int, num_steps: int) -> Float64:
        """Gains at the middles of steps."""
        middles = (np.arange(first_step, first_step + num_steps) + 0.5) * self._step
        found: Float64 = np.interp(middles, self._places, self._gains)
        return found


class Dynamics:
    """What the chain does to each step, for one set of gains: the one place that both passes use."""

    def __init__(self, settings: MasterSettings, sections: SectionGains, gain_db: float, sample_rate: int) -> None:
        self._sections = sections
        self._gain_db = gain_db
        self._ceiling_db = math.inf if settings.ceiling_dbtp is None else settings.ceiling_dbtp - CEILING_MARGIN_DB
        self._curve = LimiterCurve(sample_rate, settings.lookahead_ms or 5.0, settings.limiter_release_ms or 100.0)
        self._next_in = 0
        self.next_out = -self._curve.delay_steps
        """The first step of the gains that come next."""
        self.max_reduction_db = 0.0

    def push(self, peaks: Float32) -> Float64:
        """Take true peaks of the next steps; give the gains, in dB, of as many steps from `next_out` on."""
        before = self._sections.at(self._next_in, len(peaks)) + self._gain_db
        level_db = 20 * np.log10(np.maximum(peaks, SILENT, dtype=np.float64)) + before
        reduction = self._curve.push(np.maximum(level_db - self._ceiling_db, 0.0))
        self.max_reduction_db = max(self.max_reduction_db, float(reduction.max(initial=0.0)))
        gains = self._sections.at(self.next_out, len(peaks)) + self._gain_db - reduction
        self._next_in += len(peaks)
        self.next_out += len(peaks)
        return gains


class MeasurePass:
    """Reads the draft; `measurement` then says what to do with it."""

    def __init__(
        self, settings: MasterSettings, sections: Sequence[MasterSection], sample_rate: int, channels: int
    ) -> None:
        self._settings = settings
        self._sections = tuple(sections)
        self._rate = sample_rate
        self._step = step_frames(sample_rate)
        self._reblocker = Reblocker(BLOCK_FRAMES, channels)
        self._meter = LoudnessMeter(sample_rate, channels)
        self._step_power = KWeightedPower(sample_rate, channels, hop_frames=self._step)
        self._step_peaks = StepPeaks(sample_rate, channels, QUICK)
        self._frames = 0
        self._powers: list[Float32] = []
        self._peaks: list[Float32] = []
        self._channels = channels

    def push(self, block: Float32) -> None:
        """Take sound in."""
        self._frames += len(block)
        for whole in self._reblocker.push(block):
            self._meter.push(whole)
            self._measure(whole)

    def measurement(self) -> Measurement:
        """End the pass."""
        rest = self._reblocker.drain()
        self._meter.push(rest)
        silence = np.zeros((BLOCK_FRAMES, self._channels), np.float32)
        self._measure(np.concatenate((rest, silence[len(rest) :])))
        self._measure(silence)
        section_gains = tuple(self._section_gain(section) for section in self._sections)
        gain_db = self._solve(SectionGains(self._sections, section_gains, self._rate))
        return Measurement(self._settings, self._meter.result(), gain_db, section_gains)

    def _measure(self, block: Float32) -> None:
        self._powers.append(self._step_power.push(np.ascontiguousarray(block.T)).astype(np.float32))
        peaks = self._step_peaks.push(block)
        if peaks is not None:
            self._peaks.append(peaks)

    def _section_gain(self, section: MasterSection) -> float:
        if section.target_lufs is None or not self._settings.section_leveling:
            return 0.0
        hops = self._meter.hop_powers()
        first = round(section.first_frame * 100 / self._rate)
        last = round((section.first_frame + section.frames) * 100 / self._rate)
        loudness = integrated(hops[first:last])
        if loudness is None:
            return 0.0
        return float(np.clip(section.target_lufs - loudness, -MAX_SECTION_GAIN_DB, MAX_SECTION_GAIN_DB))

    def _solve(self, sections: SectionGains) -> float:
        """Find the gain whose result has the target loudness: a bracket, then regula falsi within it."""
        target = self._settings.target_lufs
        if target is None or self._meter.result().integrated_lufs is None:
            return 0.0
        powers, peaks = np.concatenate(self._powers), np.concatenate(self._peaks)

        def loudness_at(gain_db: float, settings: MasterSettings) -> float:
            return self._loudness(Dynamics(settings, sections, gain_db, self._rate), powers, peaks)

        # The limiter only takes away: with less gain than this the target cannot be reached.
        low = target - loudness_at(0.0, replace(self._settings, ceiling_dbtp=None))
        if self._settings.ceiling_dbtp is None:
            return low
        steps = sections.at(0, len(peaks)) + 20 * np.log10(np.maximum(peaks, SILENT))
        high = self._settings.ceiling_dbtp + MAX_REDUCTION_DB - float(steps.max())
        return _root(lambda gain_db: loudness_at(gain_db, self._settings) - target, min(low, high), high)

    def _loudness(self, dynamics: Dynamics, powers: Float32, peaks: Float32) -> float:
        """Integrated loudness of what the chain would make of these steps."""
        energy = np.zeros(len(peaks) + 1)
        silence = np.zeros(-dynamics.next_out, np.float32)
        for first in range(0, len(peaks) + len(silence), _CHUNK_STEPS):
            piece = peaks[first : first + _CHUNK_STEPS]
            if len(piece) < _CHUNK_STEPS:
                piece = np.concatenate((piece, silence))
            step = dynamics.next_out
            gains = dynamics.push(piece)[max(0, -step) :]
            step = max(0, step)
            gains = gains[: len(peaks) - step]
            energy[step + 1 : step + 1 + len(gains)] = powers[step : step + len(gains)] * 10 ** (gains / 10)
        np.cumsum(energy, out=energy)
        hop_steps = self._rate / 100 / self._step
        # Like the meter: whole hops of what came, without the silence that filled the last block.
        borders = np.arange(self._frames * 100 // self._rate + 1) * hop_steps
        hops = np.diff(np.interp(borders, np.arange(len(energy)), energy)) / hop_steps
        loudness = integrated(hops)
        return _SILENCE_LUFS if loudness is None else loudness


class GainStage:
    """Puts the chain's gains on sound, block by block, in step with its own look-ahead."""

    def __init__(self, dynamics: Dynamics, look: Look, sample_rate: int, channels: int) -> None:
        self.dynamics = dynamics
        self._step = step_frames(sample_rate)
        self._block_steps = BLOCK_FRAMES // self._step
        self._peaks = StepPeaks(sample_rate, channels, look)
        self._blocks: list[Float32] = []
        self._gains = np.zeros(0)
        self._first = dynamics.next_out
        self._next = 0
        """The first step of the block that comes out next."""

    def push(self, block: Float32) -> Iterator[Float32]:
        """Take a whole block; give those that are ready."""
        self._blocks.append(block)
        peaks = self._peaks.push(block)
        if peaks is None:
            return
        self._gains = np.concatenate((self._gains, self.dynamics.push(peaks)))
        while self._first + len(self._gains) > self._next + self._block_steps:
            start = self._next - 1 - self._first
            knots = self._gains[start : start + self._block_steps + 2]
            gain = between_steps(10 ** (knots / 20), self._step)
            yield self._blocks.pop(0) * gain[:, None]
            self._next += self._block_steps
            self._gains = self._gains[self._next - 1 - self._first :]
            self._first = self._next - 1


class RenderPass:
    """Makes the master of the draft, frame for frame: `push` …, then `finish`."""

    def __init__(
        self, measurement: Measurement, sections: Sequence[MasterSection], sample_rate: int, channels: int
    ) -> None:
        self._measurement = measurement
        self._sections = tuple(sections)
        settings = measurement.settings
        self._meter = LoudnessMeter(sample_rate, channels)
        self._reblocker = Reblocker(BLOCK_FRAMES, channels)
        self._channels = channels
        gains = SectionGains(sections, measurement.section_gains_db, sample_rate)
        dynamics = Dynamics(settings, gains, measurement.gain_db, sample_rate)
        self._stages = [GainStage(dynamics, QUICK, sample_rate, channels)]
        if settings.ceiling_dbtp is not None:
            # What the first stage's moving gain adds between the samples, and what it could not see, is caught here.
            again = Dynamics(settings, SectionGains((), (), sample_rate), 0.0, sample_rate)
            self._stages.append(GainStage(again, close_look(settings.ceiling_dbtp), sample_rate, channels))
        self._frames_in = 0
        self._frames_out = 0

    def push(self, block: Float32) -> Iterator[Float32]:
        """Take sound in; give the master that is ready."""
        self._frames_in += len(block)
        for whole in self._reblocker.push(block):
            yield from self._run(whole)

    def finish(self) -> Iterator[Float32]:
        """Give the last of the master."""
        rest = self._reblocker.drain()
        silence = np.zeros((BLOCK_FRAMES, self._channels), np.float32)
        if len(rest):
            yield from self._run(np.concatenate((rest, silence[len(rest) :])))
        while self._frames_out < self._frames_in:
            yield from self._run(silence)

    def _run(self, block: Float32) -> Iterator[Float32]:
        blocks = [block]
        for stage in self._stages:
            blocks = [ready for each in blocks for ready in stage.push(each)]
        for ready in blocks:
            # The blocks that only pushed the others out are not part of the piece.
            kept = ready[: self._frames_in - self._frames_out]
            if len(kept):
                self._frames_out += len(kept)
                self._meter.push(kept)
                yield kept

    def finished(self) -> Finished:
        """Say what the master is like; after `finish`."""
        loudness = self._meter.result()
        reduction = sum(stage.dynamics.max_reduction_db for stage in self._stages)
        return Finished(loudness, reduction, tuple(self._warnings(loudness)))

    def _warnings(self, loudness: Loudness) -> Iterator[tuple[str, str, str]]:
        measurement = self._measurement
        target = measurement.settings.target_lufs
        if target is not None:
            if loudness.integrated_lufs is None:
                yield (
                    "loudness_not_measured",
                    "the sound is silent or shorter than 0.4 s: its loudness is as it was",
                    "",
                )
            elif abs(loudness.integrated_lufs - target) > 0.1:
                text = f"the master has {loudness.integrated_lufs:.1f} LUFS instead of {target:.1f}"
                yield ("target_not_reached", text, "")
        for section, gain_db in zip(self._sections, measurement.section_gains_db, strict=False):
            if abs(gain_db) >= MAX_SECTION_GAIN_DB:
                text = f"it would need more than the {gain_db:+.1f} dB that it got to have its planned loudness"
                yield ("gain_limited", text, section.section_id)


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """Find where a rising function is 0, between `low` (not above 0) and `high`; `high` when it stays below."""
    at_low, at_high = function(low), function(high)
    if at_high <= 0:
        return high
    if at_low >= -TOLERANCE_LU:
        return low
    for _ in range(40):
        middle = low - at_low * (high - low) / (at_high - at_low)
        at_middle = function(middle)
        if abs(at_middle) <= TOLERANCE_LU:
            return middle
        # Illinois: the end that stays counts half, so that it cannot stay for ever.
        if at_middle < 0:
            low, at_low, at_high = middle, at_middle, at_high / 2
        else:
            high, at_high, at_low = middle, at_middle, at_low / 2
    return low
