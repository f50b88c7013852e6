"""`segued separate` writes stems that add up to a file, or exits with a code that says why not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from tests.analyzer.separator_files import write_checkpoint
from tests.daemon.segued_command import segued
from tests.mesh.harness import Segued

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Segued]:
    one = Segued(tmp_path_factory.mktemp("server")).start()
    yield one
    one.stop()


@pytest.fixture
def song(tmp_path: Path) -> np.ndarray:
    """Write one second of 16 bits as song.wav."""
    times = np.arange(32_000)[:, None] / 32_000
    sound: np.ndarray = np.rint(np.sin(2 * np.pi * 300 * times * np.array([1, 2])) * 2**14) / 2**15
    soundfile.write(tmp_path / "song.wav", sound, 32_000, subtype="PCM_16")
    return sound


def test_stems_of_a_file_add_up_to_it_and_leave_no_upload(tmp_path: Path, server: Segued, song: np.ndarray) -> None:
    at = ("--server", server.address)
    answer = segued(tmp_path, "separate", "song.wav", "-o", "stems", *at)
    assert (answer.returncode, answer.stdout) == (0, ""), answer.stderr
    assert "separated by median-17" in answer.stderr
    stems = sorted((tmp_path / "stems").iterdir())
    assert [each.name for each in stems] == ["stem-harmonic.flac", "stem-percussive.flac"]
    assert (sum(soundfile.read(each)[0] for each in stems) == song).all()

    assert segued(tmp_path, "separate", "song.wav", "-o", "stems", *at).returncode == 2  # they exist
    again = ("separate", "song.wav", "--out", "stems", "--format", "wav", "--stems", "two", "--json", "--force", *at)
    answer = segued(tmp_path, *again)
    separation = json.loads(answer.stdout)
    assert separation["separator"]["kind"] == "SEPARATOR_KIND_HARMONIC_PERCUSSIVE"
    written = [soundfile.read(tmp_path / "stems" / f"stem-{each['layer']}.wav")[0] for each in separation["outputs"]]
    assert (sum(written) == song).all()

    # A stem is a source by its name; it is listed, and no upload is left.
    answer = segued(tmp_path, "separate", separation["outputs"][1]["name"], "-o", "parts", "--quiet", *at)
    assert (answer.returncode, answer.stderr) == (0, "")
    listed = segued(tmp_path, "list", "separations", *at).stdout.splitlines()
    assert len(listed) == 4
    assert all("succeeded" in line for line in listed)
    assert "no uploads" in segued(tmp_path, "list", "uploads", *at).stderr
    answer = segued(tmp_path, "cancel", separation["name"], *at)
    assert "has already ended (succeeded)" in answer.stderr


@pytest.mark.usefixtures("song")
def test_what_cannot_be_separated_has_an_exit_code(tmp_path: Path, server: Segued) -> None:
    at = ("--server", server.address)
    (tmp_path / "text.wav").write_text("no audio, only words")
    for arguments, code, text in (
        (("nothing.wav", "-o", "stems"), 2, "no such file"),
        ((".", "-o", "stems"), 2, "folder"),
        (("song.wav", "-o", "song.wav"), 2, "song.wav"),
        (("song.wav",), 2, "-o"),
        (("song.wav", "-o", "stems", "--stems", "four"), 4, "analyzer.separator.path"),
        (("text.wav", "-o", "stems"), 4, "not readable audio"),
        (("uploads/00c0ffee", "-o", "stems"), 4, "uploads/00c0ffee"),
    ):
        answer = segued(tmp_path, "separate", *arguments, *at)
        assert (answer.returncode, text in answer.stderr) == (code, True), answer.stderr
        assert "Traceback" not in answer.stderr


@pytest.mark.usefixtures("song")
def test_without_a_server_the_weights_of_the_settings_are_used(tmp_path: Path) -> None:
    digest = write_checkpoint(tmp_path / "tiny.onnx")
    weights = ("--analyzer-separator-path", "tiny.onnx", "--analyzer-separator-threads", "1")
    answer = segued(tmp_path, "separate", "song.wav", "-o", "stems", *weights)
    assert answer.returncode == 0, answer.stderr
    assert len(list((tmp_path / "stems").iterdir())) == 4
    answer = segued(tmp_path, "separate", "song.wav", "-o", "more", *weights, "--analyzer-separator-sha256", "0" * 64)
    assert answer.returncode != 0
    assert digest in answer.stderr
    assert "Traceback" not in answer.stderr
