"""Encoding of the report as a message of the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segue.analyzer.v1 import analyzer_pb2
from segue.audio.v1 import audio_pb2
from segue.music.v1 import music_pb2
from segue_music import codec
from segue_music.theory import camelot

if TYPE_CHECKING:
    from segue_analyzer.partial import Sketched
    from segue_analyzer.report import MeasuredKey, MeasuredTempo, Report, SectionReport, Track
    from segue_audio.loudness import Loudness

    Measured = analyzer_pb2.Report | analyzer_pb2.SectionAnalysis | analyzer_pb2.Track | analyzer_pb2.PartialReport

_LOUDNESS_FIELDS = tuple(field.name for field in audio_pb2.Loudness.DESCRIPTOR.fields)


def partial_message(sketched: Sketched) -> analyzer_pb2.PartialReport:
    """Encode a partial report."""
    message = analyzer_pb2.PartialReport(frames=sketched.frames, integrated_lufs=sketched.integrated_lufs)
    _tempo(sketched.tempo, message)
    _key(sketched.key, message)
    return message


def report_message(report: Report, sound_format: audio_pb2.AudioFormat) -> analyzer_pb2.Report:
    """Encode a report."""
    message = analyzer_pb2.Report(
        frames=report.frames,
        format=sound_format,
        leading_silence_frames=report.leading_silence_frames,
        trailing_silence_frames=report.trailing_silence_frames,
        brightness_hz=report.brightness_hz,
        chroma=report.chroma,
        stereo_correlation=report.stereo_correlation,
        energy_correlation=report.energy_correlation,
        peaks_per_second=report.peaks_per_second,
        peaks=report.peaks,
        bass_loudness_lufs=report.bass_loudness_lufs,
        crest_db=report.crest_db,
        onsets_per_second=report.onsets_per_second,
        energy_curve=report.energy_curve,
        drum_beats=report.drum_beats,
    )
    _loudness(report.loudness, message.loudness)
    _tempo(report.tempo, message)
    _key(report.key, message)
    for fault in report.faults:
        message.faults.add(
            kind=analyzer_pb2.FaultKind.ValueType(fault.kind),
            first_frame=fault.first_frame,
            frames=fault.frames,
            text=fault.text,
        )
    for section in report.sections:
        _section(section, message.sections.add())
    _curves(report, message)
    _music(report, message)
    for number, track in enumerate(report.tracks, 1):
        _track(track, message.tracks.add(number=number))
    return message


def _curves(report: Report, message: analyzer_pb2.Report) -> None:
    for tempo in report.tempo_curve:
        message.tempo_curve.add(frame=tempo.frame, quarters_per_minute=tempo.quarters_per_minute)
    for loudness in report.loudness_curve:
        message.loudness_curve.add(frame=loudness.frame, short_term_lufs=loudness.short_term_lufs)
    for band in report.spectral_balance:
        message.spectral_balance.add(low_hz=band.low_hz, high_hz=band.high_hz, level_db=band.level_db)
    for image in report.stereo_curve:
        message.stereo_curve.add(frame=image.frame, correlation=image.correlation, width=image.width)
    for zoom in report.more_peaks:
        message.more_peaks.add(peaks_per_second=zoom.peaks_per_second, peaks=zoom.peaks)


def _music(report: Report, message: analyzer_pb2.Report) -> None:
    for part in report.structure:
        message.structure.add(
            first_frame=part.first_frame, frames=part.frames, label=part.label, confidence=part.confidence
        )
    for chord in report.chords:
        message.chords.add(
            first_frame=chord.first_frame,
            frames=chord.frames,
            root=chord.root,
            quality=music_pb2.ChordQuality.ValueType(chord.quality),
            confidence=chord.confidence,
        )
    for span in report.key_changes:
        _key(span.key, message.key_changes.add(first_frame=span.first_frame, frames=span.frames))


def _section(section: SectionReport, message: analyzer_pb2.SectionAnalysis) -> None:
    message.section_id = section.section_id
    message.brightness_hz = section.brightness_hz
    _loudness(section.loudness, message.loudness)
    _tempo(section.tempo, message)
    _key(section.key, message)
    if section.tempo_matches is not None:
        message.tempo_matches = section.tempo_matches
    if section.key_matches is not None:
        message.key_matches = section.key_matches
    if section.planned_energy is not None:
        message.planned_energy = section.planned_energy
    if section.chords_match is not None:
        message.chords_match = section.chords_match
    if section.boundary_matches is not None:
        message.boundary_matches = section.boundary_matches
    if section.boundary_offset_frames is not None:
        message.boundary_offset_frames = section.boundary_offset_frames


def _track(track: Track, message: analyzer_pb2.Track) -> None:
    message.first_frame, message.frames = track.first_frame, track.frames
    message.fade_in_frames, message.fade_out_frames = track.fade_in_frames, track.fade_out_frames
    message.error = track.error
    message.brightness_hz = track.brightness_hz
    if track.loudness is not None:
        _loudness(track.loudness, message.loudness)
    if track.bass_loudness_lufs is not None:
        message.bass_loudness_lufs = track.bass_loudness_lufs
    _tempo(track.tempo, message)
    _key(track.key, message)


def _loudness(loudness: Loudness, message: audio_pb2.Loudness) -> None:
    message.SetInParent()
    for name in _LOUDNESS_FIELDS:
        value = getattr(loudness, name)
        if value is not None:
            setattr(message, name, value)


def _tempo(tempo: MeasuredTempo | None, message: Measured) -> None:
    if tempo is not None:
        message.tempo.quarters_per_minute = tempo.quarters_per_minute
        message.tempo.confidence = tempo.confidence
        message.tempo.other_quarters_per_minute = tempo.other_quarters_per_minute
        message.tempo.beats.extend(tempo.beats)
        message.tempo.downbeats.extend(tempo.downbeats)
        message.tempo.beats_per_bar = tempo.beats_per_bar
        for each in tempo.candidates:
            message.tempo.candidates.add(quarters_per_minute=each.quarters_per_minute, confidence=each.confidence)
        if tempo.swing is not None:
            message.tempo.swing = tempo.swing


def _key(key: MeasuredKey | None, message: Measured | analyzer_pb2.KeySpan) -> None:
    if key is not None:
        codec.to_message(key.key, message.key.key)
        codec.to_message(key.other, message.key.other_key)
        message.key.camelot = camelot(key.key)
        message.key.confidence = key.confidence
