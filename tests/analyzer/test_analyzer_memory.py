"""Long audio is measured in little memory."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
from tests.analyzer.analyzer_calls import clicks, pcm_requests, running_analyzer

_MIB = 1 << 20
_RATE = 8_000


@pytest.mark.slow
async def test_half_an_hour_takes_little_more_memory_than_a_minute() -> None:
    minute = clicks(120, 60, _RATE, offbeat=0.3)
    taken: list[float] = []
    async with running_analyzer() as analyzer:
        for minutes in (1, 30):
            sound = np.tile(minute, (minutes, 1))
            tracemalloc.start()
            try:
                requests = pcm_requests(sound, _RATE)
                (start := next(requests)).start.find_tracks = True
                report = await analyzer.send(itertools.chain([start], requests))
                taken.append(tracemalloc.get_traced_memory()[1] / _MIB)
            finally:
                tracemalloc.stop()
            assert report.tempo.quarters_per_minute == pytest.approx(120, rel=0.005)
            assert len(report.tempo.beats) == pytest.approx(120 * minutes, abs=2)
            assert len(report.tracks) == 1
    assert taken[1] - taken[0] < 60, taken
