"""How loud sections are against each other, after mixing and mastering, and how loudness changes inside them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from benchmarks import dynamics
from benchmarks.music_measures import lufs, make
from tests.renderer.rig import section

from segue_music.dynamics import DEPTHS_LU, loudness_lufs
from segue_music.plan import Role
from segue_planner.genres.genre import genres
from segue_renderer.sketch.band import SketchBand

WIDE_LU = (7.5, 11.0)
NARROW_LU = (3.0, 5.5)
CASES = (("rock", WIDE_LU), ("cinematic", WIDE_LU), ("lofi", NARROW_LU))


@pytest.mark.parametrize(("genre", "bounds"), CASES, ids=lambda value: value if isinstance(value, str) else "")
def test_a_mastered_piece_keeps_the_dynamics_of_its_genre(genre: str, bounds: tuple[float, float]) -> None:
    piece = make(genre, 100, 60.0, sample_rate=dynamics.RATE)
    found = dynamics.measure(piece)
    assert bounds[0] <= found.span_lu <= bounds[1]
    assert lufs(found.master, piece.plan.sample_rate) == pytest.approx(-14.0, abs=0.15)
    roles = {item.spec.role: level for item, level in zip(piece.plan.sections, found.sections_lufs, strict=True)}
    loud = roles.get(Role.CHORUS) or roles.get(Role.DROP)
    if loud and Role.VERSE in roles:
        assert loud > roles[Role.VERSE] + 1.0


def test_a_section_that_rises_gets_louder_from_bar_to_bar() -> None:
    spec = section("rock, 24 seconds, 80 bpm", "verse", seed=5, form=(Role.VERSE, Role.CHORUS), sample_rate=24_000)
    rising = tuple(round(0.3 + 0.6 * bar / (spec.bars - 1), 3) for bar in range(spec.bars))
    spec = dataclasses.replace(spec, energy=rising)
    band = SketchBand(spec, 5)
    mix = np.concatenate([np.sum(list(sounds.values()), axis=0) for _, sounds in band.blocks()])[: spec.frames]
    parts = np.array_split(mix, 4)
    levels = [lufs(part, spec.sample_rate) for part in parts]
    assert levels == sorted(levels)
    assert levels[-1] - levels[0] > 4.0
    assert lufs(mix, spec.sample_rate) == pytest.approx(band.declared_lufs(), abs=1.0)


def test_loudness_rises_with_energy_in_every_genre() -> None:
    assert set(DEPTHS_LU) <= set(genres())
    for genre in genres():
        levels = [loudness_lufs(genre, number / 20) for number in range(21)]
        assert levels == sorted(set(levels)), genre
        assert levels[-1] == -14.0
