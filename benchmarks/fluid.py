"""Plays the notes of the sketch band with FluidSynth, for comparison."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_music import midi

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from segue_music.plan import Plan
    from segue_renderer.sketch.band import SketchBand

FONTS: Final = {
    "FluidR3Mono": Path("/usr/share/sounds/sf3/FluidR3Mono_GM.sf3"),
    "FluidR3": Path("/usr/share/sounds/sf2/FluidR3_GM.sf2"),
}
"""SoundFonts of the Debian packages fluidr3mono-gm-soundfont and fluid-soundfont-gm."""


def installed() -> dict[str, Path]:
    """Return the installed SoundFonts."""
    return {name: font for name, font in FONTS.items() if font.exists() and shutil.which("fluidsynth")}


def write_midi(plan: Plan, bands: Sequence[SketchBand], path: Path) -> None:
    """Write the notes of the band to a MIDI file."""
    notes = {item.spec.section_id: band.notes for item, band in zip(plan.sections, bands, strict=True)}
    path.write_bytes(midi.midi_file(plan, notes))


def play(song: Path, font: Path, target: Path, rate: int = 48_000) -> float:
    """Render a MIDI file to raw 16-bit stereo; return the CPU seconds, loading the font included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = ["fluidsynth", "-ni", "-q", "-g", "0.3", "-r", str(rate), "-T", "raw", "-F", str(target), str(font)]
    subprocess.run([*command, str(song)], check=True, capture_output=True, env=os.environ)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def sound_of(plan: Plan, bands: Sequence[SketchBand], font: Path) -> NDArray[np.float32]:
    """Return FluidSynth's rendering, cut to the length of the piece."""
    with tempfile.TemporaryDirectory() as folder:
        song, target = Path(folder) / "song.mid", Path(folder) / "song.raw"
        write_midi(plan, bands, song)
        play(song, font, target, plan.sample_rate)
        raw = np.frombuffer(target.read_bytes(), "<i2").reshape(-1, 2)
    found: NDArray[np.float32] = raw[: plan.frames].astype(np.float32) / np.float32(32_768)
    return found
