"""Endless or very many inputs cost the analyzer bounded memory and time."""

from __future__ import annotations

import tempfile
import tracemalloc
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.analyzer.analyzer_calls import RATE, audio_chunk, encoded, file_requests, running_analyzer, tone

from segue.analyzer.v1 import analyzer_pb2
from segue.audio.v1 import audio_pb2
from segue.music.v1 import music_pb2
from segue_analyzer.requests import PcmReader
from segue_runtime import errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


async def test_chunks_without_a_frame_are_not_kept() -> None:
    empty = analyzer_pb2.AnalyzeRequest(audio=audio_chunk(np.zeros((0, 2), np.float32), RATE, 0))
    sound = audio_chunk(tone(0.1, channels=2), RATE, 0)

    async def requests() -> AsyncIterator[analyzer_pb2.AnalyzeRequest]:
        for _ in range(20_000):
            yield empty
        yield analyzer_pb2.AnalyzeRequest(audio=sound)

    reader = PcmReader(audio_pb2.AudioFormat(sample_rate=RATE, channels=2))
    tracemalloc.start()
    try:
        blocks = [block async for block in reader.blocks(requests())]
        most_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [len(block) for block in blocks] == [sound.frames]
    assert most_bytes < 500_000


def plan_of(num_sections: int) -> music_pb2.Plan:
    """A plan whose sections all overlap."""
    plan = music_pb2.Plan(sample_rate=RATE, quarters_per_minute=120)
    plan.metre.beats, plan.metre.unit = 4, 4
    plan.key.tonic, plan.key.mode = "C", music_pb2.MODE_MAJOR
    for index in range(num_sections):
        item = plan.sections.add(first_frame=1)
        item.spec.section_id, item.spec.role = f"s{index}", music_pb2.ROLE_VERSE
        item.spec.bars, item.spec.frames = 1, 2 * RATE
    return plan


async def test_a_plan_with_too_many_overlapping_sections_is_refused() -> None:
    sound = tone(3)
    async with running_analyzer() as analyzer:
        assert len((await analyzer.pcm(sound, plan=plan_of(8))).sections) == 8
        with pytest.raises(errors.InvalidField, match=r"plan\.sections: more than 8 sections overlap"):
            await analyzer.pcm(sound, plan=plan_of(200))
        # The caller's sections replace those of the plan, which then cost nothing.
        assert len((await analyzer.pcm(sound, plan=plan_of(200), sections=[("a", 0, RATE)])).sections) == 1


async def test_a_missing_temporary_folder_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_analyzer() as analyzer:
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
        with pytest.raises(errors.StorageFull, match="temporary folder"):
            await analyzer.send(file_requests(encoded(tone(1))))
