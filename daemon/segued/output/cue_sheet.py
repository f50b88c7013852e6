"""Cue sheets of the tracks of a recording, as `segue` writes them, too."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from segued.exits import CliError, ExitCode
from segued.output.terminal import plain

if TYPE_CHECKING:
    from segue.analyzer.v1.analyzer_pb2 import Report

MAX_TRACKS: Final = 99
FRAMES_PER_SECOND: Final = 75
FILE_TYPES: Final = {".mp3": "MP3", ".aif": "AIFF", ".aiff": "AIFF"}
"""FLAC and all others are WAVE by custom."""


def cue_sheet(name: str, report: Report) -> str:
    """Return the sheet of a file; silence before a track is its INDEX 00."""
    if len(report.tracks) > MAX_TRACKS:
        text = f"a cue sheet has room for {MAX_TRACKS} tracks, and {len(report.tracks)} were found"
        raise CliError(ExitCode.FAILED, text, "use --json")
    path = PurePath(name)
    file_name = plain(path.name).replace("\n", "�").replace('"', "'")
    lines = [f'FILE "{file_name}" {FILE_TYPES.get(path.suffix.lower(), "WAVE")}']
    before = 0
    for track in report.tracks:
        lines += [f"  TRACK {track.number:02} AUDIO", f'    TITLE "Track {track.number}"']
        if track.HasField("tempo"):
            lines.append(f"    REM BPM {track.tempo.quarters_per_minute:.1f}")
        if track.key.camelot:
            lines.append(f"    REM KEY {track.key.camelot}")
        if before < track.first_frame:
            lines.append(f"    INDEX 00 {_time(before, report.format.sample_rate)}")
        lines.append(f"    INDEX 01 {_time(track.first_frame, report.format.sample_rate)}")
        before = track.first_frame + track.frames
    return "\n".join(lines) + "\n"


def _time(frame: int, sample_rate: int) -> str:
    """Return minutes, seconds and frames of a 75th of a second."""
    seconds, frames = divmod(frame * FRAMES_PER_SECOND // max(1, sample_rate), FRAMES_PER_SECOND)
    return f"{seconds // 60:02}:{seconds % 60:02}:{frames:02}"
