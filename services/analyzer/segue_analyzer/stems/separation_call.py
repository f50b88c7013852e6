"""The messages of one separation: the stems of PCM or of a file, chunk by chunk."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from segue.analyzer.v1 import analyzer_pb2
from segue.audio.v1 import audio_pb2
from segue_analyzer.stems.separator import StemStream
from segue_runtime.rpc.chunks import MESH_CHUNK_BYTES, cut, f32le

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator

    from segue_analyzer.stems.separator import Separator, SeparatorInfo
    from segue_analyzer.stems.vocals import MeasuredVocals, VocalsMeter
    from segue_audio.arrays import Float32


class SeparationCall:
    """One separation; threads do the work, the event loop only passes data on."""

    def __init__(self, separator: Separator, sample_rate: int, channels: int, frames: int = 0) -> None:
        self._stream = StemStream(separator, sample_rate, channels)
        self._template = f32le(sample_rate, channels)
        self._frames = frames
        """The announced length; 0 if it is unknown."""

    async def separate(self, blocks: AsyncIterator[Float32]) -> AsyncGenerator[analyzer_pb2.SeparateResponse]:
        """Yield what separates the audio, then its stems, then their length."""
        yield analyzer_pb2.SeparateResponse(
            started=analyzer_pb2.SeparateStarted(
                separator=separator_message(self._stream.info), format=self._template.format, frames=self._frames
            )
        )
        async for block in blocks:
            for response in await self._sent(self._stream.push, block):
                yield response
        for response in await self._sent(self._stream.finish):
            yield response
        yield analyzer_pb2.SeparateResponse(finished=analyzer_pb2.SeparateFinished(frames=self._stream.frames))

    async def _sent(self, work: Callable[..., Float32], *block: Float32) -> Iterator[analyzer_pb2.SeparateResponse]:
        first_frame = self._stream.frames
        stems = await asyncio.to_thread(work, *block)
        return self._messages(stems, first_frame)

    def _messages(self, stems: Float32, first_frame: int) -> Iterator[analyzer_pb2.SeparateResponse]:
        for name, audio in zip(self._stream.info.stems, stems, strict=True):
            template = audio_pb2.AudioChunk()
            template.CopyFrom(self._template)
            template.layer = name
            for chunk in cut(audio.astype("<f4").tobytes(), template, first_frame, most_bytes=MESH_CHUNK_BYTES):
                yield analyzer_pb2.SeparateResponse(audio=chunk)


def add_vocals(meter: VocalsMeter, report: analyzer_pb2.Report) -> None:
    """End a measurement of the vocals stem, and add it to a report and to each of its tracks that was measured."""
    vocals = meter.finish()
    report.vocals_separator.CopyFrom(separator_message(vocals.separator))
    _set_vocals(vocals, report)
    for track in report.tracks:
        if not track.error:
            _set_vocals(meter.between(track.first_frame, track.first_frame + track.frames), track)


def _set_vocals(vocals: MeasuredVocals, message: analyzer_pb2.Report | analyzer_pb2.Track) -> None:
    message.vocal_energy_rms = vocals.energy_rms
    if vocals.has_vocals is not None:
        message.has_vocals = vocals.has_vocals


def separator_message(info: SeparatorInfo) -> analyzer_pb2.Separator:
    """Encode what a separator is."""
    return analyzer_pb2.Separator(
        kind=analyzer_pb2.SeparatorKind.ValueType(info.kind), name=info.name, digest=info.digest, stems=info.stems
    )
