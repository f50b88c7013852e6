"""AnalyzerService: the analyzer's edge. Proto types stop here."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from segue.analyzer.v1 import analyzer_pb2, analyzer_pb2_grpc
from segue.audio.v1 import audio_pb2
from segue_analyzer.analysis import Measurement
from segue_analyzer.messages import report_message
from segue_analyzer.plan_timeline import Stretch, make_target
from segue_analyzer.requests import PcmReader, read_start, spool_file
from segue_audio.decoding import DecodedFile
from segue_audio.errors import UnreadableAudio
from segue_music import codec
from segue_runtime import errors
from segue_runtime.errors import FieldViolation

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    import grpc.aio

    from segue_audio.arrays import Float32

    Context = grpc.aio.ServicerContext[Any, Any]

SERVICE: Final = "segue.analyzer.v1.AnalyzerService"
_PROGRESS_S: Final = 0.5
_WARM_RATE: Final = 44_100


class AnalyzerService(analyzer_pb2_grpc.AnalyzerServiceServicer):
    """Measures; it keeps no state."""

    async def Analyze(
        self, request_iterator: AsyncIterator[analyzer_pb2.AnalyzeRequest], context: Context
    ) -> AsyncIterator[analyzer_pb2.AnalyzeResponse]:
        """Measure PCM, or an encoded file."""
        requests = aiter(request_iterator)
        start = await read_start(requests)
        responses = _measure_pcm(start, requests) if start.HasField("format") else _measure_file(start, requests)
        async with contextlib.aclosing(responses):
            async for response in responses:
                yield response


async def _measure_pcm(
    start: analyzer_pb2.AnalyzeStart, requests: AsyncIterator[analyzer_pb2.AnalyzeRequest]
) -> AsyncGenerator[analyzer_pb2.AnalyzeResponse]:
    call = _Call(start, start.format.sample_rate, start.format.channels)
    async for response in call.measure(PcmReader(start.format).blocks(requests)):
        yield response


async def _measure_file(
    start: analyzer_pb2.AnalyzeStart, requests: AsyncIterator[analyzer_pb2.AnalyzeRequest]
) -> AsyncGenerator[analyzer_pb2.AnalyzeResponse]:
    with _spool() as spool:
        try:
            await spool_file(requests, spool)
        except OSError as error:
            raise _no_room() from error
        try:
            async with DecodedFile(Path(spool.name)) as sound:
                call = _Call(start, sound.sample_rate, sound.channels)
                async for response in call.measure(sound.blocks()):
                    yield response
        except UnreadableAudio as error:
            raise errors.InvalidAudio(str(error)) from None


def _spool() -> tempfile._TemporaryFileWrapper[bytes]:
    """A name of its own and not only a descriptor: the decoder opens it by its path."""
    try:
        return tempfile.NamedTemporaryFile(prefix="segue-analyzer-")
    except OSError as error:
        raise _no_room() from error


def _no_room() -> errors.SegueError:
    return errors.StorageFull("the analyzer's temporary folder cannot take the file: it is full or read-only")


class _Call:
    """One analysis: the work is done in threads, the loop only carries."""

    def __init__(self, start: analyzer_pb2.AnalyzeStart, sample_rate: int, channels: int) -> None:
        plan = codec.plan_from_message(start.plan) if start.HasField("plan") else None
        given = [Stretch(each.section_id, each.first_frame, each.frames) for each in start.sections]
        self._start = start
        self._format = audio_pb2.AudioFormat(
            sample_rate=sample_rate,
            channels=channels,
            sample_format=start.format.sample_format or audio_pb2.SAMPLE_FORMAT_F32LE,
        )
        self._target = make_target(plan, given, sample_rate)
        self._measurement = Measurement(sample_rate, channels, self._target)

    async def measure(self, blocks: AsyncIterator[Float32]) -> AsyncIterator[analyzer_pb2.AnalyzeResponse]:
        """Measure block by block; progress at most twice a second, the report last."""
        said = time.monotonic()
        async for block in blocks:
            await asyncio.to_thread(self._measurement.push, block)
            if time.monotonic() - said >= _PROGRESS_S:
                said = time.monotonic()
                done = analyzer_pb2.AnalyzeProgress(frames_done=self._measurement.frames)
                yield analyzer_pb2.AnalyzeResponse(progress=done)
        self._check_sections()
        report = await asyncio.to_thread(self._measurement.report)
        yield analyzer_pb2.AnalyzeResponse(report=report_message(report, self._format))

    def _check_sections(self) -> None:
        """Sections that the caller gave must lie inside the sound; the plan's are compared as far as it goes."""
        frames = self._measurement.frames
        for index, section in enumerate(self._start.sections):
            end = section.first_frame + section.frames
            if end > frames:
                place, text = f"start.sections[{index}]", f"it ends at frame {end}, the sound at {frames}"
                raise errors.InvalidField(f"{place}: {text}", violations=[FieldViolation(place, text)])


def warm() -> None:
    """Load all that a measurement needs, so that the first one does not wait for it."""
    measurement = Measurement(_WARM_RATE, 2)
    measurement.push(np.zeros((_WARM_RATE * 3, 2), dtype=np.float32))
    measurement.report()
