"""Structure, chords and keys over time through a real channel, on music of known form, and compared with plans."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.analyzer.analyzer_calls import RATE, chords, clicks, running_analyzer
from tests.analyzer.test_analyzer_plan import PIECE, SOUND, plan_of

from segue.music.v1 import music_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue.analyzer.v1 import analyzer_pb2
    from segue_audio.arrays import Float32

NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
FLATS = {"Db": 1, "Eb": 3, "Gb": 6, "Ab": 8, "Bb": 10}
MAJOR, MINOR = music_pb2.CHORD_QUALITY_MAJOR, music_pb2.CHORD_QUALITY_MINOR
BAR_S = 2.0


def notes(root: int, quality: int) -> list[float]:
    """A triad above the C below middle C."""
    low = 48 + root
    return [low, low + (3 if quality == MINOR else 4), low + 7]


def play(bars: Sequence[tuple[int, int]], level: float = 0.04, offbeat: float = 0.3) -> Float32:
    """One chord for each bar of four beats, with clicks on the beats; each first beat is louder."""
    sound = chords([notes(*bar) for bar in bars], BAR_S, level=level)
    beats = clicks(120, len(bars) * BAR_S, offbeat=offbeat)[: len(sound)]
    accents = clicks(30, len(bars) * BAR_S)[: len(sound)]
    return sound + 0.5 * beats + accents


def heard_at(report: analyzer_pb2.Report, second: float) -> tuple[int, int] | None:
    """The chord of a moment."""
    for span in report.chords:
        if span.first_frame <= second * RATE < span.first_frame + span.frames:
            return FLATS[span.root] if span.root in FLATS else NAMES.index(span.root), span.quality
    return None


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_chords_at_random_are_heard(seed: int) -> None:
    rng = np.random.default_rng(seed)
    bars = [(int(rng.integers(12)), int(rng.choice([MAJOR, MINOR]))) for _ in range(10)]
    async with running_analyzer() as analyzer:
        report = await analyzer.pcm(play(bars))
    moments = np.arange(0.25, len(bars) * BAR_S, 0.5)
    right = [heard_at(report, moment) == bars[int(moment / BAR_S)] for moment in moments]
    assert np.mean(right) >= 0.85
    ends = [span.first_frame + span.frames for span in report.chords]
    assert all(end <= span.first_frame for end, span in zip(ends, report.chords[1:], strict=False))
    assert all(0 < span.confidence <= 1 for span in report.chords)


async def test_drums_and_noise_have_no_chords() -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, (RATE * 12, 1)).astype(np.float32)
    async with running_analyzer() as analyzer:
        for sound in (noise, clicks(120, 12)):
            report = await analyzer.pcm(sound)
            assert sum(span.frames for span in report.chords) < 0.2 * len(sound)


async def test_a_form_is_found_with_its_labels() -> None:
    first = [(0, MAJOR), (9, MINOR), (5, MAJOR), (7, MAJOR)] * 2
    second = [(2, MINOR), (4, MINOR), (10, MAJOR), (9, MAJOR)] * 2
    sound = np.concatenate([play(first, 0.02, 0.0), play(second, 0.08, 1.0), play(first, 0.02, 0.0)])
    async with running_analyzer() as analyzer:
        report = await analyzer.pcm(sound)
    assert [part.label for part in report.structure] == ["A", "B", "A"]
    assert [part.first_frame / RATE for part in report.structure] == pytest.approx([0, 16, 32], abs=0.5)
    assert report.structure[-1].first_frame + report.structure[-1].frames == report.frames
    assert report.structure[0].confidence == 1


async def test_a_change_of_key_is_found_and_one_key_is_one_span() -> None:
    loop = [(0, MAJOR), (5, MAJOR), (7, MAJOR), (0, MAJOR)]
    moved = [((root + 4) % 12, quality) for root, quality in loop]
    async with running_analyzer() as analyzer:
        changed = await analyzer.pcm(np.concatenate([play(loop * 4), play(moved * 4)]))
        same = await analyzer.pcm(play(loop * 4))
    assert [(span.key.key.tonic, span.key.key.mode) for span in changed.key_changes] == [
        ("C", music_pb2.MODE_MAJOR),
        ("E", music_pb2.MODE_MAJOR),
    ]
    first, second = changed.key_changes
    assert first.first_frame == 0
    assert second.first_frame == pytest.approx(32 * RATE, abs=7 * RATE)
    assert first.first_frame + first.frames == second.first_frame
    assert second.first_frame + second.frames == changed.frames
    (span,) = same.key_changes
    assert (span.first_frame, span.frames, span.key) == (0, same.frames, same.key)


async def test_chords_and_starts_of_sections_are_compared_with_the_plan() -> None:
    plan, wrong = plan_of(), plan_of()
    for section, part in zip(plan.sections, PIECE, strict=True):
        third = MINOR if part.minor else MAJOR
        loop = [(part.tonic, third), (part.tonic + 5, third), (part.tonic + 7, MAJOR), (part.tonic, third)]
        for bar in range(len(part.energy)):
            root, quality = loop[bar % 4]
            section.spec.chords.add(root=NAMES[root % 12], quality=quality, start_tick=bar * 3840, ticks=3840)
    for section, planned in zip(wrong.sections, plan.sections, strict=True):
        for chord in planned.spec.chords:
            moved = NAMES[(NAMES.index(chord.root) + 1) % 12]
            section.spec.chords.add(root=moved, quality=chord.quality, start_tick=chord.start_tick, ticks=chord.ticks)
    async with running_analyzer() as analyzer:
        report = await analyzer.pcm(SOUND, plan=plan)
        other = await analyzer.pcm(SOUND, plan=wrong)
        without = await analyzer.pcm(SOUND, plan=plan_of())
    assert all(section.chords_match > 0.8 for section in report.sections)
    assert all(section.chords_match < 0.2 for section in other.sections)
    assert not any(section.HasField("chords_match") for section in without.sections)
    boundaries = [part.first_frame for part in report.structure]
    for found, start in zip(report.sections, planned_starts(), strict=True):
        assert found.boundary_offset_frames == min((boundary - start for boundary in boundaries), key=abs)
        assert found.boundary_matches == (abs(found.boundary_offset_frames) <= 3 * RATE)
    assert sum(section.boundary_matches for section in report.sections) >= 2


def planned_starts() -> list[int]:
    """The first frames of the planned sections."""
    frames = [part.frames for part in PIECE]
    return [sum(frames[:index]) for index in range(len(frames))]
