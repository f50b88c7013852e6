"""Speed in CPU time, compared with FluidSynth in the same run, and bounded memory."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from benchmarks.fluid import FONTS, play, write_midi
from benchmarks.music_measures import GENRES
from benchmarks.sketch_speed import PROMPTS, first_bar_s, loading_s, play_all

from segue_music.codec import section_seed
from segue_music.plan import Brief
from segue_planner.planner import Planner
from segue_renderer.sketch.band import SketchBand

SECONDS = 40.0


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.reference("fluidsynth")
def test_the_band_is_faster_than_fluidsynth_with_the_same_notes() -> None:
    font = FONTS["FluidR3"]
    for prompt in PROMPTS[:2]:
        plan = Planner(Brief(prompt=prompt, seed=5, duration_ns=round(SECONDS * 1e9))).plan()
        play_all(plan)
        began = time.process_time()
        play_all(plan)
        ours = time.process_time() - began
        bands = [SketchBand(item.spec, section_seed(plan.seed, item.spec.section_id)) for item in plan.sections]
        with tempfile.TemporaryDirectory() as folder:
            write_midi(plan, bands, Path(folder) / "song.mid")
            theirs = play(Path(folder) / "song.mid", font, Path("/dev/null")) - loading_s(font)
        assert ours < theirs
        assert ours < SECONDS / 20
        assert first_bar_s(plan) < 0.15


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("genre", GENRES)
def test_the_first_bar_takes_less_than_150_ms_of_cpu_time_with_a_warm_cache(genre: str) -> None:
    plan = Planner(Brief(prompt=f"{genre} music", genre=genre, seed=5, duration_ns=round(SECONDS * 1e9))).plan()
    first_bar_s(plan)
    assert min(first_bar_s(plan) for _ in range(3)) < 0.15


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ten_minutes_need_no_more_memory_than_one() -> None:
    def peak_mb(minutes: int) -> float:
        command = [sys.executable, "-m", "benchmarks.sketch_speed", "--one", str(60 * minutes)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2])
        return float(done.stdout)

    assert peak_mb(10) < peak_mb(1) + 10
