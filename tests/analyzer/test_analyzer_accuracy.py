"""A quick part of the test half of training/beats: the analyzer is better there than any program beside it.

`make accuracy` measures all of it, and docs/benchmarks.md has the tables. The bounds below leave room for another draw
of the excerpts, and still lie above what librosa, aubio and essentia reach there.
"""

from __future__ import annotations

import pytest
from benchmarks.analysis import Scores, ours, score
from training.beats import synth
from training.beats.excerpts import excerpts


def scores_of(sources: dict[str, range]) -> Scores:
    found = Scores()
    for source, numbers in sources.items():
        for excerpt in excerpts("test", source, numbers, codecs=False):
            score(excerpt, ours(excerpt), found)
    return found


def test_drums_and_clicks_have_their_tempo_beats_and_bars_and_no_key() -> None:
    found = scores_of({"drums": range(12), "clicks": range(4), "sketch": range(4)})
    assert found.of("Acc1").mean() >= 0.9
    assert found.of("Acc2").mean() >= 0.95
    assert found.of("beat F").mean() >= 0.95
    assert found.of("downbeat F").mean() >= 0.8
    assert found.of("false key").mean() == 0


@pytest.mark.reference
def test_music_without_drums_has_its_tempo_beats_bars_and_key() -> None:
    assert synth.installed()
    found = scores_of({"band": range(8), "hymn": range(8), "tune": range(8)})
    assert found.of("Acc1").mean() >= 0.75
    assert found.of("Acc2").mean() >= 0.95
    assert found.of("beat F").mean() >= 0.88
    assert found.of("downbeat F").mean() >= 0.8
    assert found.of("key").mean() >= 0.85
    assert found.of("MIREX").mean() >= 0.9
