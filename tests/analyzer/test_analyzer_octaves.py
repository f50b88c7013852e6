"""The analyzer finds the planned tempo without the plan, not its half or double."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.music_measures import GENRES, make
from tests.analyzer.analyzer_calls import running_analyzer
from tests.analyzer.test_analyzer_music import drums

from segue_planner.genres.genre import genres


@pytest.mark.parametrize("beats_per_bar", [2, 4])
async def test_the_beat_of_drums_is_found_over_the_usual_range(beats_per_bar: int) -> None:
    async with running_analyzer() as analyzer:
        for bpm in (72, 84, 104, 135, 160, 176):
            tempo = (await analyzer.pcm(drums(bpm, 12, beats_per_bar))).tempo
            assert tempo.quarters_per_minute == pytest.approx(bpm, rel=0.01)


async def test_a_slow_lofi_and_a_fast_punk_piece_have_the_tempo_that_was_asked_for() -> None:
    async with running_analyzer() as analyzer:
        for genre, bpm in (("lofi", 82.0), ("punk", 178.0)):
            piece = make(genre, 7, 24, quarters_per_minute=bpm)
            tempo = (await analyzer.pcm(piece.mix)).tempo
            assert tempo.quarters_per_minute == pytest.approx(bpm, rel=0.01), genre


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_most_pieces_of_all_genres_have_the_planned_tempo_in_its_octave() -> None:
    missed: list[tuple[str, float, float]] = []
    async with running_analyzer() as analyzer:
        for seed in (31, 32):
            for genre in GENRES:
                bpm = float(np.random.default_rng([seed, *genre.encode()]).integers(*genres()[genre].tempo_bpm))
                piece = make(genre, seed, 20, quarters_per_minute=bpm)
                found = (await analyzer.pcm(piece.mix)).tempo.quarters_per_minute
                if abs(found / bpm - 1) > 0.04:
                    missed.append((genre, bpm, found))
    assert len(missed) <= 0.15 * 2 * len(GENRES), missed
