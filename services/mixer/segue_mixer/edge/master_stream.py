"""The stream of Master: checks order and number of frames, decodes, runs one pass, encodes."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import numpy as np

from segue.audio.v1 import audio_pb2
from segue.mixer.v1 import mixer_pb2
from segue_audio.loudness import LoudnessMeter
from segue_mixer.audio_check import MixError, check_samples
from segue_mixer.edge import messages
from segue_mixer.edge.messages import MAX_CHANNELS
from segue_mixer.master.measure_pass import MeasurePass
from segue_mixer.master.presets import STEREO, Preset, complete, stereo_only
from segue_mixer.master.render_pass import MasterResult, RenderPass
from segue_mixer.master.section_gains import MasterSection
from segue_runtime import errors
from segue_runtime.rpc import chunks
from segue_runtime.rpc.chunks import fill

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator

    from segue_audio.arrays import Float32
    from segue_mixer.master.presets import MasterSettings

MAX_FRAMES: Final = 4 * 3600 * 192_000
PROGRESS_S: Final = 0.5
BATCH_FRAMES: Final = 65_536
"""Frames per call of a thread: a call for every chunk would cost more than the work."""
BATCH_CHUNKS: Final = 256
TURN_BLOCKS: Final = 16


async def master(requests: AsyncIterator[mixer_pb2.MasterRequest]) -> AsyncGenerator[mixer_pb2.MasterResponse, None]:
    """Answer one Master call."""
    stream = requests.__aiter__()
    first = await anext(stream, None)
    if first is None or first.WhichOneof("message") != "start":
        raise errors.OutOfOrder("the stream must begin with start", metadata={"position": "start"})
    session: _MeasureSession | _RenderSession | None = None
    try:
        session = _open_session(first.start)
        progress = _ProgressTimer()
        async for batch in _batches(stream, first.start):
            for response in await asyncio.to_thread(session.push, batch):
                yield response
            if progress.is_due():
                yield _progress(batch[-1].first_frame + batch[-1].frames if batch else first.start.frames)
        ending = session.finish()
        while (responses := await asyncio.to_thread(next, ending, None)) is not None:
            for response in responses:
                yield response
            if progress.is_due():
                yield _progress(first.start.frames)
    except OSError as error:
        raise errors.StorageFull(
            "the piece does not fit into the mixer's temporary folder: it is full or read-only"
        ) from error
    finally:
        if session is not None:
            session.close()


def _progress(frames_done: int) -> mixer_pb2.MasterResponse:
    return mixer_pb2.MasterResponse(progress=mixer_pb2.MasterProgress(frames_done=frames_done))


async def _batches(
    stream: AsyncIterator[mixer_pb2.MasterRequest], start: mixer_pb2.MasterStart
) -> AsyncIterator[list[audio_pb2.AudioChunk]]:
    """Yield chunks in batches; checks that they are in order and as many as announced."""
    batch: list[audio_pb2.AudioChunk] = []
    received = processed = 0
    async for request in stream:
        if request.WhichOneof("message") != "audio":
            raise errors.OutOfOrder("start may be sent only once", metadata={"position": str(received)})
        _check_position(request.audio, received, start)
        batch.append(request.audio)
        received += request.audio.frames
        if received - processed >= BATCH_FRAMES or len(batch) >= BATCH_CHUNKS:
            yield batch
            batch, processed = [], received
    if received != start.frames:
        raise errors.InvalidAudio(
            f"the stream ended after {received} of {start.frames} frames", metadata={"frame": str(received)}
        )
    yield batch


class _ProgressTimer:
    """Limits progress messages to two a second."""

    def __init__(self) -> None:
        self._last_sent = time.monotonic()

    def is_due(self) -> bool:
        if time.monotonic() - self._last_sent < PROGRESS_S:
            return False
        self._last_sent = time.monotonic()
        return True


def warm() -> None:
    """Run both passes once on a second of constant audio, to load scipy and the interpolation tables."""
    settings = complete(Preset.STREAMING, {}, STEREO)
    second = np.full((48_000, 2), 0.01, np.float32)
    measuring = MeasurePass(settings, (), 48_000, 2)
    measuring.push(second)
    for _ in measuring.read_again():
        pass
    rendering = RenderPass(measuring.measurement(), (), 48_000, 2)
    measuring.close()
    for _ in (*rendering.push(second), *rendering.finish()):
        pass


def _open_session(start: mixer_pb2.MasterStart) -> _MeasureSession | _RenderSession:
    sections = _sections(start)
    # "pass" is a keyword of Python.
    measures = getattr(start, "pass") == mixer_pb2.MASTER_PASS_MEASURE
    return _MeasureSession(start, sections) if measures else _RenderSession(start, sections)


def _check_position(chunk: audio_pb2.AudioChunk, expected: int, start: mixer_pb2.MasterStart) -> None:
    frame = str(expected)
    if chunk.first_frame != expected:
        raise errors.OutOfOrder(
            f"frame {chunk.first_frame} arrived, expected frame {expected}",
            metadata={"position": frame, "frame": frame},
        )
    if expected + chunk.frames > start.frames:
        raise errors.InvalidAudio(
            f"frame {start.frames} arrived, but start announced {start.frames} frames", metadata={"frame": frame}
        )
    if chunk.layer:
        raise errors.InvalidAudio(
            f"audio of layer {chunk.layer!r} arrived; the master is made from the mix", metadata={"frame": frame}
        )


def _samples(chunk: audio_pb2.AudioChunk, announced: audio_pb2.AudioFormat) -> Float32:
    block = chunks.samples_of(chunk, announced, "the draft")
    try:
        check_samples(block, chunk.first_frame, "the draft", chunk.section_id)
    except MixError as error:
        raise messages.mix_error(error, errors.InvalidAudio) from error
    return block


class _MeasureSession:
    """Pass MEASURE on one stream."""

    def __init__(self, start: mixer_pb2.MasterStart, sections: list[MasterSection]) -> None:
        if start.HasField("measurement"):
            raise errors.InvalidField("start.measurement: not allowed in pass MEASURE, which produces it")
        self._format = start.format
        settings = messages.settings_from(start.settings, start.format.channels)
        _check_settings(settings, start.format.channels)
        self._pass = MeasurePass(settings, sections, start.format.sample_rate, start.format.channels)

    def push(self, chunks: list[audio_pb2.AudioChunk]) -> list[mixer_pb2.MasterResponse]:
        for chunk in chunks:
            self._pass.push(_samples(chunk, self._format))
        return []

    def finish(self) -> Iterator[list[mixer_pb2.MasterResponse]]:
        # A thread runs a few blocks at a time; between two calls the stream can be cancelled.
        for num_blocks, _ in enumerate(self._pass.read_again()):
            if num_blocks % TURN_BLOCKS == 0:
                yield []
        yield [mixer_pb2.MasterResponse(measured=messages.measurement_message(self._pass.measurement()))]

    def close(self) -> None:
        self._pass.close()


class _RenderSession:
    """Pass RENDER on one stream."""

    def __init__(self, start: mixer_pb2.MasterStart, sections: list[MasterSection]) -> None:
        if not start.HasField("measurement"):
            raise errors.InvalidField("start.measurement: required in pass RENDER; pass MEASURE returns it")
        if start.HasField("settings"):
            raise errors.InvalidField("start.settings: not allowed in pass RENDER, which uses the measurement's")
        self._format = start.format
        self._sections = sections
        measurement = messages.measurement_from(start.measurement, sections, start.format.channels)
        _check_settings(measurement.settings, start.format.channels)
        self._position = 0
        self._is_bypass = measurement.settings.is_bypass
        self._meter = LoudnessMeter(start.format.sample_rate, start.format.channels)
        self._pass = RenderPass(measurement, sections, start.format.sample_rate, start.format.channels)

    def push(self, chunks: list[audio_pb2.AudioChunk]) -> list[mixer_pb2.MasterResponse]:
        responses: list[mixer_pb2.MasterResponse] = []
        ready: list[Float32] = []
        for chunk in chunks:
            block = _samples(chunk, self._format)
            if self._is_bypass:
                # The bytes as they are: encoding again would dither 16 bits a second time.
                self._meter.push(block)
                responses.append(self._response(fill(self._template(), chunk.data, chunk.first_frame)))
                continue
            ready += self._pass.push(block)
        return responses + self._encode(ready)

    def finish(self) -> Iterator[list[mixer_pb2.MasterResponse]]:
        responses = self._encode(list(self._pass.finish()))
        result = MasterResult(self._meter.result(), 0.0, ()) if self._is_bypass else self._pass.result()
        responses.append(
            mixer_pb2.MasterResponse(
                finished=mixer_pb2.MasterFinished(
                    loudness=messages.loudness_message(result.loudness),
                    max_gain_reduction_db=result.max_gain_reduction_db,
                    warnings=messages.warning_messages(result.warnings),
                )
            )
        )
        yield responses

    def close(self) -> None:
        """Do nothing: this pass has no files."""

    def _encode(self, ready: list[Float32]) -> list[mixer_pb2.MasterResponse]:
        if not ready:
            return []
        samples, first_frame = np.concatenate(ready), self._position
        self._position += len(samples)
        return [self._response(chunk) for chunk in messages.encode_chunks(samples, self._template(), first_frame)]

    def _template(self) -> audio_pb2.AudioChunk:
        return audio_pb2.AudioChunk(format=self._format, stage=audio_pb2.STAGE_MASTER)

    def _response(self, chunk: audio_pb2.AudioChunk) -> mixer_pb2.MasterResponse:
        for section in self._sections:
            if section.first_frame <= chunk.first_frame < section.first_frame + section.frames:
                chunk.section_id = section.section_id
        return mixer_pb2.MasterResponse(audio=chunk)


def _check_settings(settings: MasterSettings, channels: int) -> None:
    if channels != STEREO and (name := stereo_only(settings)):
        raise errors.OptionNotSupported(
            f"settings.{name}: needs stereo, the draft has {channels} channels",
            metadata={"option": name},
        )


def _sections(start: mixer_pb2.MasterStart) -> list[MasterSection]:
    """Decode the sections; checks that they are in order, without gaps, and within the piece."""
    if start.format.channels > MAX_CHANNELS:
        raise errors.InvalidField(
            f"start.format.channels: {start.format.channels}; loudness is defined for 1 to {MAX_CHANNELS} channels"
        )
    if start.frames > MAX_FRAMES:
        raise errors.InvalidField(f"start.frames: {start.frames}; the maximum is {MAX_FRAMES}")
    sections: list[MasterSection] = []
    expected = 0
    for index, item in enumerate(start.sections):
        if item.first_frame != expected or expected + item.frames > start.frames:
            raise errors.InvalidField(
                f"start.sections[{index}]: frames {item.first_frame} to {item.first_frame + item.frames}, expected "
                f"{expected} to at most {start.frames}; sections must not leave gaps or overlap"
            )
        expected += item.frames
        target = item.target_lufs if item.HasField("target_lufs") else None
        sections.append(MasterSection(item.section_id, item.first_frame, item.frames, target))
    return sections
