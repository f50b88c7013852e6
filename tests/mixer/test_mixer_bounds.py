"""Extreme values within and beyond the contract: never INTERNAL, never broken audio."""

from __future__ import annotations

import json
import struct
import tempfile
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from tests.mixer.mixer_server import (
    RATE,
    Part,
    band,
    cut,
    master_start,
    mastered,
    measured,
    mix_requests,
    mixed,
    sound_format,
)

from segue.mixer.v1 import mixer_pb2
from segue_runtime import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from segue.mixer.v1 import mixer_pb2_grpc

    Stub = mixer_pb2_grpc.MixerServiceAsyncStub

SECOND = band(1, 1)
QUARTERS = [int(place) for place in range(0, RATE, 6_000)]


async def refusal(call: Any) -> errors.SegueError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in call:
            pass
    return errors.from_rpc_error(caught.value)


def with_start(requests: Iterable[mixer_pb2.MixRequest], change: Callable[[Any], object]) -> list[mixer_pb2.MixRequest]:
    made = list(requests)
    change(made[0].start)
    return made


@pytest.mark.parametrize("beat_frames", [4e307, 5e-324, 1e-9, 1e12])
async def test_an_absurd_beat_length_is_refused(stub: Stub, beat_frames: float) -> None:
    parts = [Part(name, SECOND, beats=16.0, start={"beats": QUARTERS}) for name in ("a", "b")]
    error = await refusal(stub.Mix(iter(list(mix_requests(parts, beat_frames=beat_frames)))))
    assert error.reason == "INVALID_FIELD"
    assert "start.sections[0].beat_frames" in error.message


async def test_a_tail_of_hours_is_refused_before_memory_is_allocated(stub: Stub) -> None:
    requests = list(mix_requests([Part("a", SECOND, tail_frames=3 * 3600 * RATE)]))
    error = await refusal(stub.Mix(iter(requests)))
    assert error.reason == "INVALID_FIELD"
    assert "start.sections[0].tail_frames" in error.message


@pytest.mark.parametrize("channels", [7, 8])
async def test_a_mix_of_more_channels_than_loudness_defines_is_refused(stub: Stub, channels: int) -> None:
    sound = np.tile(SECOND[:, :1], (1, channels))
    error = await refusal(stub.Mix(iter(list(mix_requests([Part("a", sound, sound[:0])], channels=channels)))))
    assert error.reason == "INVALID_FIELD"
    assert "start.format.channels" in error.message


def spoiled_checkpoint(state: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    """The checkpoint with a changed header."""
    magic, version, length = struct.unpack_from(">4sHI", state)
    header = json.loads(state[10 : 10 + length])
    change(header)
    text = json.dumps(header).encode()
    return struct.pack(">4sHI", magic, version, len(text)) + text + state[10 + length :]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", float("inf")),
        ("steps", 1 << 70),
        ("sample_rate", float("inf")),
        ("gain", float("nan")),
        ("gain", float("inf")),
        ("gain", 1e30),
        ("target_lufs", float("nan")),
        ("peaks", {"max_momentary_lufs": float("nan")}),
        ("peaks", {"max_momentary_lufs": 1e300}),
        ("behind", [0, 0, float("inf")]),
        ("behind", [0, 0, 1 << 40]),
        ("behind", [1e300, 0, 0]),
    ],
)
async def test_a_checkpoint_with_invalid_numbers_is_refused(stub: Stub, name: str, value: object) -> None:
    parts = [Part("a", SECOND), Part("b", SECOND)]
    state = (await mixed(stub, mix_requests(parts))).checkpoints["a"]

    def change(header: dict[str, Any]) -> None:
        header[name] = {**header[name], **value} if isinstance(value, dict) else value

    # A continuous section moves like the section before it.
    going_on = [parts[0], Part("b", SECOND, start={"continuous": True})]
    requests = mix_requests(going_on, resume_after="a", checkpoint=spoiled_checkpoint(state, change))
    error = await refusal(stub.Mix(iter(list(requests))))
    assert error.reason == "INVALID_FIELD"
    assert "from the first one" in error.message


async def test_a_checkpoint_with_audio_louder_than_any_music_is_refused(stub: Stub) -> None:
    parts = [Part("a", SECOND), Part("b", SECOND)]
    state = (await mixed(stub, mix_requests(parts))).checkpoints["a"]
    spoiled = state[:-4] + struct.pack("<f", 1e30)
    error = await refusal(stub.Mix(iter(list(mix_requests(parts, resume_after="a", checkpoint=spoiled)))))
    assert error.reason == "INVALID_FIELD"


async def test_a_checkpoint_with_deeply_nested_json_is_refused(stub: Stub) -> None:
    text = b"[" * 60_000
    state = struct.pack(">4sHI", b"SMIX", 4, len(text)) + text
    requests = mix_requests([Part("a", SECOND), Part("b", SECOND)], resume_after="a", checkpoint=state)
    assert (await refusal(stub.Mix(iter(list(requests))))).reason == "INVALID_FIELD"


@pytest.mark.parametrize("lufs", [-1e300, 1e300, -400.0, 400.0])
async def test_an_impossible_measurement_is_refused(stub: Stub, lufs: float) -> None:
    measurement = await measured(stub, SECOND)
    measurement.loudness.integrated_lufs = lufs
    start = master_start(mixer_pb2.MASTER_PASS_RENDER, SECOND, measurement=measurement)
    error = await refusal(stub.Master(iter([start, *(mixer_pb2.MasterRequest(audio=each) for each in cut(SECOND))])))
    assert error.reason == "INVALID_FIELD"
    assert "measurement.loudness.integrated_lufs" in error.message


async def test_quiet_rumble_below_the_gate_after_the_high_pass_gets_its_loudness(stub: Stub) -> None:
    time = np.arange(6 * RATE) / RATE
    rumble = np.repeat((0.003 * np.sin(2 * np.pi * 20 * time)).astype(np.float32)[:, None], 2, axis=1)
    settings = mixer_pb2.MasterSettings(preset=mixer_pb2.MASTER_PRESET_NONE, target_lufs=-20.0, high_pass_hz=60.0)
    made = await mastered(stub, rumble, settings)
    assert made.measured.loudness.integrated_lufs > -70
    assert made.finished.loudness.integrated_lufs == pytest.approx(-20.0, abs=0.1)


async def test_a_section_gets_its_own_loudness_at_a_rate_that_100_does_not_divide(stub: Stub) -> None:
    rate, border, frames = 8_050, 8_050 * 270, 8_050 * 290
    sound = band(10, 4, level=0.2, rate=rate)
    sound = np.tile(sound, (29, 1))[:frames]
    sound[border:] *= np.float32(0.25)
    sections = [
        mixer_pb2.MasterSection(section_id="loud", first_frame=0, frames=border, target_lufs=-20),
        mixer_pb2.MasterSection(section_id="soft", first_frame=border, frames=10 * rate, target_lufs=-20),
        mixer_pb2.MasterSection(section_id="last", first_frame=border + 10 * rate, frames=10 * rate, target_lufs=-20),
    ]
    measurement = await measured(stub, sound, rate=rate, sections=sections)
    loud, soft, last = measurement.section_gains_db
    assert soft - loud == pytest.approx(12.04, abs=0.3)
    assert last == pytest.approx(soft, abs=0.1)


async def test_sections_shorter_than_three_seconds_have_a_short_term_loudness_together(stub: Stub) -> None:
    sound = band(8, 2)
    parts = [Part(f"s{index}", sound[index * RATE :][:RATE], hard=True) for index in range(8)]
    together = (await mixed(stub, mix_requests(parts))).finished.loudness
    alone = (await mixed(stub, mix_requests([Part("a", sound)]))).finished.loudness
    assert together.max_short_term_lufs == pytest.approx(alone.max_short_term_lufs, abs=0.3)
    assert together.max_momentary_lufs == pytest.approx(alone.max_momentary_lufs, abs=0.3)


async def test_a_join_scores_alike_at_every_rate(stub: Stub) -> None:
    joins = []
    for rate in (48_000, 96_000, 192_000):
        time = np.arange(2 * rate) / rate

        def tones(*hertz: float, time: np.ndarray[Any, Any] = time) -> np.ndarray[Any, Any]:
            wave = sum(np.sin(2 * np.pi * each * time) * np.exp(-4 * (time % 1.0)) for each in hertz)
            return np.repeat(np.asarray(0.1 * wave, np.float32)[:, None], 2, axis=1)

        parts = [
            Part("a", tones(220.0, 330.0, 3_000.0), hard=True, rate=rate),
            Part("b", tones(220.0, 277.2, 6_000.0), hard=True, rate=rate),
        ]

        def at_this_rate(start: mixer_pb2.MixStart, rate: int = rate) -> None:
            start.format.CopyFrom(sound_format(2, rate))

        requests = with_start(mix_requests(parts), at_this_rate)
        joins.append((await mixed(stub, requests)).mixed[1].join)
    for join in joins[1:]:
        assert join.chroma_distance == pytest.approx(joins[0].chroma_distance, abs=0.02)
        assert join.spectral_jump_db == pytest.approx(joins[0].spectral_jump_db, abs=1.5)


async def test_a_missing_temporary_folder_is_reported(
    stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    error = await refusal(stub.Master(iter([master_start(mixer_pb2.MASTER_PASS_MEASURE, SECOND)])))
    assert error.reason == "STORAGE_FULL"


async def test_audio_that_the_filters_remove_stays_faint(stub: Stub) -> None:
    time = np.arange(3 * RATE) / RATE
    deep = np.repeat((0.02 * np.sin(2 * np.pi * 3 * time)).astype(np.float32)[:, None], 2, axis=1)
    settings = mixer_pb2.MasterSettings(preset=mixer_pb2.MASTER_PRESET_NONE, target_lufs=-5.0, high_pass_hz=200.0)
    made = await mastered(stub, deep, settings)
    assert np.abs(made.sound).max() < 0.1
    assert [warning.code for warning in made.finished.warnings] == ["loudness_not_measured"]
