"""Results as the bridge pushes them: JSON with what was measured, and reasons for what was not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from segue_music import codec, theory
from segue_music.elements import Key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from segue.analyzer.v1.analyzer_pb2 import Report, Track
    from segue.composer.v1.separation_pb2 import Separation

NO_VOCALS: Final = "the analyzer was not asked to measure vocals"
NO_LIMIT: Final = "analyzer.separator.vocals_within is not set"
NO_STEMS: Final = "bridge.stems is not set"
NO_TEMPO: Final = "no tempo was found"
NO_DRUMS: Final = "no drums were found"
NO_KEY: Final = "no key was found"
NO_BASS: Final = "the band below 150 Hz is silent, or the audio is shorter than 0.4 s"
TOO_QUIET: Final = "the audio is silent, or shorter than 0.4 s"
TIME_DIGITS: Final = 6
VALUE_DIGITS: Final = 3


def completed(job_id: str, report: Report, separation: Separation | None = None) -> bytes:
    """Return the result of a measured file, with the names of its stems if it was separated."""
    reasons: dict[str, str] = {}
    tracks = _tracks(report, reasons)
    results = {"global": _global(report, separation, reasons), "tracks": tracks}
    return _encode({"job_id": job_id, "status": "completed", "results": results, "reasons": reasons})


def failed(job_id: object, error: str) -> bytes:
    """Return the result of a job that failed."""
    return _encode({"job_id": job_id, "status": "failed", "error": error})


def _encode(result: Mapping[str, Any]) -> bytes:
    return json.dumps(result, allow_nan=False).encode()


def _global(report: Report, separation: Separation | None, reasons: dict[str, str]) -> dict[str, Any]:
    rate = report.format.sample_rate
    beats = [round(frame / rate, TIME_DIGITS) for frame in report.tempo.beats]
    drum_beats = [round(frame / rate, TIME_DIGITS) for frame in report.drum_beats]
    if not drum_beats:
        reasons["/global/global_drum_beat_grid_timestamps"] = NO_DRUMS if beats else NO_TEMPO
    stems = None
    if separation is None:
        reasons["/global/stems"] = NO_STEMS
    else:
        stems = {output.layer: output.name for output in separation.outputs}
    if not beats:
        reasons["/global/global_beat_grid_timestamps"] = NO_TEMPO
    return {
        "duration_sec": round(report.frames / rate, TIME_DIGITS),
        "trimmed_start_sec": round(report.leading_silence_frames / rate, TIME_DIGITS),
        "global_beat_grid_timestamps": beats or None,
        "global_drum_beat_grid_timestamps": drum_beats or None,
        "stems": stems,
    }


def _tracks(report: Report, reasons: dict[str, str]) -> list[dict[str, Any]]:
    """Return the tracks; a recording without boundaries is one track."""
    return [_track(track, report.format.sample_rate, reasons) for track in report.tracks]


def _track(track: Track, rate: int, reasons: dict[str, str]) -> dict[str, Any]:
    place = f"/tracks/{track.number - 1}/analysis"
    tempo = track.tempo.quarters_per_minute if track.HasField("tempo") else None
    loudness = track.loudness.integrated_lufs if track.loudness.HasField("integrated_lufs") else None
    bass = track.bass_loudness_lufs if track.HasField("bass_loudness_lufs") else None
    brightness = None if track.error else track.brightness_hz
    key = theory.key_name(codec.from_message(Key, track.key.key)) if track.HasField("key") else None
    no_vocals = "" if track.HasField("vocal_energy_rms") else NO_VOCALS
    missing = {
        "stable_bpm": NO_TEMPO if tempo is None else "",
        "key": NO_KEY if key is None else "",
        "loudness_lufs_total": TOO_QUIET if loudness is None else "",
        "loudness_lufs_bass": NO_BASS if bass is None else "",
        "average_brightness": track.error,
        "has_vocals": "" if track.HasField("has_vocals") else no_vocals or NO_LIMIT,
        "vocal_energy_rms": no_vocals,
    }
    reasons |= {f"{place}/{name}": track.error or reason for name, reason in missing.items() if reason}
    analysis = {
        "duration_sec": round(track.frames / rate, TIME_DIGITS),
        "stable_bpm": _rounded(tempo),
        "key": {"musical": key, "camelot": track.key.camelot or None},
        "loudness_lufs_total": _rounded(loudness),
        "loudness_lufs_bass": _rounded(bass),
        "average_brightness": _rounded(brightness),
        "has_vocals": track.has_vocals if track.HasField("has_vocals") else None,
        "vocal_energy_rms": None if no_vocals else round(track.vocal_energy_rms, TIME_DIGITS),
    }
    start_s = round(track.first_frame / rate, TIME_DIGITS)
    return {"track_id": track.number, "start_time_sec": start_s, "analysis": analysis}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, VALUE_DIGITS)
