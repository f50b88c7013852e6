"""Sections measured by themselves, and their comparison with the plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.analyzer.analyzer_calls import RATE, chords, clicks, running_analyzer

from segue.music.v1 import music_pb2
from segue_runtime import errors

if TYPE_CHECKING:
    from segue_audio.arrays import Float32

MAJOR, MINOR = music_pb2.MODE_MAJOR, music_pb2.MODE_MINOR
TONICS = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")


@dataclass
class Part:
    """A section, planned and played."""

    name: str
    bpm: float
    tonic: int
    energy: tuple[float, ...]
    minor: bool = False

    @property
    def frames(self) -> int:
        return round(len(self.energy) * 4 * 60 / self.bpm * RATE)

    def play(self) -> Float32:
        """Clicks on every beat and a cadence over every four bars, with the loudness of the energy."""
        bar_s = self.frames / RATE / len(self.energy)
        third, low = (3 if self.minor else 4), 48 + self.tonic
        loop = [
            [low, low + third, low + 7],
            [low + 5, low + 5 + third, low + 12],
            [low + 7, low + 11, low + 14],
            [low, low + third, low + 7],
        ]
        harmony = chords([loop[bar % 4] for bar in range(len(self.energy))], bar_s)
        sound = np.zeros((self.frames, 1), dtype=np.float32)
        frames = min(self.frames, len(harmony))
        sound[:frames] += harmony[:frames]
        sound += clicks(self.bpm, self.frames / RATE, offbeat=0.3)[: self.frames]
        gain = np.repeat(10 ** ((np.array(self.energy) - 1) * 20 / 20), -(-self.frames // len(self.energy)))
        return (sound * gain[: self.frames, None]).astype(np.float32)


PIECE = (
    Part("verse", 96, 0, (0.3, 0.35, 0.4, 0.45) * 2),
    Part("chorus", 128, 5, (0.8, 0.85, 0.9, 0.95) * 2),
    Part("outro", 96, 9, (0.5, 0.4, 0.3, 0.2) * 2, minor=True),
)


def plan_of(parts: tuple[Part, ...] = PIECE, *, complete: bool = True) -> music_pb2.Plan:
    """A plan as the planner (complete) or as a caller writes it."""
    plan = music_pb2.Plan(
        sample_rate=RATE,
        quarters_per_minute=parts[0].bpm,
        metre=music_pb2.Metre(beats=4, unit=4),
        key=music_pb2.Key(tonic=TONICS[parts[0].tonic], mode=MAJOR),
    )
    first = 0
    for part in parts:
        section = plan.sections.add(first_frame=first if complete else 0)
        section.spec.section_id = part.name
        section.spec.role = music_pb2.ROLE_VERSE
        section.spec.bars = len(part.energy)
        section.spec.frames = part.frames if complete else 0
        section.spec.tempo_points.add(start_tick=0, quarters_per_minute=part.bpm)
        section.spec.key.tonic = TONICS[part.tonic]
        section.spec.key.mode = MINOR if part.minor else MAJOR
        section.spec.energy.extend(part.energy)
        first += part.frames
    return plan


SOUND = np.concatenate([part.play() for part in PIECE])


@pytest.mark.parametrize("complete", [True, False])
async def test_sections_played_as_planned_match(complete: bool) -> None:
    async with running_analyzer() as analyzer:
        report = await analyzer.pcm(SOUND, plan=plan_of(complete=complete))
    assert [section.section_id for section in report.sections] == ["verse", "chorus", "outro"]
    for section, part in zip(report.sections, PIECE, strict=True):
        assert section.tempo_matches
        assert section.key_matches
        assert section.tempo.quarters_per_minute == pytest.approx(part.bpm, rel=0.02)
        assert not section.tempo.beats
        assert section.planned_energy == pytest.approx(np.mean(part.energy))
        assert section.brightness_hz > 100
    assert report.energy_correlation > 0.9
    assert report.tempo.downbeats


async def test_sections_played_differently_do_not_match() -> None:
    wrong = plan_of()
    for section in wrong.sections:
        section.spec.tempo_points[0].quarters_per_minute *= 1.17
        section.spec.key.tonic = TONICS[(TONICS.index(section.spec.key.tonic) + 6) % 12]
        energy = [1 - value for value in section.spec.energy]
        del section.spec.energy[:]
        section.spec.energy.extend(energy)
    async with running_analyzer() as analyzer:
        report = await analyzer.pcm(SOUND, plan=wrong)
    assert [section.tempo_matches for section in report.sections] == [False] * 3
    assert [section.key_matches for section in report.sections] == [False] * 3
    assert all(section.HasField("tempo_matches") for section in report.sections)
    assert report.energy_correlation < -0.5


async def test_half_and_double_tempo_and_the_relative_key_match() -> None:
    related = plan_of()
    for section in related.sections:
        section.spec.tempo_points[0].quarters_per_minute *= 0.5 if section.spec.section_id == "chorus" else 1.0
    related.sections[0].spec.key.tonic, related.sections[0].spec.key.mode = "A", MINOR
    related.sections[1].spec.key.tonic, related.sections[1].spec.key.mode = "G", music_pb2.MODE_DORIAN
    async with running_analyzer() as analyzer:
        report = await analyzer.pcm(SOUND, plan=related)
    assert all(section.tempo_matches and section.key_matches for section in report.sections)


async def test_a_section_has_the_loudness_that_it_has_alone() -> None:
    async with running_analyzer() as analyzer:
        report = await analyzer.pcm(SOUND, plan=plan_of())
        first = 0
        for section, part in zip(report.sections, PIECE, strict=True):
            alone = await analyzer.pcm(SOUND[first : first + part.frames])
            first += part.frames
            for name in (
                "integrated_lufs",
                "max_momentary_lufs",
                "max_short_term_lufs",
                "range_lu",
                "sample_peak_dbfs",
            ):
                assert getattr(section.loudness, name) == pytest.approx(getattr(alone.loudness, name), abs=1e-6), name
            assert section.loudness.true_peak_dbtp == pytest.approx(alone.loudness.true_peak_dbtp, abs=0.1)
            assert section.brightness_hz == pytest.approx(alone.brightness_hz, rel=0.1)


async def test_sections_of_the_caller_replace_those_of_the_plan() -> None:
    given = [("chorus", PIECE[0].frames, PIECE[1].frames), ("start", 0, 2 * RATE)]
    async with running_analyzer() as analyzer:
        with_plan = await analyzer.pcm(SOUND, plan=plan_of(), sections=given)
        without = await analyzer.pcm(SOUND, sections=given)
    chorus, start = with_plan.sections
    assert (chorus.section_id, start.section_id) == ("chorus", "start")
    assert chorus.tempo_matches
    assert chorus.HasField("planned_energy")
    assert not any(start.HasField(name) for name in ("tempo_matches", "key_matches", "planned_energy"))
    assert not any(without.sections[0].HasField(name) for name in ("tempo_matches", "key_matches", "planned_energy"))
    assert without.sections[0].loudness == chorus.loudness
    assert not without.HasField("energy_correlation")


async def test_a_plan_at_another_rate_is_scaled_to_the_audio() -> None:
    plan = plan_of()
    plan.sample_rate = 96_000
    for section in plan.sections:
        section.first_frame *= 2
        section.spec.frames *= 2
    async with running_analyzer() as analyzer:
        report = await analyzer.pcm(SOUND, plan=plan)
    assert all(section.tempo_matches and section.key_matches for section in report.sections)
    assert report.energy_correlation > 0.9


async def test_a_plan_longer_than_the_audio_is_compared_up_to_its_end() -> None:
    half = SOUND[: PIECE[0].frames + RATE]
    async with running_analyzer() as analyzer:
        report = await analyzer.pcm(half, plan=plan_of())
    verse, chorus, outro = report.sections
    assert verse.tempo_matches
    assert chorus.loudness.HasField("sample_peak_dbfs")
    assert not chorus.HasField("tempo_matches")
    assert not outro.loudness.HasField("sample_peak_dbfs")
    assert outro.brightness_hz == 0


async def test_the_plan_chooses_between_half_and_double() -> None:
    sound = clicks(86, 16, offbeat=1.0)
    async with running_analyzer() as analyzer:
        for bpm in (86, 172):
            plan = plan_of((Part("all", bpm, 0, (0.5,) * 4),))
            assert (await analyzer.pcm(sound, plan=plan)).tempo.quarters_per_minute == pytest.approx(bpm, rel=0.01)


async def test_six_eight_counts_dotted_quarters_and_reports_quarters() -> None:
    plan = plan_of((Part("all", 120, 0, (0.5,) * 8),))
    plan.metre.beats, plan.metre.unit = 6, 8
    async with running_analyzer() as analyzer:
        tempo = (await analyzer.pcm(clicks(80, 16), plan=plan)).tempo
    assert tempo.quarters_per_minute == pytest.approx(120, rel=0.01)
    assert len(tempo.beats) == pytest.approx(80 * 16 / 60, abs=1)


async def test_a_contradictory_plan_is_refused_with_its_position() -> None:
    plan = plan_of()
    plan.sections[1].spec.energy.append(0.5)
    descending = plan_of()
    descending.sections[2].spec.tempo_points.add(start_tick=0, quarters_per_minute=100)
    async with running_analyzer() as analyzer:
        for broken, place in ((plan, r"sections\[1\].spec.energy"), (descending, r"sections\[2\].spec.tempo_points")):
            with pytest.raises(errors.InvalidPlan, match=place):
                await analyzer.pcm(SOUND[:RATE], plan=broken)
