"""The analysis of one recording while it streams: it keeps features, not samples."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_analyzer.brightness import Brightness, mean_brightness_hz
from segue_analyzer.faults.clicks import ClickDetector
from segue_analyzer.faults.detectors import MAX_FAULTS, ClippingDetector, DcDetector, RunCollector, SilenceDetector
from segue_analyzer.loudness import BassLoudness, SectionLoudness, SectionPeaks, with_peaks
from segue_analyzer.plan_comparison import energy_correlation, key_matches, tempo_matches
from segue_analyzer.plan_timeline import PlanTimeline, SectionSpan, in_quarters
from segue_analyzer.report import FaultKind, MeasuredTempo, Report, SectionReport
from segue_analyzer.rhythm.bands import BandStream
from segue_analyzer.rhythm.network import hear_beats
from segue_analyzer.rhythm.tempo import find_pulse
from segue_analyzer.stereo import StereoCorrelation
from segue_analyzer.tonality.chroma import ChromaStream
from segue_analyzer.tonality.key import find_key, overall_chroma
from segue_audio.blocks import Reblocker
from segue_audio.errors import InvalidSettings
from segue_audio.loudness import LoudnessMeter, integrated
from segue_audio.peaks import PeakCollector
from segue_music.timing import beats_per_bar
from segue_runtime import errors

if TYPE_CHECKING:
    from segue_analyzer.plan_timeline import PlannedSpan
    from segue_analyzer.report import Fault
    from segue_analyzer.rhythm.network import BeatActivations
    from segue_analyzer.tonality.chroma import Harmony
    from segue_audio.arrays import Float32, Float64

_BLOCK_FRAMES: Final = 32_768
_POINTS_PER_SECOND: Final = 100
_MAX_POINTS: Final = 8_192
_NO_END: Final = 1 << 62
_LEAST_SECTION_CONFIDENCE: Final = 0.35
"""A few bars without drums have an uncertain tempo, which must not be compared with the plan."""


class AudioAnalysis:
    """Analyses one recording: `push` its blocks in order, then `report` once."""

    def __init__(self, sample_rate: int, channels: int, timeline: PlanTimeline | None = None) -> None:
        self.sample_rate = sample_rate
        self.channels = channels
        self.frames = 0
        self._timeline = timeline or PlanTimeline()
        # Every meter gets the same blocks, whatever the block sizes of the input.
        self._blocks = Reblocker(_BLOCK_FRAMES, channels)
        self._measured = 0
        try:
            self._loudness = LoudnessMeter(sample_rate, channels, with_peaks=False)
        except InvalidSettings as error:
            raise errors.InvalidAudio(f"the audio cannot be measured: {error}") from None
        self._bass = BassLoudness(sample_rate, channels)
        self._sections = [SectionLoudness(each, sample_rate, channels) for each in self._timeline.spans]
        whole = SectionSpan("", 0, _NO_END)
        self._true_peaks = SectionPeaks(sample_rate, channels, (whole, *self._timeline.spans))
        self._peaks = PeakCollector(max(1, round(sample_rate / _POINTS_PER_SECOND)), max_points=_MAX_POINTS)
        self._stereo = StereoCorrelation(channels)
        self._brightness = Brightness(sample_rate)
        self._bands = BandStream(sample_rate)
        self._chroma = ChromaStream(sample_rate)
        self._clipping = ClippingDetector(sample_rate, channels)
        self._dc = DcDetector(sample_rate, channels)
        self._clicks = ClickDetector(sample_rate, channels)
        self._silence = SilenceDetector(sample_rate)
        self._not_finite = RunCollector(FaultKind.NOT_FINITE, round(sample_rate / 100))
        self._mono_weights = _mono_weights(channels)

    def push(self, block: Float32) -> None:
        """Add frames of shape (frames, channels); samples that are not finite count as silence."""
        if not np.isfinite(block).all():
            finite = np.isfinite(block)
            self._not_finite.add_flags(np.logical_not(finite.all(axis=1)), self.frames)
            block = np.where(finite, block, np.float32(0))
        self.frames += len(block)
        for piece in self._blocks.push(block):
            self._measure(piece)

    def report(self) -> Report:
        """End the recording and return the report."""
        self._measure(self._blocks.drain())
        heard, harmony = hear_beats(self._bands.finish()), self._chroma.finish()
        centroids_hz = self._brightness.finish()
        whole_peaks, *section_peaks = self._true_peaks.finish()
        sections = tuple(
            self._section(meter, peaks, heard, harmony, centroids_hz)
            for meter, peaks in zip(self._sections, section_peaks, strict=True)
        )
        return Report(
            frames=self.frames,
            leading_silence_frames=self._silence.leading_frames,
            trailing_silence_frames=self._silence.trailing_frames,
            loudness=with_peaks(self._loudness.result(), whole_peaks),
            bass_loudness_lufs=integrated(self._bass.hop_powers()),
            tempo=self._tempo(heard),
            key=find_key(harmony),
            brightness_hz=mean_brightness_hz(centroids_hz, 0, self.frames),
            chroma=overall_chroma(harmony),
            stereo_correlation=self._stereo.result(),
            faults=self._faults(),
            sections=sections,
            energy_correlation=energy_correlation(
                self._timeline, self._loudness.hop_powers(), self.sample_rate, self.frames
            ),
            peaks_per_second=self.sample_rate / self._peaks.frames_per_point,
            peaks=np.clip(np.rint(self._peaks.points() * 127), -127, 127).astype(np.int8).tobytes(),
        )

    def _measure(self, block: Float32) -> None:
        if len(block) == 0:
            return
        # Samples far beyond full scale must not overflow the sums.
        block = np.clip(block, -1e4, 1e4)
        self._loudness.push(block)
        for section in self._sections:
            section.push(block, self._measured)
        self._peaks.push(block)
        planar = np.ascontiguousarray(block.T)
        loudest = np.abs(planar).max(axis=0)
        for meter in (self._bass, self._true_peaks, self._stereo, self._dc, self._clicks):
            meter.push(planar)
        self._clipping.push(planar, loudest)
        self._silence.push(loudest)
        mono = (block @ self._mono_weights).astype(np.float32)
        for stream in (self._brightness, self._bands, self._chroma):
            stream.push(mono)
        self._measured += len(block)

    def _tempo(self, heard: BeatActivations) -> MeasuredTempo | None:
        metre = self._timeline.metre
        pulse = find_pulse(heard, self._timeline.beats_per_minute, beats_per_bar(metre) if metre else None)
        if pulse is None:
            return None
        return MeasuredTempo(
            quarters_per_minute=in_quarters(pulse.beats_per_minute, metre),
            confidence=pulse.confidence,
            other_quarters_per_minute=in_quarters(pulse.other_beats_per_minute, metre),
            beats=self._as_frames(pulse.beats),
            downbeats=self._as_frames(pulse.downbeats),
        )

    def _as_frames(self, times_s: Float64) -> tuple[int, ...]:
        frames = np.rint(times_s * self.sample_rate).astype(np.int64)
        return tuple(np.unique(np.clip(frames, 0, self.frames - 1)).tolist())

    def _section(
        self,
        meter: SectionLoudness,
        peaks: tuple[float, float],
        heard: BeatActivations,
        harmony: Harmony,
        centroids_hz: Float32,
    ) -> SectionReport:
        span = meter.span
        first_s, end_s = span.first_frame / self.sample_rate, span.end_frame / self.sample_rate
        planned = self._timeline.planned_for(span.section_id)
        pulse = find_pulse(heard.part(first_s, end_s), planned.beats_per_minute if planned else None)
        metre = planned.metre if planned else None
        tempo = None
        if pulse is not None and pulse.confidence >= _LEAST_SECTION_CONFIDENCE:
            tempo = MeasuredTempo(
                in_quarters(pulse.beats_per_minute, metre),
                pulse.confidence,
                in_quarters(pulse.other_beats_per_minute, metre),
            )
        report = SectionReport(
            section_id=span.section_id,
            loudness=with_peaks(meter.close(), peaks),
            tempo=tempo,
            key=find_key(harmony.part(first_s, end_s)),
            brightness_hz=mean_brightness_hz(centroids_hz, span.first_frame, span.end_frame),
        )
        return _compare(report, planned)

    def _faults(self) -> tuple[Fault, ...]:
        found = [
            *self._clipping.faults(),
            *self._dc.faults(),
            *self._clicks.finish(),
            *self._silence.faults(),
            *self._not_finite.faults("samples that are not finite; they count as silence"),
        ]
        return tuple(sorted(found, key=lambda fault: (fault.first_frame, fault.kind))[:MAX_FAULTS])


def _compare(report: SectionReport, planned: PlannedSpan | None) -> SectionReport:
    if planned is None:
        return report
    return dataclasses.replace(
        report,
        tempo_matches=tempo_matches(report.tempo, in_quarters(planned.beats_per_minute, planned.metre)),
        key_matches=key_matches(report.key, planned.key),
        planned_energy=float(np.mean(planned.energy)) if planned.energy else None,
    )


def _mono_weights(channels: int) -> Float32:
    """Return unequal weights for the mono sum, so that channels in opposite phase do not cancel out."""
    if channels == 1:
        return np.ones(1, dtype=np.float32)
    weights: Float32 = np.linspace(1.2, 0.8, channels, dtype=np.float32) / np.float32(channels)
    return weights
