"""Results as the bridge pushes them: JSON with what was measured, and reasons for what was not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from segue_music import codec, theory
from segue_music.elements import Key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from segue.analyzer.v1.analyzer_pb2 import Report
    from segue.composer.v1.separation_pb2 import Separation

NO_VOCALS: Final = "the analyzer was not asked to measure vocals"
NO_LIMIT: Final = "analyzer.separator.vocals_within is not set"
NO_STEMS: Final = "bridge.stems is not set"
NOT_MEASURED: Final = "the analyzer does not measure it"
NO_TEMPO: Final = "no tempo was found"
NO_KEY: Final = "no key was found"
NO_BASS: Final = "the band below 150 Hz is silent, or the audio is shorter than 0.4 s"
TOO_QUIET: Final = "the audio is silent, or shorter than 0.4 s"
TIME_DIGITS: Final = 6
VALUE_DIGITS: Final = 3


def completed(job_id: str, report: Report, separation: Separation | None = None) -> bytes:
    """Return the result of a measured file, with the names of its stems if it was separated."""
    reasons: dict[str, str] = {}
    tracks = list(_tracks(report, reasons))
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
    reasons |= {"/global/global_drum_beat_grid_timestamps": NOT_MEASURED}
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
        "global_drum_beat_grid_timestamps": None,
        "stems": stems,
    }


def _tracks(report: Report, reasons: dict[str, str]) -> Iterable[dict[str, Any]]:
    """Return the tracks: today one, which is the whole file."""
    yield _track(1, 0.0, report, reasons)


def _track(track_id: int, start_s: float, report: Report, reasons: dict[str, str]) -> dict[str, Any]:
    place = f"/tracks/{track_id - 1}/analysis"
    tempo = report.tempo.quarters_per_minute if report.HasField("tempo") else None
    loudness = report.loudness.integrated_lufs if report.loudness.HasField("integrated_lufs") else None
    bass = report.bass_loudness_lufs if report.HasField("bass_loudness_lufs") else None
    key = theory.key_name(codec.from_message(Key, report.key.key)) if report.HasField("key") else None
    no_vocals = "" if report.HasField("vocal_energy_rms") else NO_VOCALS
    missing = {
        "stable_bpm": NO_TEMPO if tempo is None else "",
        "key": NO_KEY if key is None else "",
        "loudness_lufs_total": TOO_QUIET if loudness is None else "",
        "loudness_lufs_bass": NO_BASS if bass is None else "",
        "has_vocals": "" if report.HasField("has_vocals") else no_vocals or NO_LIMIT,
        "vocal_energy_rms": no_vocals,
    }
    reasons |= {f"{place}/{name}": reason for name, reason in missing.items() if reason}
    analysis = {
        "duration_sec": round(report.frames / report.format.sample_rate, TIME_DIGITS),
        "stable_bpm": _rounded(tempo),
        "key": {"musical": key, "camelot": report.key.camelot or None},
        "loudness_lufs_total": _rounded(loudness),
        "loudness_lufs_bass": _rounded(bass),
        "average_brightness": _rounded(report.brightness_hz),
        "has_vocals": report.has_vocals if report.HasField("has_vocals") else None,
        "vocal_energy_rms": None if no_vocals else round(report.vocal_energy_rms, TIME_DIGITS),
    }
    return {"track_id": track_id, "start_time_sec": start_s, "analysis": analysis}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, VALUE_DIGITS)
