"""The place of sections in windows of latents, as properties, without torch."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue_renderer.diffusion.windows import LatentGrid, plan_window, tiles
from segue_runtime import errors

GRID = LatentGrid(sample_rate=12_800, hop=512, fewest=250, most=1500, context=250)
SAMPLES = st.integers(1, GRID.most * GRID.hop)
AROUND = st.integers(0, 400 * GRID.hop)


@given(SAMPLES, AROUND, AROUND, AROUND)
def test_a_window_holds_the_section_and_what_is_known_around_it(
    samples: int, tail: int, before: int, after: int
) -> None:
    window = plan_window(GRID, samples, tail, before=before, after=after)
    assert GRID.fewest <= window.latents <= GRID.most
    assert window.own.first == window.before.end, "the earlier section ends where this one begins"
    assert len(window.own) == GRID.up(window.samples + window.tail)
    assert window.samples == samples
    assert window.tail == min(tail, GRID.most * GRID.hop - samples)
    assert len(window.before) * GRID.hop <= before
    assert max(len(window.before), len(window.after)) <= GRID.context
    # The later section's first kept sample lies where its first whole latent begins.
    assert window.skipped + len(window.after) * GRID.hop <= after or not len(window.after)
    assert (samples + window.skipped) % GRID.hop == 0
    assert window.after.first - window.own.first == (samples + window.skipped) // GRID.hop


@given(SAMPLES, AROUND, st.integers(1, 300), st.integers(0, 150), st.integers(0, 40))
def test_tiles_give_every_latent_of_the_section_once_and_in_order(
    samples: int, before: int, size: int, more: int, overlap: int
) -> None:
    window = plan_window(GRID, samples, 0, before=before)
    found = list(tiles(window.own, window.latents, size=size, longest=size + more, overlap=overlap))
    assert all(len(tile.run) == size for tile in found[:-1])
    assert len(found[-1].run) <= size + more
    given_once = [latent for tile in found for latent in range(tile.run.first, tile.run.end)]
    assert given_once == list(range(window.own.first, window.own.end))
    for tile in found:
        assert tile.around.first == max(0, tile.run.first - overlap)
        assert tile.around.end == min(window.latents, tile.run.end + overlap)


def test_both_neighbours_get_room_beside_a_long_section() -> None:
    window = plan_window(GRID, (GRID.most - 100) * GRID.hop, 0, before=400 * GRID.hop, after=400 * GRID.hop)
    assert (len(window.before), len(window.after), window.latents) == (50, 50, GRID.most)


def test_a_longer_section_than_the_model_makes_is_refused() -> None:
    assert plan_window(GRID, GRID.most * GRID.hop, 5000).tail == 0
    with pytest.raises(errors.InvalidField, match=r"60\.0 s long; the model makes at most 60\.0 s"):
        plan_window(GRID, GRID.most * GRID.hop + 1, 0)
