"""Partial reports: what is known of a recording while it arrives."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.analyzer.analyzer_calls import Analyzer, clicks, pcm_requests, running_analyzer

from segue_analyzer.analysis import AudioAnalysis
from segue_analyzer.rhythm.bands import BANDS, HOPS_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from segue.analyzer.v1 import analyzer_pb2

RATE = 44_100
CHORDS = ((261.6, 329.6, 392.0), (349.2, 440.0, 523.3), (392.0, 493.9, 587.3), (261.6, 329.6, 392.0))


def music(seconds: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Return clicks at 120 beats a minute over chords in C major."""
    time_s = np.arange(seconds * RATE) / RATE
    chords = np.zeros(len(time_s))
    for number, tones in enumerate(CHORDS):
        part = (time_s // 2).astype(int) % 4 == number
        chords[part] = sum(np.sin(2 * np.pi * hertz * time_s[part]) for hertz in tones)
    found = clicks(120, seconds, RATE)[: len(time_s)] + 0.05 * chords[:, None].astype(np.float32)
    return found.astype(np.float32)


async def partials_of(analyzer: Analyzer, seconds: int) -> tuple[list[analyzer_pb2.PartialReport], analyzer_pb2.Report]:
    """Send two seconds, wait for the first partial report, and send the rest."""
    requests = list(pcm_requests(music(seconds), RATE))
    first_s = next(index for index, each in enumerate(requests) if each.audio.first_frame >= 2 * RATE)
    heard = asyncio.Event()

    async def sent() -> AsyncIterator[analyzer_pb2.AnalyzeRequest]:
        for request in requests[:first_s]:
            yield request
        await asyncio.wait_for(heard.wait(), 60)
        for request in requests[first_s:]:
            yield request

    found: list[analyzer_pb2.PartialReport] = []
    async for response in analyzer.stub.Analyze(sent(), timeout=120):
        if response.HasField("partial"):
            found.append(response.partial)
            heard.set()
        elif response.HasField("report"):
            return found, response.report
    raise AssertionError


async def test_the_first_partial_report_needs_two_seconds_of_audio_at_most() -> None:
    began = time.monotonic()
    async with running_analyzer() as analyzer:
        found, report = await partials_of(analyzer, 30)
    assert RATE <= found[0].frames <= 2 * RATE
    assert found[0].integrated_lufs == pytest.approx(report.loudness.integrated_lufs, abs=3)
    assert len(found) <= 1 + time.monotonic() - began
    assert [each.frames for each in found] == sorted({each.frames for each in found})
    assert report.tempo.quarters_per_minute == pytest.approx(120, rel=0.01)


def test_tempo_and_key_settle_and_their_cost_does_not_grow() -> None:
    analysis = AudioAnalysis(RATE, 1)
    sound = music(40)
    for _ in range(5):
        analysis.push(sound)
    known = analysis.partial()
    assert known.tempo is not None
    assert known.key is not None
    assert known.tempo.beats == ()
    report = analysis.report()
    assert report.tempo is not None
    assert report.key is not None
    assert known.tempo.quarters_per_minute == pytest.approx(report.tempo.quarters_per_minute, rel=0.01)
    assert known.key.key == report.key.key
    assert 0 < known.tempo.confidence <= 1
    assert 0 < known.key.confidence <= 1


def test_a_partial_report_hears_the_last_half_minute_and_changes_nothing() -> None:
    sound = music(50)
    plain, watched = AudioAnalysis(RATE, 1), AudioAnalysis(RATE, 1)
    for first in range(0, len(sound), RATE):
        plain.push(sound[first : first + RATE])
        watched.push(sound[first : first + RATE])
        watched.partial()
    assert watched._bands.latest(30).shape == (30 * HOPS_PER_SECOND, BANDS)  # noqa: SLF001 - what the network hears
    assert watched.report() == plain.report()
