"""The analysis of one recording while it streams: it keeps features, not samples."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_analyzer.brightness import Brightness, mean_brightness_hz
from segue_analyzer.curves.balance import spectral_balance
from segue_analyzer.curves.drums import find_drum_beats
from segue_analyzer.curves.energy import energy_curve
from segue_analyzer.curves.loudness_curve import loudness_curve
from segue_analyzer.curves.onsets import find_attacks, onsets_per_second
from segue_analyzer.curves.stereo import StereoMeter
from segue_analyzer.curves.tempo_curve import swing_of, tempo_over_time
from segue_analyzer.curves.waveform import WaveformMeter
from segue_analyzer.faults.clicks import ClickDetector
from segue_analyzer.faults.detectors import MAX_FAULTS, ClippingDetector, DcDetector, RunCollector, SilenceDetector
from segue_analyzer.loudness import BASS_BELOW_HZ, SectionLoudness, SectionPeaks, with_peaks
from segue_analyzer.mixes.tracks import Features, find_tracks
from segue_analyzer.partial import sketched
from segue_analyzer.plan_comparison import energy_correlation, key_matches, tempo_matches, with_music_compared
from segue_analyzer.plan_timeline import PlanTimeline, SectionSpan, in_quarters
from segue_analyzer.report import FaultKind, LocalTempo, MeasuredTempo, Report, SectionReport, TempoCandidate
from segue_analyzer.rhythm.bands import RATE as BANDS_RATE
from segue_analyzer.rhythm.bands import BandStream
from segue_analyzer.rhythm.network import hear_beats
from segue_analyzer.rhythm.tempo import find_pulse
from segue_analyzer.structure.chords import find_chords
from segue_analyzer.structure.grid import music_grid
from segue_analyzer.structure.key_changes import find_key_changes
from segue_analyzer.structure.parts import find_parts
from segue_analyzer.tonality.chroma import ChromaStream
from segue_analyzer.tonality.key import find_key, overall_chroma
from segue_audio.blocks import Reblocker
from segue_audio.errors import InvalidSettings
from segue_audio.loudness import LoudnessMeter, integrated
from segue_audio.resample import StreamResampler
from segue_music.theory import uses_flats
from segue_music.timing import beats_per_bar

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from segue_analyzer.curves.onsets import Attacks
    from segue_analyzer.partial import Sketched
    from segue_analyzer.plan_timeline import PlannedSpan
    from segue_analyzer.report import Fault, Track
    from segue_analyzer.rhythm.network import BeatActivations
    from segue_analyzer.rhythm.tempo import Pulse
    from segue_analyzer.tonality.chroma import Harmony
    from segue_audio.arrays import Float32, Float64

_BLOCK_FRAMES: Final = 32_768
_NO_END: Final = 1 << 62
_HIGHEST: Final = 1e4
"""Samples far beyond full scale must not overflow the sums."""
_LEAST_SECTION_CONFIDENCE: Final = 0.35
"""A few bars without drums have an uncertain tempo, which must not be compared with the plan."""


class AudioAnalysis:
    """Analyses one recording: `push` its blocks in order, then `report` once."""

    def __init__(
        self, sample_rate: int, channels: int, timeline: PlanTimeline | None = None, *, find_tracks: bool = False
    ) -> None:
        self.sample_rate = sample_rate
        self.channels = channels
        self.frames = 0
        self._timeline = timeline or PlanTimeline()
        self._find_tracks = find_tracks
        # Every meter gets the same blocks, whatever the block sizes of the input.
        self._blocks = Reblocker(_BLOCK_FRAMES, channels)
        self._measured = 0
        try:
            self._loudness = LoudnessMeter(sample_rate, channels, with_peaks=False, bass_below_hz=BASS_BELOW_HZ)
        except InvalidSettings as error:
            from segue_runtime import errors  # with gRPC

            raise errors.InvalidAudio(f"the audio cannot be measured: {error}") from None
        self._sections = [SectionLoudness(each, sample_rate, channels) for each in self._timeline.spans]
        whole = SectionSpan("", 0, _NO_END)
        self._true_peaks = SectionPeaks(sample_rate, channels, (whole, *self._timeline.spans))
        self._waveform = WaveformMeter(sample_rate)
        self._stereo = StereoMeter(sample_rate, channels)
        self._brightness = Brightness(sample_rate)
        # Bands and tones share the first conversion; the tones need a quarter of its rate.
        self._resampler = StreamResampler(sample_rate, BANDS_RATE, 1, quality="HQ")
        self._bands = BandStream(BANDS_RATE)
        self._chroma = ChromaStream(BANDS_RATE)
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

    def partial(self) -> Sketched:
        """Return what is known so far."""
        return sketched(self._measured, self._loudness, self._bands, self._chroma)

    def report(self) -> Report:
        """End the recording and return the report."""
        self._measure(self._blocks.drain())
        self._stereo.finish()
        self._hear(self._resampler.finish())
        rows, harmony = self._bands.finish(), self._chroma.finish()
        heard = hear_beats(rows, harmony)
        centroids_hz = self._brightness.finish()
        whole_peaks, *section_peaks = self._true_peaks.finish()
        sections = tuple(
            self._section(meter, peaks, heard, harmony, centroids_hz)
            for meter, peaks in zip(self._sections, section_peaks, strict=True)
        )
        waveform, hop_powers = self._waveform.peaks(), self._loudness.hop_powers()
        bass_powers = self._loudness.bass_hop_powers()
        tracks: tuple[Track, ...] = ()
        if self._find_tracks:
            rate, frames = self.sample_rate, self.frames
            tracks = find_tracks(Features(rate, frames, rows, heard, harmony, centroids_hz, hop_powers, bass_powers))
        report = Report(
            frames=self.frames,
            leading_silence_frames=self._silence.leading_frames,
            trailing_silence_frames=self._silence.trailing_frames,
            loudness=with_peaks(self._loudness.result(), whole_peaks),
            bass_loudness_lufs=integrated(bass_powers),
            key=find_key(harmony),
            brightness_hz=mean_brightness_hz(centroids_hz, 0, self.frames),
            chroma=overall_chroma(harmony),
            stereo_correlation=self._stereo.correlation(),
            faults=self._faults(),
            sections=sections,
            energy_correlation=energy_correlation(self._timeline, hop_powers, self.sample_rate, self.frames),
            peaks_per_second=waveform.peaks_per_second,
            peaks=waveform.peaks,
            more_peaks=self._waveform.more_peaks(),
            loudness_curve=loudness_curve(hop_powers, self.sample_rate),
            crest_db=self._stereo.crest_db(whole_peaks[1], self.frames),
            spectral_balance=spectral_balance(self._chroma.spectrum, self._brightness.spectrum, self.sample_rate),
            stereo_curve=self._stereo.curve(),
            tracks=tracks,
        )
        return self._with_rhythm(report, rows, heard, centroids_hz, harmony)

    def _with_rhythm(
        self,
        report: Report,
        rows: NDArray[np.float16],
        heard: BeatActivations,
        centroids_hz: Float32,
        harmony: Harmony,
    ) -> Report:
        """Add tempo, beats and attacks, and what is measured from beat to beat or from bar to bar."""
        metre = self._timeline.metre
        pulse = find_pulse(heard, self._timeline.beats_per_minute, beats_per_bar(metre) if metre else None)
        attacks = find_attacks(rows)
        seconds = self.frames / self.sample_rate
        grid = music_grid(pulse, seconds)
        report = dataclasses.replace(
            report,
            tempo=self._tempo(pulse, attacks),
            tempo_curve=self._tempo_curve(pulse),
            drum_beats=self._as_frames(find_drum_beats(rows, pulse.beats)) if pulse else (),
            onsets_per_second=onsets_per_second(attacks),
            energy_curve=energy_curve(self._loudness.hop_powers(), attacks, centroids_hz, seconds),
            structure=find_parts(rows, harmony, grid, self.sample_rate),
            chords=find_chords(harmony, grid, self.sample_rate, flats=bool(report.key and uses_flats(report.key.key))),
            key_changes=find_key_changes(harmony, report.key, self.sample_rate, self.frames),
        )
        return with_music_compared(report, self._timeline, self.sample_rate)

    def _measure(self, block: Float32) -> None:
        if len(block) == 0:
            return
        planar = np.ascontiguousarray(block.T)
        loudest = np.abs(planar).max(axis=0)
        if float(loudest.max()) > _HIGHEST:
            block = np.clip(block, -_HIGHEST, _HIGHEST)
            planar, loudest = np.ascontiguousarray(block.T), np.minimum(loudest, np.float32(_HIGHEST))
        self._loudness.push(planar.T)
        for section in self._sections:
            section.push(block, self._measured)
        self._waveform.push(block)
        for meter in (self._true_peaks, self._stereo, self._dc, self._clicks):
            meter.push(planar)
        self._clipping.push(planar, loudest)
        self._silence.push(loudest)
        mono = (block @ self._mono_weights).astype(np.float32)
        self._brightness.push(mono)
        self._hear(self._resampler.push(mono[:, None]))
        self._measured += len(block)

    def _hear(self, resampled: Float32) -> None:
        for stream in (self._bands, self._chroma):
            stream.push(resampled[:, 0])

    def _tempo(self, pulse: Pulse | None, attacks: Attacks) -> MeasuredTempo | None:
        if pulse is None:
            return None
        metre = self._timeline.metre
        return MeasuredTempo(
            quarters_per_minute=in_quarters(pulse.beats_per_minute, metre),
            confidence=pulse.confidence,
            other_quarters_per_minute=in_quarters(pulse.other_beats_per_minute, metre),
            beats=self._as_frames(pulse.beats),
            downbeats=self._as_frames(pulse.downbeats),
            candidates=tuple(TempoCandidate(in_quarters(tempo, metre), sure) for tempo, sure in pulse.candidates),
            beats_per_bar=pulse.beats_per_bar,
            swing=swing_of(pulse.beats, attacks),
        )

    def _tempo_curve(self, pulse: Pulse | None) -> tuple[LocalTempo, ...]:
        metre = self._timeline.metre
        found = tempo_over_time(pulse.beats) if pulse else []
        return tuple(LocalTempo(round(at * self.sample_rate), in_quarters(tempo, metre)) for at, tempo in found)

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
