"""`segued analyze --picture`: lanes to scale over one time axis, for every report."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from PIL import Image
from tests.daemon.segued_command import segued
from tests.mesh.harness import Segued

from segue.analyzer.v1 import analyzer_pb2
from segue.music.v1 import music_pb2
from segued.output.report_picture import LEFT, MOST_COLUMNS, RIGHT, draw_report

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

RATE = 48_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Segued]:
    one = Segued(tmp_path_factory.mktemp("server")).start()
    yield one
    one.stop()


def report(seconds: float, **values: object) -> analyzer_pb2.Report:
    made = analyzer_pb2.Report(frames=round(seconds * RATE), **values)  # type: ignore[arg-type]  # fields of the message
    made.format.sample_rate, made.format.channels = RATE, 2
    return made


def drawn(given: analyzer_pb2.Report, tmp_path: Path, name: str = "song.wav") -> Pixels:
    draw_report(given, tmp_path / "a.png", name)
    return np.asarray(Image.open(tmp_path / "a.png").convert("RGB"))


def edges_of_first_lane(pixels: Pixels) -> list[int]:
    """Return the columns at which the colour of the uppermost lane changes, near its lower edge."""
    row = pixels[74, LEFT : pixels.shape[1] - RIGHT].astype(int)
    return [int(at) + 1 for at in np.nonzero(np.abs(np.diff(row, axis=0)).sum(axis=1))[0]]


@pytest.mark.parametrize("boundary_s", [10.0, 33.3, 95.0])
def test_parts_of_the_structure_are_drawn_where_they_are(tmp_path: Path, boundary_s: float) -> None:
    parts = [
        analyzer_pb2.StructurePart(first_frame=0, frames=round(boundary_s * RATE), label="A"),
        analyzer_pb2.StructurePart(
            first_frame=round(boundary_s * RATE), frames=round((100 - boundary_s) * RATE), label="B"
        ),
    ]
    pixels = drawn(report(100, structure=parts), tmp_path)
    columns = pixels.shape[1] - LEFT - RIGHT
    assert any(abs(edge - boundary_s / 100 * columns) <= 2 for edge in edges_of_first_lane(pixels))


def test_what_was_not_found_has_no_lane(tmp_path: Path) -> None:
    least = drawn(report(30), tmp_path)
    key = analyzer_pb2.KeySpan(first_frame=0, frames=30 * RATE)
    key.key.key.tonic, key.key.key.mode = "A", music_pb2.MODE_MINOR
    more = drawn(report(30, key_changes=[key], energy_curve=[0.1, 0.9, 0.4]), tmp_path)
    assert more.shape[0] > least.shape[0]
    assert more.shape[1] == least.shape[1]


@pytest.mark.parametrize("seconds", [0.0, 0.01, 3.0, 3 * 3600.0])
def test_every_length_gives_a_picture_of_bounded_width(tmp_path: Path, seconds: float) -> None:
    peaks = np.random.default_rng(1).integers(-127, 127, (4_000, 2)).astype(np.int8).tobytes()
    curve = [analyzer_pb2.LoudnessPoint(frame=0), analyzer_pb2.LoudnessPoint(frame=RATE, short_term_lufs=-20.0)]
    given = report(seconds, peaks=peaks, loudness_curve=curve)
    given.tempo.beats.extend(range(0, given.frames, RATE // 2))
    pixels = drawn(given, tmp_path, "\x1b[31m a name with control characters \x00 and …" * 20)
    assert pixels.shape[1] <= LEFT + MOST_COLUMNS + RIGHT
    assert pixels.shape[0] < 1_000


def test_analyze_draws_what_it_measured(tmp_path: Path, server: Segued) -> None:
    times = np.arange(4 * RATE) / RATE
    soundfile.write(tmp_path / "tone.wav", 0.3 * np.sin(2 * np.pi * 220 * times), RATE)
    asked = ("analyze", "tone.wav", "--picture", "new/tone.png", "--server", server.address)
    answer = segued(tmp_path, *asked)
    assert answer.returncode == 0, answer.stderr
    assert "0:04.0" in answer.stdout
    pixels = np.asarray(Image.open(tmp_path / "new/tone.png").convert("RGB"))
    assert (pixels.reshape(-1, 3) != 255).any(axis=1).mean() > 0.02

    again = segued(tmp_path, *asked)
    assert again.returncode == 2
    assert "already exists" in again.stderr
    assert segued(tmp_path, *asked, "--force").returncode == 0


def test_one_picture_is_for_one_file(tmp_path: Path, server: Segued) -> None:
    for name in ("a.wav", "b.wav"):
        soundfile.write(tmp_path / name, np.zeros(RATE), RATE)
    answer = segued(tmp_path, "analyze", "a.wav", "b.wav", "--picture", "p.png", "--server", server.address)
    assert answer.returncode == 2
    assert "--picture is for one file" in answer.stderr
    assert not (tmp_path / "p.png").exists()
