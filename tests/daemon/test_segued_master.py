"""`segued master` masters a file of any format, or exits with a code that says why not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from tests.daemon.segued_command import segued
from tests.mesh.harness import Segued

from segue_audio.loudness import LoudnessMeter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Segued]:
    one = Segued(tmp_path_factory.mktemp("server")).start()
    yield one
    one.stop()


def master(folder: Path, server: Segued, *arguments: str) -> tuple[int, str, str]:
    answer = segued(folder, "master", *arguments, "--server", server.address)
    assert "Traceback" not in answer.stderr
    return answer.returncode, answer.stdout, answer.stderr


@pytest.fixture
def noise(tmp_path: Path) -> np.ndarray:
    rng = np.random.default_rng(1)
    sound = np.tanh(rng.normal(0, 0.2, (3 * 32_000, 2)).cumsum(axis=0) * 0.05).astype(np.float32)
    soundfile.write(tmp_path / "in.wav", sound, 32_000, subtype="FLOAT")
    return sound


def loudness(path: Path) -> float:
    sound, rate = soundfile.read(path, dtype="float32")
    meter = LoudnessMeter(rate, 2)
    meter.push(sound)
    found = meter.result().integrated_lufs
    assert found is not None
    return found


@pytest.mark.usefixtures("noise")
def test_a_preset_is_met_and_reported(tmp_path: Path, server: Segued) -> None:
    code, out, stderr = master(tmp_path, server, "in.wav", "-o", "out.flac", "--preset", "broadcast")
    assert (code, out) == (0, ""), stderr
    assert loudness(tmp_path / "out.flac") == pytest.approx(-23.0, abs=0.1)
    assert soundfile.info(tmp_path / "out.flac").frames == 3 * 32_000
    assert "-23.0 LUFS" in stderr
    assert "before: " in stderr


@pytest.mark.usefixtures("noise")
def test_json_contains_both_measurements(tmp_path: Path, server: Segued) -> None:
    asked = ("in.wav", "-o", "out.opus", "--lufs", "-18", "--ceiling", "-2", "--json")
    code, out, stderr = master(tmp_path, server, *asked)
    assert (code, stderr) == (0, "")
    found = json.loads(out)
    assert found["mastered"]["loudness"]["integratedLufs"] == pytest.approx(-18, abs=0.1)
    assert found["measured"]["settings"]["ceilingDbtp"] == -2


def test_preset_none_changes_no_sample(tmp_path: Path, server: Segued, noise: np.ndarray) -> None:
    asked = ("in.wav", "-o", "out.wav", "--preset", "none", "--bit-depth", "32", "--quiet")
    code, _, stderr = master(tmp_path, server, *asked)
    assert (code, stderr) == (0, "")
    assert np.array_equal(soundfile.read(tmp_path / "out.wav", dtype="float32")[0], noise)


@pytest.mark.usefixtures("noise")
@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("none.wav", "-o", "out.flac"), 2, "there is no such file"),
        (("in.wav", "-o", "in.wav", "--force"), 2, "is the file to master"),
        (("in.wav", "-o", "out.xyz"), 2, "unknown file format"),
        (("in.wav", "-o", "out.flac", "--lufs", "20"), 4, "target_lufs"),
        (("in.wav", "-o", "out.mp3", "--bit-depth", "16"), 4, "a lossy format has no bit depth"),
        (("odd.wav", "-o", "out.flac"), 4, "cannot be read as audio"),
    ],
)
def test_an_impossible_mastering_is_refused(
    tmp_path: Path, server: Segued, arguments: tuple[str, ...], code: int, words: str
) -> None:
    (tmp_path / "odd.wav").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    found, _, stderr = master(tmp_path, server, *arguments)
    assert found == code, stderr
    assert words in stderr
    assert not (tmp_path / "out.flac").exists()
