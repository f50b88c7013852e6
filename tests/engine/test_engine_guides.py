"""A melody from the command line to the model: a file or what the band plays, and the truth about it in the song."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
from tests.engine.on_device import flags

from segue_audio.files import read_manifest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engine.conftest import Checkpoint

BRIEF = ("soft keys, 120 bpm, C major", "--duration", "3", "--seed", "3")


def compose(checkpoint: Checkpoint, target: Path, *more: str) -> subprocess.CompletedProcess[str]:
    renderer = ("--renderer-backend", "musicgen", "--renderer-musicgen-model", str(checkpoint.folder), *flags())
    command = (sys.executable, "-m", "segued", "compose", *more, *renderer, "--json", "-o", str(target))
    return subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)


def rendered(run: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert run.returncode == 0, run.stderr
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    return [line["section_finished"]["rendered"] for line in lines if "section_finished" in line]


@pytest.mark.timeout(420)
def test_a_melody_file_is_followed_and_must_be_given_again(checkpoints: dict[str, Checkpoint], tmp_path: Path) -> None:
    melody, song = tmp_path / "tune.wav", tmp_path / "song.flac"
    time_s = np.arange(6 * 44_100) / 44_100
    soundfile.write(melody, 0.3 * np.sin(2 * np.pi * 440 * time_s), 44_100)
    sections = rendered(compose(checkpoints["melody"], song, *BRIEF, "--melody", str(melody)))
    assert all(section["guide_applied"] for section in sections)
    assert read_manifest(song)["melody_was_a_file"]
    again = compose(checkpoints["melody"], tmp_path / "again.flac", "--from", str(song))
    assert (again.returncode, "--melody FILE" in again.stderr) == (2, True)
    assert all(
        section["guide_applied"]
        for section in rendered(
            compose(checkpoints["melody"], tmp_path / "again.flac", "--from", str(song), "--melody", str(melody))
        )
    )


@pytest.mark.timeout(240)
def test_the_bands_melody_is_followed(checkpoints: dict[str, Checkpoint], tmp_path: Path) -> None:
    band = rendered(compose(checkpoints["melody"], tmp_path / "band.flac", *BRIEF, "--melody", "band"))
    assert any(section["guide_applied"] for section in band)


@pytest.mark.timeout(240)
def test_a_model_without_guides_refuses_a_melody(checkpoints: dict[str, Checkpoint], tmp_path: Path) -> None:
    run = compose(checkpoints["mono"], tmp_path / "song.flac", *BRIEF, "--melody", "band")
    assert run.returncode == 4
    assert "choose a melody model" in run.stderr
    gone = compose(checkpoints["mono"], tmp_path / "song.flac", *BRIEF, "--melody", str(tmp_path / "none.wav"))
    assert (gone.returncode, "no such file" in gone.stderr) == (2, True)
