"""Stems and vocals through the service: PCM and files in, chunks of stems out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc.aio
import numpy as np
import pytest
from tests.analyzer.analyzer_calls import audio_chunk, encoded, file_requests, running_analyzer, tone
from tests.analyzer.separator_files import write_checkpoint

from segue.analyzer.v1 import analyzer_pb2
from segue.audio.v1 import audio_pb2
from segue_analyzer.stems.separators import Separators, open_separators, vocals_method
from segue_runtime import errors
from segue_runtime.settings import SettingsError
from segue_runtime.settings.sections import SeparatorSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    from tests.analyzer.analyzer_calls import Analyzer

    from segue_audio.arrays import Float32

RATE = 44_100


async def separate(
    analyzer: Analyzer, requests: Iterable[analyzer_pb2.SeparateRequest]
) -> tuple[analyzer_pb2.SeparateStarted, dict[str, Float32]]:
    """Send messages; return the announcement and the stems, or raise the error."""

    async def stream() -> AsyncIterator[analyzer_pb2.SeparateRequest]:
        for request in requests:
            yield request

    stems: dict[str, list[Any]] = {}
    started = finished = None
    try:
        async for response in analyzer.stub.Separate(stream(), timeout=60):
            kind = response.WhichOneof("message")
            if kind == "started":
                started = response.started
            elif kind == "finished":
                finished = response.finished
            else:
                chunk = response.audio
                parts = stems.setdefault(chunk.layer, [])
                assert chunk.first_frame == sum(map(len, parts))
                parts.append(np.frombuffer(chunk.data, "<f4").reshape(-1, chunk.format.channels))
    except grpc.aio.AioRpcError as error:
        raise errors.from_rpc_error(error) from None
    assert started is not None
    assert finished is not None
    found = {name: np.concatenate(parts) for name, parts in stems.items()}
    assert {len(stem) for stem in found.values()} == {finished.frames}
    assert list(found) == list(started.separator.stems)
    return started, found


def of_pcm(sound: Float32, kind: int = 0) -> Iterable[analyzer_pb2.SeparateRequest]:
    sound_format = audio_pb2.AudioFormat(sample_rate=RATE, channels=sound.shape[1])
    yield analyzer_pb2.SeparateRequest(
        start=analyzer_pb2.SeparateStart(format=sound_format, kind=analyzer_pb2.SeparatorKind.ValueType(kind))
    )
    for first in range(0, len(sound), 8000):
        yield analyzer_pb2.SeparateRequest(audio=audio_chunk(sound[first : first + 8000], RATE, first))


def of_file(content: bytes) -> Iterable[analyzer_pb2.SeparateRequest]:
    for request in file_requests(content):
        if request.HasField("start"):
            yield analyzer_pb2.SeparateRequest(start=analyzer_pb2.SeparateStart())
        else:
            yield analyzer_pb2.SeparateRequest(file=request.file)


async def test_pcm_and_its_file_have_the_same_stems() -> None:
    sound = (np.rint(tone(1.5, level=0.5, rate=RATE, channels=2) * 2**15) / 2**15).astype(np.float32)
    async with running_analyzer() as analyzer:
        started, stems = await separate(analyzer, of_pcm(sound))
        assert (started.format.sample_rate, started.format.channels, started.frames) == (RATE, 2, 0)
        assert started.separator.kind == analyzer_pb2.SEPARATOR_KIND_HARMONIC_PERCUSSIVE
        assert (np.sum(list(stems.values()), axis=0) == sound).all()
        started, same = await separate(analyzer, of_file(encoded(sound, RATE, subtype="PCM_16")))
        assert started.frames == len(sound)
        assert all((same[name] == stem).all() for name, stem in stems.items())


async def test_bad_calls_are_refused() -> None:
    sound = tone(0.2, rate=RATE)
    async with running_analyzer() as analyzer:
        for requests, reason in (
            ([], "OUT_OF_ORDER"),
            (list(of_pcm(sound))[1:], "OUT_OF_ORDER"),
            ([*of_pcm(sound), *list(of_pcm(sound))[1:]], "OUT_OF_ORDER"),
            (list(of_pcm(sound))[:1], "INVALID_AUDIO"),
            (list(of_file(b"no audio at all, but some bytes")), "INVALID_AUDIO"),
            (list(of_pcm(sound, kind=2)), "OPTION_NOT_SUPPORTED"),
        ):
            with pytest.raises(errors.SegueError) as caught:
                await separate(analyzer, requests)
            assert caught.value.reason == reason


def with_gains(folder: Path, vocals: float, **settings: Any) -> tuple[Separators, SeparatorSettings]:
    """Return an analyzer whose vocals stem is the recording at a gain."""
    write_checkpoint(folder / "gains.onnx", weights=(0.0, 0.0, 0.0, vocals))
    chosen = SeparatorSettings(path=folder / "gains.onnx", vocals=True, **settings)
    return open_separators(chosen), chosen


@pytest.mark.parametrize(("gain", "within", "has_vocals"), [(0.5, 0, None), (0.5, 7, True), (0.25, 7, False)])
async def test_the_level_of_the_vocals_stem_is_reported(
    tmp_path: Path, gain: float, within: int, *, has_vocals: bool | None
) -> None:
    separators, settings = with_gains(tmp_path, gain, vocals_within=within)
    sound = tone(2, level=0.5, rate=RATE, channels=2)
    async with running_analyzer(separators, vocals_method(separators, settings)) as analyzer:
        report = await analyzer.file(encoded(sound, RATE))
        assert report.vocal_energy_rms == pytest.approx(gain * 0.5 / 2**0.5, rel=0.02)
        assert (report.has_vocals if report.HasField("has_vocals") else None) == has_vocals
        assert report.vocals_separator.name == "gains"
        assert report.vocals_separator.digest
        silent = await analyzer.file(encoded(np.zeros((RATE, 1), np.float32), RATE))
        assert silent.vocal_energy_rms == 0
        assert not silent.has_vocals
        of_a_piece = await analyzer.pcm(sound, RATE)  # as conductors measure takes and masters
        assert not of_a_piece.HasField("vocal_energy_rms")


async def test_vocals_are_measured_only_if_the_operator_asked_for_it(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "tiny.onnx")
    settings = SeparatorSettings(path=tmp_path / "tiny.onnx")
    separators = open_separators(settings)
    async with running_analyzer(separators, vocals_method(separators, settings)) as analyzer:
        report = await analyzer.file(encoded(tone(1, rate=RATE), RATE))
        assert not report.HasField("vocal_energy_rms")
        assert not report.HasField("has_vocals")
        assert not report.HasField("vocals_separator")


@pytest.mark.parametrize(
    "settings", [{"vocals": True}, {"sha256": "ab"}, {"threads": 2}, {"path": "x", "vocals_within": 9}]
)
def test_settings_without_effect_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="no effect"):
        open_separators(SeparatorSettings(**settings))
