"""The effect of each stage of the master on audio, through a real channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.mixer.mixer_server import RATE, band, mastered, measured

from segue.mixer.v1 import mixer_pb2
from segue_mixer.master.tonal_balance import CENTRES_HZ

if TYPE_CHECKING:
    from tests.mixer.mixer_server import Sound

    from segue.mixer.v1 import mixer_pb2_grpc

    Stub = mixer_pb2_grpc.MixerServiceAsyncStub


def only(**asked: Any) -> mixer_pb2.MasterSettings:
    """One stage; all others are off."""
    return mixer_pb2.MasterSettings(preset=mixer_pb2.MASTER_PRESET_NONE, **asked)


def tone(hz: float, seconds: float = 3.0, level: float = 0.25, *, sides: bool = False) -> Sound:
    wave = level * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)
    return np.asarray(np.stack([wave, -wave if sides else wave], axis=1), np.float32)


def level_db(sound: Sound, hz: float) -> float:
    """Level of one frequency in the middle of the sound, against full scale."""
    middle = sound[RATE : 2 * RATE, 0].astype(np.float64)
    window = np.hanning(len(middle))
    wave = np.exp(-2j * np.pi * hz * np.arange(len(middle)) / RATE)
    return 20 * float(np.log10(max(abs(np.sum(middle * window * wave)) * 2 / window.sum(), 1e-12)))


async def change_db(stub: Stub, hz: float, settings: mixer_pb2.MasterSettings, *, sides: bool = False) -> float:
    sound = tone(hz, sides=sides)
    made = await mastered(stub, sound, settings)
    return level_db(made.sound, hz) - level_db(sound, hz)


@pytest.mark.parametrize(("hz", "low", "high"), [(10, -60, -28), (30, -3.3, -2.7), (100, -0.1, 0.1), (5000, -0.1, 0.1)])
async def test_the_high_pass_attenuates_below_its_corner(stub: Stub, hz: float, low: float, high: float) -> None:
    assert low <= await change_db(stub, hz, only(high_pass_hz=30.0)) <= high


async def test_the_high_pass_removes_a_constant_offset(stub: Stub) -> None:
    made = await mastered(stub, np.full((3 * RATE, 2), 0.3, np.float32), only(high_pass_hz=25.0))
    assert np.abs(made.sound[RATE:]).max() < 1e-3


@pytest.mark.parametrize(
    ("hz", "sides", "low", "high"),
    [
        (40, True, -60, -25),
        (40, False, -0.1, 0.1),
        (1000, True, -0.1, 0.1),
        (1000, False, -0.1, 0.1),
    ],
)
async def test_bass_becomes_mono_and_the_rest_stays(
    stub: Stub, hz: float, sides: bool, low: float, high: float
) -> None:
    assert low <= await change_db(stub, hz, only(mono_below_hz=120.0), sides=sides) <= high


async def test_width_scales_the_sides(stub: Stub) -> None:
    assert await change_db(stub, 1000, only(width=1.5), sides=True) == pytest.approx(20 * np.log10(1.5), abs=0.05)
    assert await change_db(stub, 1000, only(width=1.5)) == pytest.approx(0.0, abs=0.05)
    made = await mastered(stub, band(1, 1), only(width=0.0))
    assert np.array_equal(made.sound[:, 0], made.sound[:, 1])


async def test_filters_do_not_ring_before_their_cause(stub: Stub) -> None:
    sound = np.zeros((2 * RATE, 2), np.float32)
    sound[RATE] = 0.9
    made = await mastered(stub, sound, only(high_pass_hz=40.0, mono_below_hz=200.0))
    assert np.abs(made.sound[:RATE]).max() < 1e-6
    assert np.abs(made.sound[RATE]).max() > 0.8


async def test_balance_brings_a_dull_piece_nearer_to_the_usual_and_bounds_each_band(stub: Stub) -> None:
    dull = band(8, 1)
    for _ in range(4):
        dull = np.asarray((dull + np.roll(dull, 1, axis=0)) / 2, np.float32)
    found = await measured(stub, dull, only(balance=0.5))
    gains = list(found.band_gains_db)
    assert len(gains) == len(CENTRES_HZ)
    assert gains[8] > gains[3]
    assert max(abs(gain) for gain in gains) <= 4.0
    half = await measured(stub, dull, only(balance=0.25))
    inside = [index for index, gain in enumerate(gains) if abs(gain) < 4.0]
    assert [half.band_gains_db[index] for index in inside] == pytest.approx([gains[i] / 2 for i in inside], abs=0.01)
    none = await measured(stub, dull, only(high_pass_hz=20.0))
    assert not any(none.band_gains_db)


async def test_the_equalizer_applies_the_measured_gains(stub: Stub) -> None:
    sound = band(8, 1)
    found = await mastered(stub, sound, only(balance=1.0))

    def octave_db(samples: Sound, centre: float) -> float:
        power = np.square(np.abs(np.fft.rfft(samples[:, 0].astype(np.float64))))
        place = np.fft.rfftfreq(len(samples), 1 / RATE)
        # The middle of the octave, where the gains of its neighbours have the least effect.
        return 10 * float(np.log10(power[(place > centre * 0.93) & (place < centre * 1.07)].sum()))

    for centre, gain_db in list(zip(CENTRES_HZ, found.measured.band_gains_db, strict=True))[2:8]:
        change = octave_db(found.sound, centre) - octave_db(sound, centre)
        assert change == pytest.approx(gain_db, abs=0.6)


async def test_the_compressor_narrows_the_dynamics_by_its_ratio(stub: Stub) -> None:
    sound = np.concatenate([tone(1000, 4, 0.05), tone(1000, 4, 0.4), tone(1000, 4, 0.05)])
    made = await mastered(stub, sound, only(glue_ratio=2.0, glue_threshold_lu=-20.0))
    before = 20 * np.log10(0.4 / 0.05)
    soft, loud = np.abs(made.sound[2 * RATE : 3 * RATE]).max(), np.abs(made.sound[6 * RATE : 7 * RATE]).max()
    assert 20 * np.log10(loud / soft) == pytest.approx(before / 2, abs=0.3)


async def test_the_compressor_moves_no_faster_than_its_times(stub: Stub) -> None:
    sound = np.concatenate([tone(1000, 2, 0.05), tone(1000, 2, 0.4), tone(1000, 2, 0.05)])
    slow = only(glue_ratio=4.0, glue_threshold_lu=-20.0, glue_attack_ms=50.0, glue_release_ms=500.0)
    made = await mastered(stub, sound, slow)
    loud_enough = np.abs(sound[:, 0]) > 0.02
    gain_db = 20 * np.log10(np.abs(made.sound[loud_enough, 0] / sound[loud_enough, 0]))
    released = gain_db[np.flatnonzero(np.flatnonzero(loud_enough) > 4 * RATE)]
    assert np.diff(released[:: RATE // 100]).max() < 1.0


async def test_saturation_adds_odd_harmonics_without_aliasing(stub: Stub) -> None:
    low = await mastered(stub, tone(200, level=0.5), only(saturation=0.5))
    assert level_db(low.sound, 600) > -50
    assert level_db(low.sound, 400) < -80
    # The third harmonic of 15 kHz would come back as 3 kHz.
    high = await mastered(stub, tone(15_000, level=0.5), only(saturation=0.5))
    assert level_db(high.sound, 3_000) < level_db(high.sound, 15_000) - 50


async def test_the_limiter_does_not_alias_and_moves_smoothly(stub: Stub) -> None:
    sound = np.concatenate([tone(9_000, 1.5, 0.3), tone(9_000, 1.5, 1.4), tone(9_000, 1.5, 0.3)])
    made = await mastered(stub, sound, only(ceiling_dbtp=-1.0, lookahead_ms=5.0))
    middle = made.sound[2 * RATE : 5 * RATE // 2, 0].astype(np.float64)
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    place = np.fft.rfftfreq(len(middle), 1 / RATE)
    away = spectrum[np.abs(place - 9_000) > 200].max()
    assert 20 * np.log10(away / spectrum.max()) < -90
    gain = np.abs(made.sound[:, 0]).reshape(-1, 48).max(axis=1) / np.abs(sound[:, 0]).reshape(-1, 48).max(axis=1)
    # 4 dB within 5 ms at most, in steps of 1 ms.
    assert np.abs(np.diff(20 * np.log10(gain))).max() < 2.0


async def test_presets_differ_in_dynamics(stub: Stub) -> None:
    sound = band(8, 4)
    ranges = {}
    for preset in (mixer_pb2.MASTER_PRESET_BROADCAST, mixer_pb2.MASTER_PRESET_STREAMING, mixer_pb2.MASTER_PRESET_CLUB):
        made = await mastered(stub, sound, mixer_pb2.MasterSettings(preset=preset))
        loudness = made.finished.loudness
        ranges[preset] = loudness.true_peak_dbtp - loudness.integrated_lufs
    assert list(ranges.values()) == sorted(ranges.values(), reverse=True)
