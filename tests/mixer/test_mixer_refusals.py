"""Invalid streams: each is refused with its reason and position, never with UNKNOWN or INTERNAL."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from tests.mixer.mixer_server import RATE, Part, band, chunk, master_start, mix_requests, mixed, sound_format

from segue.mixer.v1 import mixer_pb2
from segue_mixer.master.measure_pass import VERSION
from segue_runtime import errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from segue.audio.v1 import audio_pb2
    from segue.mixer.v1 import mixer_pb2_grpc

    Stub = mixer_pb2_grpc.MixerServiceAsyncStub
    Mixing = list[mixer_pb2.MixRequest]

SECOND = band(1, 1)


def parts() -> list[Part]:
    return [Part("a", SECOND), Part("b", SECOND)]


def spoiled(frame: int, value: float) -> Mixing:
    sound = SECOND.copy()
    sound[frame, 1] = value
    return list(mix_requests([replace(parts()[0], sound=sound)]))


def without(kind: str, index: int = 0) -> Mixing:
    requests = list(mix_requests(parts()))
    found = [place for place, request in enumerate(requests) if request.HasField(kind)]  # type: ignore[arg-type]  # a oneof's field
    del requests[found[index]]
    return requests


def twice(kind: str) -> Mixing:
    requests = list(mix_requests(parts()))
    found = next(place for place, request in enumerate(requests) if request.HasField(kind))  # type: ignore[arg-type]  # a oneof's field
    return [*requests[: found + 1], *requests[found:]]


def changed(change: Callable[[audio_pb2.AudioChunk], object]) -> Mixing:
    requests = list(mix_requests(parts()))
    change(next(request for request in requests if request.HasField("audio")).audio)
    return requests


def with_start(change: Callable[[mixer_pb2.MixStart], object]) -> Mixing:
    requests = list(mix_requests(parts()))
    change(requests[0].start)
    return requests


def other_format(piece: audio_pb2.AudioChunk) -> None:
    piece.format.sample_rate = 44_100


def endless() -> Mixing:
    requests = list(mix_requests([Part("a", SECOND)]))[:2]
    step = np.zeros((8_000, 2), np.float32)
    return requests + [
        mixer_pb2.MixRequest(audio=chunk(step, index * 8_000, section_id="a")) for index in range(40 * 48_000 // 8_000)
    ]


def layered(piece: audio_pb2.AudioChunk) -> None:
    piece.layer = "bass"


def elsewhere(piece: audio_pb2.AudioChunk) -> None:
    piece.first_frame += 1


def damaged(piece: audio_pb2.AudioChunk) -> None:
    piece.crc32c ^= 1


def shortened(piece: audio_pb2.AudioChunk) -> None:
    piece.frames -= 1


def other_section(piece: audio_pb2.AudioChunk) -> None:
    piece.section_id = "b"


def gap(start: mixer_pb2.MixStart) -> None:
    start.sections[1].first_frame += 1


def same_name(start: mixer_pb2.MixStart) -> None:
    start.sections[1].section_id = "a"


def tail_inside(start: mixer_pb2.MixStart) -> None:
    start.sections[0].tail_frames = 5


def same_layer(start: mixer_pb2.MixStart) -> None:
    start.layers.extend(["bass", "bass"])


def unknown_resume(start: mixer_pb2.MixStart) -> None:
    start.resume_after = "zebra"


MIXES: dict[str, tuple[Callable[[], Mixing], str, str]] = {
    "nothing": (list, "OUT_OF_ORDER", "before start"),
    "no start": (lambda: without("start"), "OUT_OF_ORDER", "before start"),
    "two starts": (lambda: twice("start"), "OUT_OF_ORDER", "once"),
    "no section start": (lambda: without("section_start"), "OUT_OF_ORDER", "no section is open"),
    "no section end": (lambda: without("section_end"), "OUT_OF_ORDER", "'b' began, expected the end of section 'a'"),
    "no last end": (lambda: without("section_end", 1), "OUT_OF_ORDER", "ended in section 'b'"),
    "a section twice": (lambda: twice("section_start"), "OUT_OF_ORDER", "'a' began, expected the end of section 'a'"),
    "a chunk missing": (lambda: without("audio", 1), "OUT_OF_ORDER", "expected frame 4096"),
    "a chunk twice": (lambda: twice("audio"), "OUT_OF_ORDER", "expected frame 4096"),
    "NaN": (lambda: spoiled(4_321, np.nan), "INVALID_AUDIO", "frame 4321, channel 1 is not a finite"),
    "Inf": (lambda: spoiled(47_999, -np.inf), "INVALID_AUDIO", "frame 47999"),
    "beyond any music": (lambda: spoiled(9, 1e30), "INVALID_AUDIO", "frame 9, channel 1 is 1e+30"),
    "another format": (lambda: changed(other_format), "INVALID_AUDIO", "format is not the announced one"),
    "another layer": (lambda: changed(layered), "OUT_OF_ORDER", "'bass' was not announced"),
    "another place": (lambda: changed(elsewhere), "OUT_OF_ORDER", "frame 1 arrived, expected frame 0"),
    "another section": (
        lambda: changed(other_section),
        "OUT_OF_ORDER",
        "section 'b' arrived while section 'a' is open",
    ),
    "damaged": (lambda: changed(damaged), "INVALID_AUDIO", "damaged"),
    "wrong length": (lambda: changed(shortened), "INVALID_AUDIO", "4095 frames"),
    "too long": (endless, "INVALID_AUDIO", "beyond"),
    "too short": (lambda: list(mix_requests([Part("a", SECOND, frames=49_000)])), "INVALID_AUDIO", "1000 frames are"),
    "a gap": (lambda: with_start(gap), "INVALID_FIELD", "sections[1].first_frame"),
    "a name twice": (lambda: with_start(same_name), "INVALID_FIELD", "twice"),
    "a tail inside": (lambda: with_start(tail_inside), "INVALID_FIELD", "tail_frames"),
    "a layer twice": (lambda: with_start(same_layer), "INVALID_FIELD", "layers"),
    "unknown resume": (lambda: with_start(unknown_resume), "INVALID_FIELD", "zebra"),
}


@pytest.mark.parametrize("name", MIXES)
async def test_an_invalid_mix_is_refused_with_its_position(stub: Stub, name: str) -> None:
    make, reason, words = MIXES[name]
    await refused(stub.Mix(iter(make())), reason, words)


async def refused(call: Any, reason: str, words: str) -> errors.SegueError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in call:
            pass
    error = errors.from_rpc_error(caught.value)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.reason == reason
    assert words in error.message
    return error


async def test_an_error_names_section_and_frame(stub: Stub) -> None:
    error = await refused(stub.Mix(iter(spoiled(4_321, np.nan))), "INVALID_AUDIO", "section a")
    assert (error.metadata["section_id"], error.metadata["frame"]) == ("a", "4321")


@pytest.mark.parametrize("state", [b"", b"rubbish", b"SMIX\x00\x03\x00\x00\x00\x02{}", b"SMIX\x00\x63" + bytes(40)])
async def test_an_unreadable_checkpoint_is_refused(stub: Stub, state: bytes) -> None:
    requests = list(mix_requests(parts(), resume_after="a", checkpoint=state))
    if not state:
        await refused(stub.Mix(iter(requests)), "OUT_OF_ORDER", "expected a checkpoint")
    else:
        await refused(stub.Mix(iter(requests)), "INVALID_FIELD", "from the first one")


async def test_a_checkpoint_of_another_mix_or_section_is_refused(stub: Stub) -> None:
    draft = await mixed(stub, mix_requests(parts()))
    for section_id, state in (
        ("a", draft.checkpoints["b"]),
        ("a", draft.checkpoints["a"][:-4]),
        ("b", draft.checkpoints["a"]),
    ):
        requests = mix_requests(parts(), resume_after=section_id, checkpoint=state)
        await refused(stub.Mix(iter(requests)), "INVALID_FIELD", "checkpoint")


def start(which: Any = mixer_pb2.MASTER_PASS_MEASURE, **fields: Any) -> mixer_pb2.MasterRequest:
    return master_start(which, SECOND, **fields)


def audio(first_frame: int = 0, frames: int = 8_000, **words: Any) -> mixer_pb2.MasterRequest:
    return mixer_pb2.MasterRequest(audio=chunk(SECOND[:frames], first_frame, **words))


def section(name: str, first_frame: int, frames: int) -> mixer_pb2.MasterSection:
    return mixer_pb2.MasterSection(section_id=name, first_frame=first_frame, frames=frames)


def nan() -> mixer_pb2.MasterRequest:
    sound = SECOND[:100].copy()
    sound[3, 0] = np.nan
    return mixer_pb2.MasterRequest(audio=chunk(sound))


RENDER = mixer_pb2.MASTER_PASS_RENDER
MEASUREMENT = mixer_pb2.MasterMeasurement(version=VERSION)
MASTERS: dict[str, tuple[list[mixer_pb2.MasterRequest], str, str]] = {
    "nothing": ([], "OUT_OF_ORDER", "begin with start"),
    "no start": ([audio()], "OUT_OF_ORDER", "begin with start"),
    "two starts": ([start(), start()], "OUT_OF_ORDER", "once"),
    "too few": ([start(), audio()], "INVALID_AUDIO", "after 8000 of 48000"),
    "a gap": ([start(), audio(1)], "OUT_OF_ORDER", "frame 1 arrived, expected frame 0"),
    "too many": (
        [start(), *(audio(index * 8_000) for index in range(7))],
        "INVALID_AUDIO",
        "announced 48000",
    ),
    "NaN": (
        [start(), nan(), *(audio(100 + index * 8_000) for index in range(5)), audio(40_100, 7_900)],
        "INVALID_AUDIO",
        "frame 3, channel 0",
    ),
    "another rate": ([start(), *(audio(index * 8_000, rate=44_100) for index in range(6))], "INVALID_AUDIO", "format"),
    "a layer": ([start(), audio(layer="bass")], "INVALID_AUDIO", "bass"),
    "render without": ([start(RENDER)], "INVALID_FIELD", "measurement"),
    "render of another chain": (
        [start(RENDER, measurement=mixer_pb2.MasterMeasurement(version="other"))],
        "INVALID_FIELD",
        "measure again",
    ),
    "render with settings": (
        [start(RENDER, measurement=MEASUREMENT, settings=mixer_pb2.MasterSettings())],
        "INVALID_FIELD",
        "settings",
    ),
    "render with other sections": (
        [start(RENDER, measurement=MEASUREMENT, sections=[section("a", 0, 48_000)])],
        "INVALID_FIELD",
        "0 gains for 1 sections",
    ),
    "render with a wild gain": (
        [start(RENDER, measurement=mixer_pb2.MasterMeasurement(version=VERSION, gain_db=1e9))],
        "INVALID_FIELD",
        "exceeds 120 dB",
    ),
    "render with too few bands": ([start(RENDER, measurement=MEASUREMENT)], "INVALID_FIELD", "0 gains for 10 bands"),
    "measure with measurement": ([start(measurement=MEASUREMENT)], "INVALID_FIELD", "not allowed in pass MEASURE"),
    "sections with a gap": (
        [start(sections=[section("a", 0, 10), section("b", 11, 10)])],
        "INVALID_FIELD",
        "sections[1]",
    ),
    "sections beyond the end": ([start(sections=[section("a", 0, 48_001)])], "INVALID_FIELD", "sections[0]"),
    "no pass": ([start(mixer_pb2.MASTER_PASS_UNSPECIFIED)], "INVALID_FIELD", "pass"),
    "absurd loudness": ([start(settings=mixer_pb2.MasterSettings(target_lufs=20))], "INVALID_FIELD", "target_lufs"),
    "absurd ceiling": ([start(settings=mixer_pb2.MasterSettings(ceiling_dbtp=3))], "INVALID_FIELD", "ceiling_dbtp"),
}


@pytest.mark.parametrize("name", MASTERS)
async def test_an_invalid_master_is_refused_with_its_position(stub: Stub, name: str) -> None:
    requests, reason, words = MASTERS[name]
    await refused(stub.Master(iter(requests)), reason, words)


async def test_stereo_settings_are_refused_for_mono(stub: Stub) -> None:
    for name in ("width", "mono_below_hz"):
        settings = mixer_pb2.MasterSettings()
        setattr(settings, name, 0.5)
        request = start(settings=settings)
        request.start.format.channels = 1
        await refused(stub.Master(iter([request])), "OPTION_NOT_SUPPORTED", name)


async def test_eight_channels_are_refused_for_a_master(stub: Stub) -> None:
    request = start()
    request.start.format.CopyFrom(sound_format(8, RATE))
    await refused(stub.Master(iter([request])), "INVALID_FIELD", "channels")


async def test_announcing_three_hours_allocates_nothing(stub: Stub) -> None:
    """Only the start is sent."""
    request = start()
    request.start.frames = 3 * 3600 * RATE
    await refused(stub.Master(iter([request])), "INVALID_AUDIO", "after 0 of")
