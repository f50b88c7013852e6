"""Pass RENDER of the master: applies the measured gains and gives the master, frame for frame."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from segue_audio.blocks import Reblocker
from segue_audio.loudness import Loudness, LoudnessMeter
from segue_audio.pcm import interleaved
from segue_mixer.master.control_grid.steps import BLOCK_FRAMES, QUICK, PeakSearch, close_search
from segue_mixer.master.gain_stage import GainComputer, GainStage
from segue_mixer.master.measure_pass import cut_ringing
from segue_mixer.master.section_gains import MAX_GAIN_DB, MasterSection, SectionGains
from segue_mixer.master.tone import ToneShaper

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from segue_audio.arrays import Float32
    from segue_mixer.master.measure_pass import MasterMeasurement


@dataclass(frozen=True, slots=True)
class MasterResult:
    """Loudness, gain reduction and warnings of a finished master."""

    loudness: Loudness
    max_gain_reduction_db: float
    warnings: tuple[tuple[str, str, str], ...]
    """Code, text and section_id of each."""


class RenderPass:
    """Makes the master of a draft: `push` …, `finish`, then `result`."""

    def __init__(
        self, measurement: MasterMeasurement, sections: Sequence[MasterSection], sample_rate: int, channels: int
    ) -> None:
        self._measurement = measurement
        self._sections = tuple(sections)
        settings, draft_lufs = measurement.settings, measurement.loudness.integrated_lufs
        self._meter = LoudnessMeter(sample_rate, channels)
        self._reblocker = Reblocker(BLOCK_FRAMES, channels)
        self._channels = channels
        gains = SectionGains(sections, measurement.section_gains_db, sample_rate)
        self._tone = ToneShaper(settings, measurement.band_gains_db, gains, draft_lufs, sample_rate, channels)
        computer = GainComputer(settings, measurement.gain_db, draft_lufs, sample_rate)
        self._stages = [GainStage(computer, _first_search(measurement), sample_rate, channels)]
        if settings.ceiling_dbtp is not None:
            # A second limiter: the moving gain of the first adds peaks between samples, and its search may miss some.
            limiter = GainComputer(replace(settings, glue_ratio=1.0), 0.0, None, sample_rate)
            self._stages.append(GainStage(limiter, close_search(settings.ceiling_dbtp), sample_rate, channels))
        self._unmeasured: list[Float32] = []
        self._frames_in = 0
        self._frames_out = 0

    def push(self, block: Float32) -> Iterator[Float32]:
        """Add audio of the draft; yields the master that is ready."""
        self._frames_in += len(block)
        for whole in self._reblocker.push(block):
            yield from self._run(self._tone.push(whole))
        self._measure()

    def finish(self) -> Iterator[Float32]:
        """Yield the rest of the master."""
        rest = self._reblocker.drain()
        silence = np.zeros((BLOCK_FRAMES, self._channels), np.float32)
        if len(rest):
            shaped = self._tone.push(np.concatenate((rest, silence[len(rest) :])))
            yield from self._run(cut_ringing(shaped, len(rest)))
        while self._frames_out < self._frames_in:
            yield from self._run(silence.T)
        self._measure()

    def _run(self, block: Float32) -> Iterator[Float32]:
        blocks = [block]
        for stage in self._stages:
            blocks = [ready for each in blocks for ready in stage.push(each)]
        for ready in blocks:
            # Silent blocks only push delayed audio out; they are not part of the piece.
            kept = interleaved(ready[:, : self._frames_in - self._frames_out])
            if len(kept):
                self._frames_out += len(kept)
                self._unmeasured.append(kept)
                yield kept

    def _measure(self) -> None:
        if self._unmeasured:
            self._meter.push(np.concatenate(self._unmeasured))
            self._unmeasured.clear()

    def result(self) -> MasterResult:
        """Return the measurements of the master; call it after `finish`."""
        loudness = self._meter.result()
        reduction = sum(stage.computer.limiter.max_reduction_db for stage in self._stages)
        return MasterResult(loudness, reduction, tuple(self._warnings(loudness)))

    def _warnings(self, loudness: Loudness) -> Iterator[tuple[str, str, str]]:
        measurement = self._measurement
        target = measurement.settings.target_lufs
        if target is not None:
            if loudness.integrated_lufs is None:
                text = "the audio is silent or shorter than 0.4 s: its loudness is unchanged"
                yield ("loudness_not_measured", text, "")
            elif abs(loudness.integrated_lufs - target) > 0.1:
                text = f"the master has {loudness.integrated_lufs:.1f} LUFS instead of {target:.1f}"
                yield ("target_not_reached", text, "")
        for section, gain_db in zip(self._sections, measurement.section_gains_db, strict=True):
            if abs(gain_db) >= MAX_GAIN_DB:
                text = f"its planned loudness needs more than the {gain_db:+.1f} dB that are applied"
                yield ("gain_limited", text, section.section_id)


def _first_search(measurement: MasterMeasurement) -> PeakSearch:
    """Search between samples only where the limiter may have to act."""
    ceiling = measurement.settings.ceiling_dbtp
    if ceiling is None:
        return replace(QUICK, above=math.inf)
    return replace(QUICK, above=0.5 * 10 ** ((ceiling - measurement.gain_db) / 20))
