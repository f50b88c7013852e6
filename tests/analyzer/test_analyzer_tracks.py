"""Tracks of recordings that hold several, made of the band's pieces with known boundaries."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest
from benchmarks.dj_sets import CROSSFADE, CUT, RATE, SILENCE, DjSet, levelled, make_set
from benchmarks.music_measures import GENRES, make
from tests.analyzer.analyzer_calls import Analyzer, pcm_requests, running_analyzer, tone

from segue_analyzer.mixes import tracks as mixes
from segue_analyzer.plan_comparison import key_matches, tempo_matches
from segue_analyzer.report import MeasuredKey, MeasuredTempo
from segue_analyzer.tonality.key import find_key
from segue_audio.loudness import LoudnessMeter
from segue_music import codec
from segue_music.elements import Key

if TYPE_CHECKING:
    from segue.analyzer.v1 import analyzer_pb2
    from segue_analyzer.tonality.chroma import Harmony
    from segue_audio.arrays import Float32

SEED = 44


@pytest.fixture(scope="module")
def small_set() -> DjSet:
    return make_set(SEED, [CUT, CROSSFADE, SILENCE], (55, 70))


async def tracks_of(analyzer: Analyzer, sound: Float32, rate: int = RATE) -> analyzer_pb2.Report:
    requests = list(pcm_requests(sound, rate))
    requests[0].start.find_tracks = True
    return await analyzer.send(requests)


def check_tiling(report: analyzer_pb2.Report) -> None:
    tracks = report.tracks
    assert [track.number for track in tracks] == [*range(1, len(tracks) + 1)]
    assert tracks[0].first_frame == tracks[0].fade_in_frames == tracks[-1].fade_out_frames == 0
    assert tracks[-1].first_frame + tracks[-1].frames == report.frames
    for before, after in itertools.pairwise(tracks):
        end = before.first_frame + before.frames
        assert before.first_frame < end <= after.first_frame
        assert before.fade_out_frames == after.fade_in_frames
        if after.fade_in_frames:
            assert end == after.first_frame


def integrated_lufs(sound: Float32) -> float | None:
    meter = LoudnessMeter(RATE, 2, with_peaks=False)
    meter.push(sound)
    return meter.result().integrated_lufs


async def test_a_set_is_divided_into_its_pieces_with_the_tempo_and_key_of_each(small_set: DjSet) -> None:
    async with running_analyzer() as analyzer:
        report = await tracks_of(analyzer, small_set.sound)
        plain = await analyzer.pcm(small_set.sound, RATE)
    check_tiling(report)
    assert len(report.tracks) == len(small_set.pieces)
    for piece, track in zip(small_set.pieces, report.tracks, strict=True):
        # In a crossfade both pieces are heard: any place in it is a boundary.
        assert track.first_frame / RATE == pytest.approx(piece.boundary_s, abs=2 + piece.fade_s / 2)
        assert (track.fade_in_frames > 0) == (piece.transition == CROSSFADE)
        tempo = MeasuredTempo(track.tempo.quarters_per_minute, track.tempo.confidence)
        assert tempo_matches(tempo, piece.quarters_per_minute), piece
        found = codec.from_message(Key, track.key.key)
        assert key_matches(MeasuredKey(found, 1.0, found), piece.key), piece
        assert track.key.camelot
        assert not track.tempo.beats
        sound = small_set.sound[track.first_frame : track.first_frame + track.frames]
        assert track.loudness.integrated_lufs == pytest.approx(integrated_lufs(sound), abs=0.3)
        assert track.bass_loudness_lufs < track.loudness.integrated_lufs
        assert not track.loudness.HasField("true_peak_dbtp")
        assert 200 < track.brightness_hz < 6_000
        assert not track.error
    # The silence belongs to no track.
    third, last = report.tracks[2:]
    gap_s = (last.first_frame - third.first_frame - third.frames) / RATE
    assert gap_s >= small_set.pieces[3].first_s - small_set.pieces[2].end_s - 0.05
    assert not plain.tracks
    del report.tracks[:]
    assert report == plain


@pytest.mark.parametrize(("genre", "seed"), [("hiphop", 21), ("metal", 40), ("cinematic", 28)])
async def test_a_piece_is_one_track_whatever_its_sections(genre: str, seed: int) -> None:
    """A breakdown without a beat, a bridge in another key, an end in free time: these were hard."""
    piece = make(genre, seed, 150, sample_rate=RATE)
    async with running_analyzer() as analyzer:
        report = await tracks_of(analyzer, levelled(piece.mix))
    (track,) = report.tracks
    assert (track.first_frame, track.frames) == (0, report.frames)
    assert track.tempo.quarters_per_minute == report.tempo.quarters_per_minute
    assert track.key == report.key
    assert track.loudness.integrated_lufs == report.loudness.integrated_lufs
    assert (track.bass_loudness_lufs, track.brightness_hz) == (report.bass_loudness_lufs, report.brightness_hz)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(500, 500 + len(GENRES)))
async def test_no_genre_is_split(seed: int) -> None:
    piece = make(GENRES[seed % len(GENRES)], seed, 180, sample_rate=RATE)
    async with running_analyzer() as analyzer:
        assert len((await tracks_of(analyzer, levelled(piece.mix))).tracks) == 1


async def test_two_seconds_of_silence_part_even_equal_tracks() -> None:
    piece = levelled(make("pop", 5, 40, sample_rate=RATE).mix)
    async with running_analyzer() as analyzer:
        apart = await tracks_of(analyzer, np.concatenate([piece, np.zeros((3 * RATE, 2), np.float32), piece]))
        near = await tracks_of(analyzer, np.concatenate([piece, np.zeros((RATE, 2), np.float32), piece]))
    first, second = apart.tracks
    assert second.first_frame / RATE == pytest.approx(len(piece) / RATE + 3, abs=0.3)
    assert first.frames / RATE == pytest.approx(len(piece) / RATE, abs=3)
    assert first.fade_out_frames == 0
    assert first.key.key == second.key.key
    assert len(near.tracks) == 1


async def test_a_track_that_fails_does_not_lose_the_others(small_set: DjSet, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = itertools.count(1)

    def failing(harmony: Harmony) -> MeasuredKey | None:
        if next(calls) == 2:
            raise FloatingPointError("no key for this one")
        return find_key(harmony)

    monkeypatch.setattr(mixes, "find_key", failing)
    async with running_analyzer() as analyzer:
        report = await tracks_of(analyzer, small_set.sound)
    check_tiling(report)
    assert [bool(track.error) for track in report.tracks] == [False, True, False, False]
    failed = report.tracks[1]
    assert failed.frames > 0
    assert not failed.HasField("tempo")
    assert not failed.HasField("loudness")
    assert "no key for this one" not in failed.error  # details are in the log


@pytest.mark.parametrize("kind", ["silence", "tone", "noise", "click"])
async def test_sounds_that_are_no_music_are_one_track(kind: str) -> None:
    rng = np.random.default_rng(3)
    sound = {
        "silence": np.zeros((60 * 8_000, 1), np.float32),
        "tone": tone(60, rate=8_000),
        "noise": rng.standard_normal((60 * 8_000, 1)).astype(np.float32) * np.float32(0.1),
        "click": np.eye(1, 800, dtype=np.float32).T,
    }[kind]
    async with running_analyzer() as analyzer:
        report = await tracks_of(analyzer, sound, 8_000)
    check_tiling(report)
    assert len(report.tracks) == 1
