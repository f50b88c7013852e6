"""A newcomer's way: a folder with a checkpoint, one command, a file."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import soundfile

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engine.conftest import Checkpoint

SEGUED = (sys.executable, "-m", "segued")
BRIEF = ("soft keys, 120 bpm, C major", "--duration", "8", "--seed", "3")


@pytest.mark.parametrize(("kind", "layout"), [("mono", "folder"), ("stereo", "audiocraft")])
def test_a_model_composes_a_piece_and_streams_before_its_section_is_complete(
    kind: str, layout: str, checkpoints: dict[str, Checkpoint], tmp_path: Path
) -> None:
    folder = getattr(checkpoints[kind], layout)
    target = tmp_path / "song.flac"
    command = (
        *SEGUED,
        "compose",
        *BRIEF,
        "--renderer-backend",
        "musicgen",
        "--renderer-musicgen-model",
        str(folder),
        "--json",
    )
    run = subprocess.run([*command, "-o", str(target)], capture_output=True, text=True, timeout=110, check=False)
    assert run.returncode == 0, run.stderr
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    finished = first(lines, "section_finished")
    assert first(lines, "audio") < finished, "it is heard while it is made"
    rendered = lines[finished]["section_finished"]["rendered"]
    assert int(rendered["window_frames_used"]) >= 400
    assert lines[-1]["state"] == "SUCCEEDED"
    tags = soundfile.SoundFile(target).copy_metadata()
    assert "CC-BY-NC-4.0" in str(tags), "the licence of the weights is in the file"
    sound, rate = soundfile.read(target)
    assert abs(len(sound) / rate - 8) < 0.1
    assert abs(sound).max() > 0.05


def first(lines: list[dict[str, Any]], kind: str) -> int:
    return next(index for index, line in enumerate(lines) if kind in line)


def test_a_renderer_process_serves_the_folder_and_logs_the_licence_first(
    checkpoints: dict[str, Checkpoint], tmp_path: Path
) -> None:
    command = (
        *SEGUED,
        "serve",
        "--role",
        "renderer",
        "--renderer",
        "musicgen",
        "--model",
        str(checkpoints["mono"].folder),
    )
    process = subprocess.Popen(
        [*command, "--listen", f"unix:{tmp_path}/r.sock"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert "ready on" in process.stdout.readline()
    finally:
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 0
    assert re.search("licensed for non-commercial use", said)


def test_a_folder_without_a_model_gives_one_clear_error_line(tmp_path: Path) -> None:
    command = (*SEGUED, "serve", "--role", "renderer", "--renderer", "musicgen", "--model", str(tmp_path))
    run = subprocess.run(
        [*command, "--listen", f"unix:{tmp_path}/r.sock"], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 1
    (line,) = [line for line in run.stderr.splitlines() if line.startswith("error")]
    assert "neither config.json" in line
