"""The master in two passes: the first finds the gains, the second makes the sound, frame for frame.

The first pass reads the piece twice, once from its sender and once from a file of its own: what the tone will be is
known only at the piece's end, and what the dynamics will do to it only after that. Of the second reading it keeps two
numbers a step, power and true peak. From them it knows, for any gain, what compressor and limiter will do and how
loud the result will be; so it finds the gain that reaches the target exactly.
"""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_audio.blocks import Reblocker
from segue_audio.loudness import Loudness, LoudnessMeter, integrated
from segue_audio.pcm import interleaved
from segue_mixer.master.control_grid.step_file import StepLog
from segue_mixer.master.control_grid.steps import BLOCK_FRAMES, QUICK, Look, StepLevels, close_look, step_frames
from segue_mixer.master.dynamics import SILENT, Dynamics, GainStage
from segue_mixer.master.section_gains import MAX_GAIN_DB, MasterSection, SectionGains, leveling_gain
from segue_mixer.master.tonal_balance import BandLevels, balancing_gains
from segue_mixer.master.tone import Tone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from segue_audio.arrays import Float32
    from segue_mixer.master.presets import MasterSettings

VERSION: Final = "segue-master-5"
MAX_REDUCTION_DB: Final = 24.0
"""No target is worth more: the deepest bite bounds the gain, and the result says what it has instead."""
TOLERANCE_LU: Final = 0.005
ABSOLUTE_GATE_LUFS: Final = -70.0
_SILENCE_LUFS: Final = -200.0


@dataclass(frozen=True, slots=True)
class Measurement:
    """What the first pass found and the second needs."""

    settings: MasterSettings
    loudness: Loudness
    gain_db: float
    section_gains_db: tuple[float, ...]
    band_gains_db: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Finished:
    """What the master is like."""

    loudness: Loudness
    max_gain_reduction_db: float
    warnings: tuple[tuple[str, str, str], ...]
    """Code, text and section_id of each."""


class MeasurePass:
    """Reads the draft; then `again`, block by block, and `measurement` says what to do with it. Close it after."""

    def __init__(
        self, settings: MasterSettings, sections: Sequence[MasterSection], sample_rate: int, channels: int
    ) -> None:
        self._settings = settings
        self._sections = tuple(sections)
        self._rate = sample_rate
        self._channels = channels
        self._reblocker = Reblocker(BLOCK_FRAMES, channels)
        self._meter = LoudnessMeter(sample_rate, channels)
        self._bands = BandLevels(sample_rate, BLOCK_FRAMES)
        # Memory must not grow with the piece; a file of float32 is what it grows into.
        self._spool = None if settings.is_nothing else tempfile.TemporaryFile(prefix="segue-master-")  # noqa: SIM115 - closed in close
        self._frames = 0
        self._steps = None if settings.is_nothing else StepLog()

    def close(self) -> None:
        """Let go of the files."""
        for file in (self._spool, self._steps):
            if file is not None:
                file.close()

    def push(self, block: Float32) -> None:
        """Take sound in."""
        self._frames += len(block)
        # In pieces as large as they come: the meter does not care, and each piece costs a little.
        self._meter.push(block)
        for whole in self._reblocker.push(block):
            self._read(whole)

    def _read(self, block: Float32) -> None:
        if self._spool is not None:
            self._spool.write(np.ascontiguousarray(block, np.float32).tobytes())
            if len(block) == BLOCK_FRAMES:
                self._bands.push(block)

    def again(self) -> Iterator[int]:
        """Read the piece a second time; yields the frames read so far, the rest of the work when asked again."""
        rest = self._reblocker.drain()
        self._read(rest)
        silence = np.zeros((BLOCK_FRAMES, self._channels), np.float32)
        if self._spool is None:
            return
        if self._frames < BLOCK_FRAMES:
            self._bands.push(np.concatenate((rest, silence[len(rest) :])))
        self._spool.seek(0)
        tone = Tone(
            self._settings,
            self._band_gains(),
            self._section_gains(),
            self._meter.result().integrated_lufs,
            self._rate,
            self._channels,
        )
        levels = StepLevels(self._rate, self._channels, QUICK, with_power=True)
        block_bytes = silence.nbytes
        while content := self._spool.read(block_bytes):
            frames = len(content) // silence[0].nbytes
            content += bytes(block_bytes - len(content))
            shaped = tone.push(np.frombuffer(content, np.float32).reshape(silence.shape))
            self._keep(levels.push(_ended(shaped, frames)))
            yield self._spool.tell() // (4 * self._channels)
        self._keep(levels.push(silence.T))

    def _keep(self, levels: tuple[Float32, Float32] | None) -> None:
        if levels is not None and self._steps is not None:
            self._steps.add(*levels)

    def measurement(self) -> Measurement:
        """Say what was found."""
        return Measurement(
            self._settings,
            self._meter.result(),
            self._solve(),
            self._section_gains_db(),
            self._band_gains(),
        )

    def _band_gains(self) -> tuple[float, ...]:
        return balancing_gains(self._bands.levels_db(), self._settings.balance or 0.0)

    def _section_gains_db(self) -> tuple[float, ...]:
        if not self._settings.section_leveling:
            return (0.0,) * len(self._sections)
        hops = self._meter.hop_powers()
        return tuple(leveling_gain(section, hops, self._rate) for section in self._sections)

    def _section_gains(self) -> SectionGains:
        return SectionGains(self._sections, self._section_gains_db(), self._rate)

    def _solve(self) -> float:
        """Find the gain whose result has the target loudness."""
        target, draft = self._settings.target_lufs, self._meter.result().integrated_lufs
        steps = self._steps
        if target is None or draft is None or steps is None:
            return 0.0
        hop_steps = self._rate / 100 / step_frames(self._rate)
        # Like the meter: whole hops of what came, without the silence that filled the last block.
        borders = np.asarray(np.arange(self._frames * 100 // self._rate + 1) * hop_steps, np.float64)

        def loudness_at(gain_db: float, settings: MasterSettings) -> float:
            loudness = integrated(steps.hops_after(Dynamics(settings, gain_db, draft, self._rate), borders))
            return _SILENCE_LUFS if loudness is None else loudness

        plain = replace(self._settings, ceiling_dbtp=None, glue_ratio=1.0)
        lift_db, untouched = 0.0, loudness_at(0.0, plain)
        if untouched == _SILENCE_LUFS:
            # The tone took it below the gate. Lifted by so much, what was at the gate is at the target.
            lift_db = target - ABSOLUTE_GATE_LUFS
            untouched = loudness_at(lift_db, plain)
            if untouched == _SILENCE_LUFS:
                return 0.0
        # The dynamics only take away: with less gain than this the target cannot be reached.
        low = target - untouched + lift_db
        high = low + MAX_REDUCTION_DB
        if self._settings.ceiling_dbtp is not None:
            loudest_db = 20 * float(np.log10(max(steps.highest_peak, SILENT)))
            high = min(high, self._settings.ceiling_dbtp + MAX_REDUCTION_DB - loudest_db)
        return _root(lambda gain_db: loudness_at(gain_db, self._settings) - target, min(low, high), high)


class RenderPass:
    """Makes the master of the draft, frame for frame: `push` …, then `finish`."""

    def __init__(
        self, measurement: Measurement, sections: Sequence[MasterSection], sample_rate: int, channels: int
    ) -> None:
        self._measurement = measurement
        self._sections = tuple(sections)
        settings, draft_lufs = measurement.settings, measurement.loudness.integrated_lufs
        self._meter = LoudnessMeter(sample_rate, channels)
        self._reblocker = Reblocker(BLOCK_FRAMES, channels)
        self._channels = channels
        gains = SectionGains(sections, measurement.section_gains_db, sample_rate)
        self._tone = Tone(settings, measurement.band_gains_db, gains, draft_lufs, sample_rate, channels)
        dynamics = Dynamics(settings, measurement.gain_db, draft_lufs, sample_rate)
        self._stages = [GainStage(dynamics, _first_look(measurement), sample_rate, channels)]
        if settings.ceiling_dbtp is not None:
            # What the first stage's moving gain adds between the samples, and what it could not see, is caught here.
            again = Dynamics(replace(settings, glue_ratio=1.0), 0.0, None, sample_rate)
            self._stages.append(GainStage(again, close_look(settings.ceiling_dbtp), sample_rate, channels))
        self._unmeasured: list[Float32] = []
        self._frames_in = 0
        self._frames_out = 0

    def push(self, block: Float32) -> Iterator[Float32]:
        """Take sound in; give the master that is ready."""
        self._frames_in += len(block)
        for whole in self._reblocker.push(block):
            yield from self._run(self._tone.push(whole))
        self._measure()

    def finish(self) -> Iterator[Float32]:
        """Give the last of the master."""
        rest = self._reblocker.drain()
        silence = np.zeros((BLOCK_FRAMES, self._channels), np.float32)
        if len(rest):
            shaped = self._tone.push(np.concatenate((rest, silence[len(rest) :])))
            yield from self._run(_ended(shaped, len(rest)))
        while self._frames_out < self._frames_in:
            yield from self._run(silence.T)
        self._measure()

    def _run(self, block: Float32) -> Iterator[Float32]:
        blocks = [block]
        for stage in self._stages:
            blocks = [ready for each in blocks for ready in stage.push(each)]
        for ready in blocks:
            # The blocks that only pushed the others out are not part of the piece.
            kept = interleaved(ready[:, : self._frames_in - self._frames_out])
            if len(kept):
                self._frames_out += len(kept)
                self._unmeasured.append(kept)
                yield kept

    def _measure(self) -> None:
        if self._unmeasured:
            self._meter.push(np.concatenate(self._unmeasured))
            self._unmeasured.clear()

    def finished(self) -> Finished:
        """Say what the master is like; after `finish`."""
        loudness = self._meter.result()
        reduction = sum(stage.dynamics.limiter.max_reduction_db for stage in self._stages)
        return Finished(loudness, reduction, tuple(self._warnings(loudness)))

    def _warnings(self, loudness: Loudness) -> Iterator[tuple[str, str, str]]:
        measurement = self._measurement
        target = measurement.settings.target_lufs
        if target is not None:
            if loudness.integrated_lufs is None:
                text = "the sound is silent or shorter than 0.4 s: its loudness is as it was"
                yield ("loudness_not_measured", text, "")
            elif abs(loudness.integrated_lufs - target) > 0.1:
                text = f"the master has {loudness.integrated_lufs:.1f} LUFS instead of {target:.1f}"
                yield ("target_not_reached", text, "")
        for section, gain_db in zip(self._sections, measurement.section_gains_db, strict=True):
            if abs(gain_db) >= MAX_GAIN_DB:
                text = f"it would need more than the {gain_db:+.1f} dB that it got to have its planned loudness"
                yield ("gain_limited", text, section.section_id)


def _first_look(measurement: Measurement) -> Look:
    """Look between the samples only where the limiter may have something to do."""
    ceiling = measurement.settings.ceiling_dbtp
    if ceiling is None:
        return replace(QUICK, above=math.inf)
    return replace(QUICK, above=0.5 * 10 ** ((ceiling - measurement.gain_db) / 20))


def _ended(block: Float32, frames: int) -> Float32:
    """The piece's last block without what the filters ring beyond its end: the limiter must see that edge."""
    if frames < block.shape[1]:
        block = block.copy()
        block[:, frames:] = 0.0
    return block


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """Find where a function that rises, by no more than its argument, is 0; `high` when it stays below.

    `low` must not lie above the root. From there each step is safe until the first one that goes too far.
    """
    at_low = function(low)
    if at_low >= -TOLERANCE_LU:
        return low
    place, above = low - at_low, math.inf
    for _ in range(40):
        if above == math.inf and place >= high:
            at_high = function(high)
            if at_high <= 0:
                return high
            above, place = high, low - at_low * (high - low) / (at_high - at_low)
        at_place = function(place)
        if abs(at_place) <= TOLERANCE_LU:
            return place
        slope = (at_place - at_low) / (place - low)
        if at_place < 0:
            low, at_low = place, at_place
        else:
            above = place
        # Along the last slope; where that leaves what is known, halfway.
        place = place - at_place / max(slope, 0.05)
        if not low < place < above:
            place = (low + above) / 2 if above < math.inf else high
    return low
