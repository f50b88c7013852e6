"""AnalyzerService: the gRPC service of the analyzer."""

from __future__ import annotations

import asyncio
import contextlib
import math
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from segue.analyzer.v1 import analyzer_pb2, analyzer_pb2_grpc
from segue.audio.v1 import audio_pb2
from segue_analyzer.analysis import AudioAnalysis
from segue_analyzer.messages import partial_message, report_message
from segue_analyzer.plan_timeline import SectionSpan, lay_out_plan
from segue_analyzer.requests import PcmReader, read_start, receive_file
from segue_analyzer.stems.separation_call import SeparationCall, add_vocals
from segue_analyzer.stems.separators import Separators
from segue_analyzer.stems.vocals import VocalsMeter
from segue_audio.decoder.decoded_file import DecodedFile
from segue_audio.errors import UnreadableAudio
from segue_music import codec
from segue_runtime import errors
from segue_runtime.errors import FieldViolation

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    import grpc.aio

    from segue_analyzer.requests import Requests
    from segue_analyzer.stems.separator import Separator
    from segue_analyzer.stems.vocals import VocalsMethod
    from segue_audio.arrays import Float32

    Context = grpc.aio.ServicerContext[Any, Any]

SERVICE: Final = "segue.analyzer.v1.AnalyzerService"
_PROGRESS_S: Final = 0.5
_PARTIAL_S: Final = 1.0
_WARM_RATE: Final = 44_100


class AnalyzerService(analyzer_pb2_grpc.AnalyzerServiceServicer):
    """Measures and separates audio; keeps no state between calls."""

    def __init__(self, separators: Separators | None = None, vocals: VocalsMethod | None = None) -> None:
        self._separators = separators or Separators()
        self._vocals = vocals
        """How the vocals of files are measured; None: they are not."""

    async def Analyze(
        self, request_iterator: AsyncIterator[analyzer_pb2.AnalyzeRequest], context: Context
    ) -> AsyncIterator[analyzer_pb2.AnalyzeResponse]:
        """Measure PCM, or an encoded file."""
        requests = aiter(request_iterator)
        start = await read_start(requests)
        responses = (
            _measure_pcm(start, requests) if start.HasField("format") else _measure_file(start, requests, self._vocals)
        )
        async with contextlib.aclosing(responses):
            async for response in responses:
                yield response

    async def Separate(
        self, request_iterator: AsyncIterator[analyzer_pb2.SeparateRequest], context: Context
    ) -> AsyncIterator[analyzer_pb2.SeparateResponse]:
        """Separate PCM, or an encoded file, into stems."""
        requests = aiter(request_iterator)
        start = await read_start(requests)
        separator = self._separators.choose(start.kind)
        if start.HasField("format"):
            call = SeparationCall(separator, start.format.sample_rate, start.format.channels)
            responses = call.separate(PcmReader(start.format).blocks(requests))
        else:
            responses = _separate_file(separator, requests)
        async with contextlib.aclosing(responses):
            async for response in responses:
                yield response


async def _separate_file(
    separator: Separator, requests: AsyncIterator[analyzer_pb2.SeparateRequest]
) -> AsyncGenerator[analyzer_pb2.SeparateResponse]:
    async with _received_file(requests) as sound:
        call = SeparationCall(separator, sound.sample_rate, sound.channels, sound.frames)
        async for response in call.separate(sound.blocks()):
            yield response


async def _measure_pcm(
    start: analyzer_pb2.AnalyzeStart, requests: AsyncIterator[analyzer_pb2.AnalyzeRequest]
) -> AsyncGenerator[analyzer_pb2.AnalyzeResponse]:
    call = _Call(start, start.format.sample_rate, start.format.channels)
    async for response in call.measure(PcmReader(start.format).blocks(requests)):
        yield response


async def _measure_file(
    start: analyzer_pb2.AnalyzeStart,
    requests: AsyncIterator[analyzer_pb2.AnalyzeRequest],
    vocals: VocalsMethod | None,
) -> AsyncGenerator[analyzer_pb2.AnalyzeResponse]:
    async with _received_file(requests) as sound:
        call = _Call(start, sound.sample_rate, sound.channels, vocals)
        async for response in call.measure(sound.blocks()):
            yield response


@contextlib.asynccontextmanager
async def _received_file(requests: Requests) -> AsyncIterator[DecodedFile]:
    """Write the encoded file of a call to a temporary file, and decode it."""
    with _temporary_file() as file:
        try:
            await receive_file(requests, file)
        except OSError as error:
            raise _storage_full() from error
        try:
            async with DecodedFile(Path(file.name)) as sound:
                yield sound
        except UnreadableAudio as error:
            raise errors.InvalidAudio(str(error)) from None


def _temporary_file() -> tempfile._TemporaryFileWrapper[bytes]:
    """Make a named file: the decoder opens it by its path."""
    try:
        return tempfile.NamedTemporaryFile(prefix="segue-analyzer-")
    except OSError as error:
        raise _storage_full() from error


def _storage_full() -> errors.SegueError:
    return errors.StorageFull("the file does not fit into the analyzer's temporary folder: it is full or read-only")


class _Call:
    """One analysis; threads do the work, the event loop only passes data on."""

    def __init__(
        self,
        start: analyzer_pb2.AnalyzeStart,
        sample_rate: int,
        channels: int,
        vocals: VocalsMethod | None = None,
    ) -> None:
        plan = codec.plan_from_message(start.plan) if start.HasField("plan") else None
        spans = [SectionSpan(each.section_id, each.first_frame, each.frames) for each in start.sections]
        self._start = start
        self._format = audio_pb2.AudioFormat(
            sample_rate=sample_rate,
            channels=channels,
            sample_format=start.format.sample_format or audio_pb2.SAMPLE_FORMAT_F32LE,
        )
        timeline = lay_out_plan(plan, spans, sample_rate)
        self._analysis = AudioAnalysis(sample_rate, channels, timeline, find_tracks=start.find_tracks)
        self._vocals = VocalsMeter(vocals, sample_rate, channels) if vocals else None

    async def measure(self, blocks: AsyncIterator[Float32]) -> AsyncIterator[analyzer_pb2.AnalyzeResponse]:
        """Measure block by block; yields progress at most twice a second, and the report last."""
        last_sent = time.monotonic()
        next_partial_frame, last_partial = self._format.sample_rate, -math.inf
        async for block in blocks:
            await asyncio.to_thread(self._analysis.push, block)
            if self._vocals is not None:
                await asyncio.to_thread(self._vocals.push, block)
            if self._analysis.frames >= next_partial_frame and time.monotonic() - last_partial >= _PARTIAL_S:
                # New audio too: a stream that stands still has no news.
                next_partial_frame, last_partial = self._analysis.frames + self._format.sample_rate, time.monotonic()
                known = partial_message(await asyncio.to_thread(self._analysis.partial))
                yield analyzer_pb2.AnalyzeResponse(partial=known)
            if time.monotonic() - last_sent >= _PROGRESS_S:
                last_sent = time.monotonic()
                done = analyzer_pb2.AnalyzeProgress(frames_done=self._analysis.frames)
                yield analyzer_pb2.AnalyzeResponse(progress=done)
        self._check_sections()
        report = report_message(await asyncio.to_thread(self._analysis.report), self._format)
        if self._vocals is not None:
            await asyncio.to_thread(add_vocals, self._vocals, report)
        yield analyzer_pb2.AnalyzeResponse(report=report)

    def _check_sections(self) -> None:
        """Check that the caller's sections lie within the audio; sections of the plan may exceed it."""
        frames = self._analysis.frames
        for index, section in enumerate(self._start.sections):
            end = section.first_frame + section.frames
            if end > frames:
                place, text = f"start.sections[{index}]", f"it ends at frame {end}, the audio at frame {frames}"
                raise errors.InvalidField(f"{place}: {text}", violations=[FieldViolation(place, text)])


def warm() -> None:
    """Load everything that an analysis needs before the first call."""
    analysis = AudioAnalysis(_WARM_RATE, 2)
    analysis.push(np.zeros((_WARM_RATE * 3, 2), dtype=np.float32))
    analysis.report()
