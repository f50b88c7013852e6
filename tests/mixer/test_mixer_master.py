"""The master through a real channel: loudness on target, true peak under the ceiling, equal length."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.fft import next_fast_len
from tests.mixer.mixer_server import RATE, band, mastered, measured, rendered, with_mixer

from segue.mixer.v1 import mixer_pb2
from segue_mixer.master.presets import PARAMETERS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.mixer.mixer_server import Sound

    from segue.mixer.v1 import mixer_pb2_grpc

    Stub = mixer_pb2_grpc.MixerServiceAsyncStub

BURSTS: Sound = band(12, 7) * (np.arange(12 * RATE) % RATE < 9_000)[:, None].astype(np.float32)
RISING: Sound = band(20, 3) * np.linspace(0.05, 1.0, 20 * RATE, dtype=np.float32)[:, None]


def true_peak_dbtp(sound: Sound, factor: int = 8) -> float:
    """Oversample by the spectrum, independently of the limiter, with silence on both sides."""
    frames = next_fast_len(len(sound) + 512, real=True)
    padded = np.pad(sound.astype(np.float64), ((256, frames - len(sound) - 256), (0, 0)))
    fine = np.fft.irfft(np.fft.rfft(padded, axis=0), frames * factor, axis=0) * factor
    return 20 * float(np.log10(max(np.abs(fine).max(), 1e-12)))


@pytest.mark.parametrize(
    ("sound", "asked"),
    [
        (band(15, 1), {}),
        (band(15, 2, level=3.0), {}),
        (band(15, 2, level=0.001), {}),
        (band(15, 4), {"preset": mixer_pb2.MASTER_PRESET_BROADCAST}),
        (band(15, 5), {"preset": mixer_pb2.MASTER_PRESET_CLUB}),
        (band(15, 5), {"target_lufs": -11.5, "ceiling_dbtp": -3.0, "lookahead_ms": 1.5, "limiter_release_ms": 30.0}),
        (RISING, {}),
        (BURSTS, {"target_lufs": -18.0}),
        (band(0.5, 6), {}),
    ],
    ids=["music", "very loud", "very quiet", "broadcast", "club", "settings", "rising", "bursts", "half a second"],
)
async def test_target_and_ceiling_are_met(stub: Stub, sound: Sound, asked: dict[str, Any]) -> None:
    made = await mastered(stub, sound, mixer_pb2.MasterSettings(**asked))
    wanted = made.measured.settings
    assert made.finished.loudness.integrated_lufs == pytest.approx(wanted.target_lufs, abs=0.1)
    assert true_peak_dbtp(made.sound) <= wanted.ceiling_dbtp
    assert made.finished.loudness.true_peak_dbtp <= wanted.ceiling_dbtp
    assert not made.finished.warnings


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=st.lists(st.integers(1, 8000), min_size=1, max_size=10), frames=st.integers(1, 60_000))
def test_the_master_does_not_depend_on_chunk_sizes(tmp_path: Path, sizes: list[int], frames: int) -> None:
    sound = band(1.3, 3)[:frames]

    async def both(stub: Stub) -> None:
        whole = await mastered(stub, sound)
        cut = await mastered(stub, sound, sizes=sizes)
        assert whole.measured == cut.measured
        assert whole.content == cut.content
        assert whole.finished == cut.finished

    with_mixer(tmp_path, both)


@pytest.mark.parametrize("rate", [8_000, 44_100, 96_000])
@pytest.mark.parametrize("channels", [1, 2, 6])
async def test_any_rate_and_layout(stub: Stub, rate: int, channels: int) -> None:
    sound = band(4, 2, rate=rate, channels=channels)
    made = await mastered(stub, sound, mixer_pb2.MasterSettings(target_lufs=-12.0), rate=rate)
    assert made.finished.loudness.integrated_lufs == pytest.approx(-12.0, abs=0.1)
    assert true_peak_dbtp(made.sound) <= -1.0


async def test_silence_stays_silence_with_a_warning(stub: Stub) -> None:
    made = await mastered(stub, np.zeros((2 * RATE, 2), np.float32))
    assert not made.sound.any()
    assert [warning.code for warning in made.finished.warnings] == ["loudness_not_measured"]


@pytest.mark.parametrize("frames", [1, 2, 31, 480, 15_000])
async def test_audio_too_short_to_measure_keeps_its_level_under_the_ceiling(stub: Stub, frames: int) -> None:
    sound = np.full((frames, 2), 1.5, np.float32)
    made = await mastered(stub, sound)
    assert true_peak_dbtp(made.sound) <= -1.0
    assert made.measured.gain_db == 0.0
    assert [warning.code for warning in made.finished.warnings] == ["loudness_not_measured"]


async def test_an_unreachable_target_gives_a_warning_and_the_ceiling_holds(stub: Stub) -> None:
    clicks = np.zeros((8 * RATE, 2), np.float32)
    clicks[::RATE] = 0.9
    made = await mastered(stub, clicks, mixer_pb2.MasterSettings(target_lufs=-6.0))
    assert [warning.code for warning in made.finished.warnings] == ["target_not_reached"]
    assert made.finished.max_gain_reduction_db < 25
    assert true_peak_dbtp(made.sound) <= -1.0


async def test_preset_none_changes_no_bit(stub: Stub) -> None:
    sound = band(2, 1, level=0.9)
    sound[17] = -0.0
    sound[18] = 1e-42
    made = await mastered(stub, sound, mixer_pb2.MasterSettings(preset=mixer_pb2.MASTER_PRESET_NONE))
    assert made.content == sound.tobytes()
    assert made.finished.max_gain_reduction_db == 0.0
    assert made.finished.loudness.HasField("integrated_lufs")


async def test_quiet_audio_is_only_scaled(stub: Stub) -> None:
    sound = band(6, 1, level=0.02)
    asked = mixer_pb2.MasterSettings(preset=mixer_pb2.MASTER_PRESET_NONE, target_lufs=-23, ceiling_dbtp=-1)
    made = await mastered(stub, sound, asked)
    gain = 10 ** (made.measured.gain_db / 20)
    assert made.finished.max_gain_reduction_db == 0.0
    assert np.allclose(made.sound, sound * gain, rtol=1e-5, atol=1e-7)


async def test_settings_come_back_complete(stub: Stub) -> None:
    found = await measured(stub, band(1, 1), mixer_pb2.MasterSettings(target_lufs=-16.0))
    assert found.settings.target_lufs == -16.0
    assert {item.name for item, _ in found.settings.ListFields()} >= {"preset", "ceiling_dbtp", "lookahead_ms"}
    assert all(getattr(found.settings, name) is not None for name in PARAMETERS)
    assert len(found.settings.ListFields()) == 1 + len(PARAMETERS)
    assert found.settings.preset == mixer_pb2.MASTER_PRESET_STREAMING


def sections_of(*targets: float | None) -> list[mixer_pb2.MasterSection]:
    sections = []
    for index, target in enumerate(targets):
        section = mixer_pb2.MasterSection(section_id=f"s{index}", first_frame=index * 5 * RATE, frames=5 * RATE)
        if target is not None:
            section.target_lufs = target
        sections.append(section)
    return sections


async def test_each_section_gets_its_planned_loudness(stub: Stub) -> None:
    sound = np.concatenate([band(5, 1, level=0.3), band(5, 2, level=0.06), band(5, 3, level=0.1)])
    sections = sections_of(-16.0, -20.0, -13.0)
    # The compressor would reduce the differences again.
    asked = mixer_pb2.MasterSettings(target_lufs=-23.0, glue_ratio=1.0, balance=0.0)
    made = await mastered(stub, sound, asked, sections=sections)
    middle = []
    for index in range(3):
        part = made.sound[index * 5 * RATE + RATE // 5 : (index + 1) * 5 * RATE - RATE // 5]
        part_made = await mastered(stub, part, mixer_pb2.MasterSettings(preset=mixer_pb2.MASTER_PRESET_NONE))
        middle.append(part_made.finished.loudness.integrated_lufs)
    assert middle[0] - middle[1] == pytest.approx(4.0, abs=0.5)
    assert middle[2] - middle[0] == pytest.approx(3.0, abs=0.5)
    assert made.finished.loudness.integrated_lufs == pytest.approx(-23.0, abs=0.1)


async def test_a_section_that_needs_too_much_gain_gives_a_warning(stub: Stub) -> None:
    sound = np.concatenate([band(5, 1, level=0.3), band(5, 2, level=0.002)])
    made = await mastered(stub, sound, sections=sections_of(-16.0, -16.0))
    assert [(warning.code, warning.section_id) for warning in made.finished.warnings] == [("gain_limited", "s1")]


async def test_a_kept_measurement_gives_equal_frames_away_from_an_edit(stub: Stub) -> None:
    sound = band(12, 1)
    measurement = await measured(stub, sound, mixer_pb2.MasterSettings(preset=mixer_pb2.MASTER_PRESET_CLUB))
    edited = sound.copy()
    edited[5 * RATE : 6 * RATE] = band(1, 9, level=0.6)
    one = await rendered(stub, sound, measurement)
    other = await rendered(stub, edited, measurement)
    assert one.finished.max_gain_reduction_db > 3
    assert np.array_equal(one.sound[: 4 * RATE], other.sound[: 4 * RATE])
    assert np.array_equal(one.sound[7 * RATE :], other.sound[7 * RATE :])
    assert not np.array_equal(one.sound, other.sound)
