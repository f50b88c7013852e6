"""The excerpts with true labels: the same again, and their labels are where the sound is."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.analysis import Answer, Scores, f_measure, mirex, score
from training.beats import synth
from training.beats.excerpts import Excerpt, excerpts


def some(source: str, half: str = "train", count: int = 2) -> list[Excerpt]:
    return list(excerpts(half, source, range(count), codecs=False))


def rises_at(excerpt: Excerpt, times: np.ndarray) -> float:
    """The mean rise of the level at some times, in units of that at all times."""
    hop = excerpt.rate // 100
    hops = len(excerpt.sound) // hop
    level = np.log(np.sqrt((excerpt.sound[: hops * hop].reshape(hops, hop) ** 2).mean(axis=1)) + 1e-4)
    rise = np.maximum(0, np.diff(level, prepend=level[0]))
    near = np.clip(np.round(times * 100).astype(int)[:, None] + np.arange(-3, 4), 0, hops - 1)
    return float(rise[near].max(axis=1).mean() / max(rise.mean(), 1e-9))


@pytest.mark.parametrize("source", ["drums", "clicks"])
def test_labels_stand_where_the_sound_rises(source: str) -> None:
    for excerpt in some(source):
        assert len(excerpt.beats) > 8
        between = (excerpt.beats[1:] + excerpt.beats[:-1]) / 2 + 0.31 * np.diff(excerpt.beats)
        assert rises_at(excerpt, excerpt.beats) > 1.5 * rises_at(excerpt, between)
        assert excerpt.downbeats is not None
        assert set(excerpt.downbeats) <= set(excerpt.beats)


def test_the_same_number_is_the_same_excerpt_and_the_halves_differ() -> None:
    first, again, other = some("drums"), some("drums"), some("drums", "test")
    assert [each.digest for each in first] == [each.digest for each in again]
    assert not {each.digest for each in first} & {each.digest for each in other}


@pytest.mark.reference
@pytest.mark.parametrize("source", ["band", "hymn", "tune"])
def test_scores_are_played_with_their_beats_and_their_key(source: str) -> None:
    assert synth.installed()
    for excerpt in some(source):
        assert np.abs(excerpt.sound).max() > 0.001
        assert excerpt.key is not None
        assert len(excerpt.beats) > 8
        assert rises_at(excerpt, excerpt.beats) > 1.2


def test_free_time_has_no_beats() -> None:
    assert all(len(excerpt.beats) == 0 for excerpt in some("free"))


def test_a_missing_answer_scores_nothing_and_the_truth_scores_all() -> None:
    excerpt = some("drums", count=1)[0]
    nothing, everything = Scores(), Scores()
    score(excerpt, Answer(), nothing)
    assert excerpt.downbeats is not None
    score(excerpt, Answer(excerpt.beats_per_minute, excerpt.beats.tolist(), excerpt.downbeats.tolist()), everything)
    for measure in ("Acc1", "Acc2", "beat F", "downbeat F"):
        assert nothing.of(measure).tolist() == [0.0]
        assert everything.of(measure).tolist() == [1.0]
    assert f_measure([1.0, 1.01, 2.0], np.array([1.0, 2.0])) == pytest.approx(0.8)
    assert [mirex((9, True), (0, False)), mirex((7, False), (0, False)), mirex((0, True), (0, False))] == [
        0.3,
        0.5,
        0.2,
    ]
