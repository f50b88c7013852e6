"""Bounds of the notes and the audio of whole pieces, over all genres and many seeds."""

from __future__ import annotations

import pytest
from benchmarks.music_measures import (
    GENRES,
    Piece,
    bar_levels,
    estimated_tempo_error,
    key_found,
    make,
    measure_notes,
    measure_sound,
    rank_correlation,
)

NUM_SEEDS = 6
QUICK_GENRES = ("lofi", "rock", "house", "dnb", "jazz", "bossa", "trap", "celtic", "cinematic", "tango", "chiptune")
QUICK_SECONDS = 20.0
WHOLE_SECONDS = 30.0


def assert_bounds(piece: Piece) -> None:
    notes, sound = measure_notes(piece.plan, piece.bands), measure_sound(piece)
    assert notes.foreign_share <= 0.30
    assert notes.unresolved == 0
    assert notes.clashes == 0
    assert notes.out_of_range == 0
    assert notes.silent_bars == 0
    assert notes.motif_similarity >= 0.5
    assert sound.peak_db < -0.5
    assert sound.dc_db < -55
    assert 0.2 <= sound.correlation <= 0.95
    assert 9 <= sound.crest_db <= 24
    assert sound.clicks == 0
    assert abs(sound.worst_declared_lu) <= 1.0, f"{piece.plan.genre}: declared {sound.worst_declared_lu:+.2f} LU off"


def test_pieces_of_many_genres_keep_every_bound_and_follow_their_energy() -> None:
    levels: list[tuple[float, float]] = []
    similar: list[float] = []
    tempos = keys = 0
    for number, genre in enumerate(QUICK_GENRES):
        piece = make(genre, 100 + number, QUICK_SECONDS)
        assert_bounds(piece)
        levels.extend(bar_levels(piece))
        similar.append(measure_notes(piece.plan, piece.bands).motif_similarity)
        tempos += estimated_tempo_error(piece) <= 0.04
        keys += key_found(piece)[0]
    assert rank_correlation(levels) >= 0.8
    assert sum(similar) / len(similar) >= 0.88
    assert min(tempos, keys) >= 0.9 * len(QUICK_GENRES)


@pytest.mark.parametrize("metre", [(3, 4), (6, 8), (7, 8), (5, 4)], ids=lambda pair: f"{pair[0]}/{pair[1]}")
def test_other_metres_keep_the_bounds_too(metre: tuple[int, int]) -> None:
    from segue_music.elements import Metre

    for genre in ("pop", "jazz"):
        assert_bounds(make(genre, 7, QUICK_SECONDS, metre=Metre(*metre)))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_hundred_pieces_keep_every_bound_and_follow_their_plan() -> None:
    levels: list[tuple[float, float]] = []
    similar: list[float] = []
    tempos = keys = count = 0
    for genre in GENRES:
        for seed in range(NUM_SEEDS):
            piece = make(genre, seed, WHOLE_SECONDS)
            assert_bounds(piece)
            levels.extend(bar_levels(piece))
            similar.append(measure_notes(piece.plan, piece.bands).motif_similarity)
            tempos += estimated_tempo_error(piece) <= 0.04
            keys += key_found(piece)[0]
            count += 1
    assert count >= 200
    assert sum(similar) / count >= 0.85
    assert rank_correlation(levels) >= 0.8
    assert tempos >= 0.9 * count
    assert keys >= 0.9 * count, "the exact key; the relative key does not count"


@pytest.mark.slow
@pytest.mark.reference("fluidsynth")
@pytest.mark.timeout(1800)
def test_the_balance_of_every_genre_is_that_of_a_good_soundfont() -> None:
    from benchmarks.sketch_balance import BANDS_HZ, EXEMPT, compare

    off = []
    for genre in GENRES:
        for hertz, band in zip(BANDS_HZ, compare(genre, 3, QUICK_SECONDS), strict=True):
            if band.has_music and (genre, hertz) not in EXEMPT and abs(band.difference_db) > 6:
                off.append(f"{genre}, {hertz} Hz: {band.difference_db:+.1f} dB")
    assert not off


def test_few_octave_bands_are_exempt_from_the_balance() -> None:
    from benchmarks.sketch_balance import BANDS_HZ, EXEMPT

    assert {genre for genre, _ in EXEMPT} <= set(GENRES)
    assert {hertz for _, hertz in EXEMPT} <= set(BANDS_HZ)
    assert len(EXEMPT) <= 0.05 * len(GENRES) * len(BANDS_HZ)
