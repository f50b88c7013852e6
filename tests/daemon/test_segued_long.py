"""Twenty minutes in twelve sections, as every kind of file: length, loudness, cues and tags as ffmpeg sees them."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import soundfile
from tests.daemon.segued_command import environment
from tests.mesh.house import Segued

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROMPT = "slow ambient drift, 36 bpm, D minor"
ASKED = (PROMPT, "--duration", "20m", "--seed", "7")
SECONDS = 1200
RATE = 48_000
NUM_SECTIONS = 12
LIMIT_S = 1500
LOG = logging.getLogger(__name__)
SUFFIXES = (".flac", ".wav", ".opus", ".mp3")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.reference("ffmpeg"),
    pytest.mark.reference("ffprobe"),
    pytest.mark.timeout(4 * LIMIT_S),
]


@dataclass(frozen=True)
class Heard:
    """What ffmpeg measures of a file after decoding it."""

    integrated_lufs: float
    true_peak_dbtp: float


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder with the piece in every kind of file; the takes are played once."""
    folder = tmp_path_factory.mktemp("long")
    server = Segued(tmp_path_factory.mktemp("server")).start()
    try:
        for suffix in SUFFIXES:
            said = run("compose", *ASKED, "-o", f"song{suffix}", "--server", server.address, folder=folder)
            assert said.returncode == 0, said.stderr
        yield folder
    finally:
        server.stop()


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "segued", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=LIMIT_S, check=False
    )


def heard(path: Path) -> Heard:
    chain = ["-af", "ebur128=peak=true:framelog=verbose", "-f", "null", "-"]
    said = subprocess.run(["ffmpeg", "-nostats", "-i", path, *chain], capture_output=True, text=True, check=True).stderr
    summary = said[said.rindex("Summary:") :]
    found = [re.search(rf"\b{name}:\s+(-?[\d.]+)", summary) for name in ("I", "Peak")]
    assert found[0] is not None
    assert found[1] is not None
    return Heard(float(found[0][1]), float(found[1][1]))


def probed(path: Path) -> dict[str, Any]:
    shown = ["-show_format", "-show_streams", "-show_chapters", "-of", "json"]
    said = subprocess.run(["ffprobe", "-v", "error", *shown, path], capture_output=True, text=True, check=True).stdout
    found: dict[str, Any] = json.loads(said)
    return found


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_twenty_minutes_are_twenty_minutes(songs: Path, suffix: str) -> None:
    """`--log-cli-level=info` shows the figures."""
    path = songs / f"song{suffix}"
    found = probed(path)
    sound = heard(path)
    length_s = float(found["format"]["duration"])
    LOG.info("%s: %.6f s, %.1f LUFS, %.1f dBTP", suffix, length_s, sound.integrated_lufs, sound.true_peak_dbtp)
    if suffix in {".flac", ".wav"}:
        assert soundfile.info(path).frames == SECONDS * RATE
        assert length_s == SECONDS
        assert sound.integrated_lufs == pytest.approx(-14.0, abs=0.1)
        assert sound.true_peak_dbtp <= -1.0
    else:
        # An encoder fills its last packet; what it does to peaks is its own, and players turn ReplayGain down.
        assert length_s == pytest.approx(SECONDS, abs=0.06)
        assert sound.integrated_lufs == pytest.approx(-14.0, abs=0.3)
        assert sound.true_peak_dbtp < 0.5


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_cues_and_tags_are_seen(songs: Path, suffix: str) -> None:
    found = probed(songs / f"song{suffix}")
    plan = json.loads(run("plan", *ASKED, "--json", folder=songs).stdout)["plan"]
    assert len(plan["sections"]) == NUM_SECTIONS
    seen = [(float(chapter["start_time"]), chapter["tags"]["title"]) for chapter in found["chapters"]]
    planned = [(int(item.get("first_frame", 0)) / RATE, item["spec"]["label"]) for item in plan["sections"]]
    assert [title for _, title in seen] == [label for _, label in planned]
    # Milliseconds are the finest that chapters of lossy files know.
    assert [start for start, _ in seen] == pytest.approx([start for start, _ in planned], abs=0.001)
    # Ogg has its tags with the stream, and ffmpeg shows RIFF's own under their four letters.
    shown = found["streams"][0].get("tags", {}) | found["format"].get("tags", {})
    tags = {name.lower(): text for name, text in shown.items()}
    assert tags["title"] == plan["title"]
    assert PROMPT in tags["comment"]
    assert tags["encoder"].startswith("Segue ")
    wav = suffix == ".wav"
    assert tags["ised" if wav else "seed"] == "7"
    assert float(tags.get("ibpm" if wav else "bpm") or tags["tbpm"]) == 36
    assert tags["iluf" if wav else "loudness_integrated"].endswith("LUFS")
