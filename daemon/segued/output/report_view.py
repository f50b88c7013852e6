"""A report of an analysis as text."""

from __future__ import annotations

import csv
import io
import sys
from typing import TYPE_CHECKING, Final

from rich.table import Column, Table
from rich.text import Text

from segue.analyzer.v1 import analyzer_pb2
from segue_music import codec, theory
from segue_music.elements import Key
from segued.output.music_view import music_rows
from segued.output.terminal import clock, plain, write_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console


COLUMNS: Final = (
    "file", "error", "duration_s", "tempo_qpm", "tempo_confidence", "key", "camelot", "key_confidence",
    "integrated_lufs", "bass_lufs", "range_lu", "true_peak_dbtp", "brightness_hz", "stereo_correlation",
    "leading_silence_s", "trailing_silence_s", "faults",
)  # fmt: skip


def csv_line(values: Sequence[str]) -> str:
    """Return a row of CSV."""
    target = io.StringIO()
    csv.writer(target, lineterminator="").writerow(values)
    return target.getvalue()


def report_row(name: str, message: analyzer_pb2.Report) -> list[str]:
    """Return the values of COLUMNS; what was not found is empty."""
    rate = message.format.sample_rate or 48_000
    tempo = message.tempo if message.HasField("tempo") else None
    key = message.key if message.HasField("key") else None
    loudness = [
        f"{getattr(message.loudness, field):.2f}" if message.loudness.HasField(field) else ""
        for field in ("integrated_lufs", "range_lu", "true_peak_dbtp")
    ]
    loudness.insert(1, f"{message.bass_loudness_lufs:.2f}" if message.HasField("bass_loudness_lufs") else "")
    return [
        name,
        "",
        f"{message.frames / rate:.3f}",
        *((f"{tempo.quarters_per_minute:.2f}", f"{tempo.confidence:.2f}") if tempo else ("", "")),
        *((_key_name(key), key.camelot, f"{key.confidence:.2f}") if key else ("", "", "")),
        *loudness,
        f"{message.brightness_hz:.0f}",
        f"{message.stereo_correlation:.2f}" if message.HasField("stereo_correlation") else "",
        f"{message.leading_silence_frames / rate:.3f}",
        f"{message.trailing_silence_frames / rate:.3f}",
        str(len(message.faults)),
    ]


def _key_name(estimate: analyzer_pb2.KeyEstimate) -> str:
    return theory.key_name(codec.from_message(Key, estimate.key))


def partial_text(message: analyzer_pb2.PartialReport) -> str:
    """Return what is known before the report."""
    parts = [f"{message.integrated_lufs:.1f} LUFS"] if message.HasField("integrated_lufs") else []
    if message.HasField("tempo"):
        parts.append(f"{message.tempo.quarters_per_minute:.1f} quarters a minute ({message.tempo.confidence:.0%})")
    if message.HasField("key"):
        parts.append(f"{_key_name(message.key)} ({message.key.confidence:.0%})")
    return f"so far: {', '.join(parts)}"


def write_report(message: analyzer_pb2.Report, console: Console) -> None:
    """Write what was measured: a table on a terminal, else one line for each value."""
    rows = _rows(message)
    if not sys.stdout.isatty():
        for name, value in rows:
            write_line(f"{name:16} {value}")
        return
    table = Table.grid(Column(style="dim", min_width=16), Column(overflow="fold"), padding=(0, 1))
    for name, value in rows:
        table.add_row(name, Text(plain(value)))
    console.print(table)


def _rows(message: analyzer_pb2.Report) -> list[tuple[str, str]]:
    rate = message.format.sample_rate or 48_000
    rows = [("length", f"{clock(message.frames / rate)} ({message.frames} frames at {rate} Hz)")]
    loudness = message.loudness
    if loudness.HasField("integrated_lufs"):
        rows.append(("loudness", f"{loudness.integrated_lufs:.1f} LUFS"))
    if message.HasField("bass_loudness_lufs"):
        rows.append(("bass", f"{message.bass_loudness_lufs:.1f} LUFS"))
    if loudness.HasField("range_lu"):
        rows.append(("range", f"{loudness.range_lu:.1f} LU"))
    if loudness.HasField("true_peak_dbtp"):
        rows.append(("true peak", f"{loudness.true_peak_dbtp:.1f} dBTP"))
    if message.HasField("tempo"):
        tempo = message.tempo
        rows.append(("tempo", f"{tempo.quarters_per_minute:.1f} quarters per minute ({tempo.confidence:.0%} sure)"))
        rows.append(("beats", f"{len(tempo.beats)}, {len(tempo.downbeats)} of them downbeats"))
    if message.HasField("key"):
        rows.append(("key", f"{_key_name(message.key)}, {message.key.camelot} ({message.key.confidence:.0%} sure)"))
    rows.append(("brightness", f"{message.brightness_hz:.0f} Hz"))
    if message.HasField("stereo_correlation"):
        rows.append(("stereo", f"correlation {message.stereo_correlation:.2f}"))
    rows += music_rows(message)
    silence = (message.leading_silence_frames / rate, message.trailing_silence_frames / rate)
    rows.append(("silence", f"{silence[0]:.2f} s before, {silence[1]:.2f} s after"))
    rows += [(f"track {track.number}", _track_text(track, rate)) for track in message.tracks]
    for fault in message.faults:
        kind = analyzer_pb2.FaultKind.Name(fault.kind).removeprefix("FAULT_KIND_").lower()
        rows.append((f"fault: {kind}", f"at {clock(fault.first_frame / rate)}: {fault.text}"))
    return rows


def _track_text(track: analyzer_pb2.Track, rate: int) -> str:
    facts = [f"{clock(track.first_frame / rate)} to {clock((track.first_frame + track.frames) / rate)}"]
    if track.fade_in_frames:
        facts.append(f"faded in over {track.fade_in_frames / rate:.1f} s")
    if track.HasField("tempo"):
        facts.append(f"{track.tempo.quarters_per_minute:.1f} quarters per minute")
    if track.HasField("key"):
        facts.append(f"{_key_name(track.key)}, {track.key.camelot}")
    if track.loudness.HasField("integrated_lufs"):
        facts.append(f"{track.loudness.integrated_lufs:.1f} LUFS")
    if track.HasField("bass_loudness_lufs"):
        facts.append(f"bass {track.bass_loudness_lufs:.1f} LUFS")
    return "; ".join([*facts, track.error] if track.error else facts)
