"""Compares how a tagger hears the band: synthesised, sampled, and FluidSynth with FluidR3 on the same notes.

python -m benchmarks.judge PACK --python ENVIRONMENT/bin/python [--pieces 20] [--seconds 18] [--families guitars,keys]

ENVIRONMENT is one with what judge_tagger.py names. For each family it makes pieces with seeds from 100 on,
levels them alike, and prints the mean probability of its tag, how often it is among the first five, and the mean
difference to FluidSynth with an interval of 95 % (bootstrap over pieces). The aim: not worse by more than 0.03.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import soundfile

from benchmarks import report
from benchmarks.fluid import FONTS, sound_of
from segue_audio.loudness import LoudnessMeter
from segue_music.codec import section_seed
from segue_music.plan import Brief
from segue_planner.planner import Planner
from segue_renderer.sketch.band import SketchBand
from segue_renderer.sketch.sampled.pack import read_pack

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from segue_music.plan import Plan
    from segue_renderer.sketch.sampled.pack import VoicePack

FAMILIES: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "guitars": (("guitar",), ("solo acoustic guitar", "energetic rock", "folk guitar", "slow blues", "heavy metal")),
    "keys": (("piano",), ("solo piano, calm", "piano ballad", "fast solo piano", "sad piano waltz")),
    "strings": (
        ("violin", "strings", "cello"),
        ("string quartet, classical", "solo violin", "solo cello, slow", "baroque strings"),
    ),
    "winds": (("flute",), ("solo flute", "flute and harp", "celtic flute", "new age flute")),
    "voices": (
        ("choir", "choral", "vocal", "voice"),
        ("choir", "gospel choir", "cinematic choir", "slow choir and organ"),
    ),
    "drums": (("drums", "beat", "beats"), ("drums only, rock", "funk drums and bass", "rock drums", "disco, 118 bpm")),
    "electronic": (("techno", "electronic", "synth"), ("techno", "house, 124 bpm", "trance", "synthwave")),
}  # fmt: skip
"""Tags, the strongest of which counts, and prompts."""
FIRST_SEED: Final = 100
RATE: Final = 16_000
LEVEL_LUFS: Final = -20.0
PLAYERS: Final = ("synthesised", "sampled", "FluidSynth")
DRAWS: Final = 2_000


def main() -> None:
    """Render, tag, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pack")
    parser.add_argument("--python", required=True)
    parser.add_argument("--pieces", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=18.0)
    parser.add_argument("--families", default=",".join(FAMILIES))
    given = parser.parse_args()
    pack = read_pack(Path(given.pack), digest="judged")
    report.heading("Tags of sampled voices")
    columns = ["family", "pieces", *(f"{name}, mean" for name in PLAYERS), *(f"{name}, in 5" for name in PLAYERS),
               "synthesised - FluidSynth", "sampled - FluidSynth"]  # fmt: skip
    rows = []
    for family in given.families.split(","):
        rows.append(_row(family, pack, given.python, given.pieces, given.seconds))
        print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
    report.table(columns, rows)


def _row(family: str, pack: VoicePack, python: str, pieces: int, seconds: float) -> list[str]:
    tags, prompts = FAMILIES[family]
    with tempfile.TemporaryDirectory() as folder:
        paths: list[Path] = []
        for number in range(pieces):
            prompt, seed = prompts[number % len(prompts)], FIRST_SEED + number // len(prompts)
            plan = Planner(Brief(prompt=prompt, seed=seed, duration_ns=round(seconds * 1e9))).plan()
            for name, sound in _rendered(plan, pack).items():
                paths.append(Path(folder) / f"{number}-{name}.wav")
                soundfile.write(paths[-1], _levelled(sound, plan.sample_rate), plan.sample_rate)
        found = _tagged(paths, python)
    values = np.array([max(each[tag] for tag in tags) for each in found]).reshape(pieces, len(PLAYERS))
    firsts = np.array([any(tag in _first_five(each) for tag in tags) for each in found]).reshape(pieces, len(PLAYERS))
    return [
        family,
        str(pieces),
        *(f"{mean:.2f}" for mean in values.mean(axis=0)),
        *(f"{share:.2f}" for share in firsts.mean(axis=0)),
        _interval(values[:, 0] - values[:, 2]),
        _interval(values[:, 1] - values[:, 2]),
    ]


def _rendered(plan: Plan, pack: VoicePack) -> dict[str, NDArray[np.float32]]:
    bands = [
        [SketchBand(item.spec, section_seed(plan.seed, item.spec.section_id), each) for item in plan.sections]
        for each in (None, pack)
    ]
    return {
        "synthesised": _mixed(bands[0]),
        "sampled": _mixed(bands[1]),
        "FluidSynth": sound_of(plan, bands[0], FONTS["FluidR3"]),
    }


def _mixed(bands: Sequence[SketchBand]) -> NDArray[np.float32]:
    """Return all sections, one after the other, each with its ring-out over the next."""
    frames = sum(band.spec.frames for band in bands)
    mix = np.zeros((frames + max(band.tail_frames for band in bands), 2), np.float32)
    start = 0
    for band in bands:
        for first, sounds in band.blocks():
            block = np.sum(list(sounds.values()), axis=0)
            mix[start + first : start + first + len(block)] += block
        start += band.spec.frames
    return mix[:frames]


def _levelled(sound: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    meter = LoudnessMeter(rate, 2)
    meter.push(sound)
    loud = meter.result().integrated_lufs
    gain = 1.0 if loud is None else 10.0 ** ((LEVEL_LUFS - loud) / 20.0)
    found: NDArray[np.float32] = np.clip(sound * np.float32(gain), -1.0, 1.0)
    return found


def _tagged(paths: Sequence[Path], python: str) -> list[dict[str, float]]:
    names = "\n".join(str(path) for path in paths)
    script = Path(__file__).with_name("judge_tagger.py")
    result = subprocess.run([python, str(script)], input=names, capture_output=True, text=True, check=False)
    if result.returncode:
        raise SystemExit(f"the tagger failed: {result.stderr.strip()[-600:]}")
    return [json.loads(line) for line in result.stdout.splitlines()]


def _first_five(tags: Mapping[str, float]) -> list[str]:
    return sorted(tags, key=lambda tag: -tags[tag])[:5]


def _interval(differences: NDArray[np.float64]) -> str:
    draws = np.random.default_rng(0).choice(differences, (DRAWS, len(differences))).mean(axis=1)
    low, high = np.quantile(draws, (0.025, 0.975))
    return f"{differences.mean():+.3f} [{low:+.3f}, {high:+.3f}]"


if __name__ == "__main__":
    main()
