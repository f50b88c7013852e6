"""`segued analyze --tracks`: the tracks of a recording as text, as JSON and as a cue sheet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from tests.analyzer.analyzer_calls import chords
from tests.daemon.segued_command import segued
from tests.mesh.harness import Segued

from segue.analyzer.v1 import analyzer_pb2
from segue.audio.v1 import audio_pb2
from segue.music.v1 import music_pb2
from segued.exits import CliError
from segued.output.cue_sheet import cue_sheet

if TYPE_CHECKING:
    from collections.abc import Iterator

RATE = 16_000
SHEET = Path(__file__).parents[2] / "clients" / "rust" / "tests" / "client" / "snapshots" / "cue_sheet.txt"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Segued]:
    one = Segued(tmp_path_factory.mktemp("server")).start()
    yield one
    one.stop()


@pytest.fixture
def mix(tmp_path: Path) -> Path:
    """Two tracks of 25 s with 3 s of silence between them."""
    first = chords([(60, 64, 67), (65, 69, 72), (67, 71, 74), (60, 64, 67)], 6.25, RATE)
    second = chords([(57, 60, 64), (62, 65, 69), (52, 56, 59), (57, 60, 64)], 6.25, RATE)
    soundfile.write(tmp_path / "set.flac", np.concatenate([first, np.zeros((3 * RATE, 1), np.float32), second]), RATE)
    return tmp_path / "set.flac"


def test_tracks_are_printed_and_written_as_a_cue_sheet(mix: Path, server: Segued) -> None:
    given = ("analyze", mix.name, "--tracks", "--cue", "set.cue", "--server", server.address)
    answer = segued(mix.parent, *given)
    assert answer.returncode == 0, answer.stderr
    tracks = [line for line in answer.stdout.splitlines() if line.startswith("track ")]
    assert [line.split()[1] for line in tracks] == ["1", "2"]
    assert "C major, 8B" in tracks[0]
    assert "A minor, 8A" in tracks[1]
    sheet = (mix.parent / "set.cue").read_text("utf-8")
    assert sheet.startswith('FILE "set.flac" WAVE\n  TRACK 01 AUDIO\n')
    assert "    INDEX 01 00:00:00\n" in sheet
    assert "    INDEX 00 00:2" in sheet
    assert "    INDEX 01 00:28:0" in sheet

    answer = segued(mix.parent, *given)
    assert answer.returncode == 2
    assert "already exists" in answer.stderr
    answer = segued(mix.parent, *given, "--force", "--json")
    assert answer.returncode == 0, answer.stderr
    assert [track["number"] for track in json.loads(answer.stdout)["report"]["tracks"]] == [1, 2]


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--cue", "x.cue"], "--cue needs --tracks"),
        (["--tracks", "--csv"], "--tracks: a table"),
        (["set.flac", "--tracks", "--cue", "x.cue"], "--cue is for one file"),
        (["--tracks", "--cue", "set.flac"], "already exists"),
    ],
)
def test_flags_that_have_no_effect_are_refused(mix: Path, flags: list[str], text: str) -> None:
    answer = segued(mix.parent, "analyze", mix.name, *flags)
    assert answer.returncode == 2
    assert text in answer.stderr
    assert not (mix.parent / "x.cue").exists()


def test_both_programs_write_the_same_sheet() -> None:
    """The report is that of the Rust client's test."""
    report = analyzer_pb2.Report(format=audio_pb2.AudioFormat(sample_rate=48_000))
    key = analyzer_pb2.KeyEstimate(key=music_pb2.Key(tonic="F", mode=music_pb2.MODE_MINOR), camelot="4A")
    tempo = analyzer_pb2.TempoEstimate(quarters_per_minute=123.45)
    report.tracks.add(number=1, frames=192_000, tempo=tempo, key=key)
    report.tracks.add(number=2, first_frame=192_000, frames=144_000, tempo=tempo, key=key)
    report.tracks.add(number=3, first_frame=360_000, frames=120_000, error="this track could not be measured")
    assert cue_sheet('sets/a "set".MP3', report) == SHEET.read_text("utf-8")
    for number in range(4, 101):
        report.tracks.add(number=number)
    with pytest.raises(CliError, match="99 tracks"):
        cue_sheet("set.wav", report)
