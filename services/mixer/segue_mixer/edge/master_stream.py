"""The stream of Master: decode, call a pass, encode; the order and number of frames are checked here."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import numpy as np

from segue.audio.v1 import audio_pb2
from segue.mixer.v1 import mixer_pb2
from segue_audio.loudness import LoudnessMeter
from segue_mixer.edge import messages
from segue_mixer.edge.messages import MAX_CHANNELS
from segue_mixer.master.passes import Finished, MeasurePass, RenderPass
from segue_mixer.master.presets import STEREO, Preset, complete, stereo_only
from segue_mixer.master.section_gains import MasterSection
from segue_mixer.mix.sections import MixError, check_sound
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
"""Frames that go to a thread at once: a hop for every chunk would cost more than its work."""
BATCH_CHUNKS: Final = 256
TURN_BLOCKS: Final = 16


async def master(requests: AsyncIterator[mixer_pb2.MasterRequest]) -> AsyncGenerator[mixer_pb2.MasterResponse, None]:
    """Answer one Master call."""
    stream = requests.__aiter__()
    first = await anext(stream, None)
    if first is None or first.WhichOneof("message") != "start":
        raise errors.OutOfOrder("the stream does not begin with start", metadata={"position": "start"})
    session: _Measuring | _Rendering | None = None
    try:
        session = _session(first.start)
        progress = _Progress()
        async for batch in _batches(stream, first.start):
            for response in await asyncio.to_thread(session.push, batch):
                yield response
            if progress.is_due():
                done = batch[-1].first_frame + batch[-1].frames if batch else first.start.frames
                yield mixer_pb2.MasterResponse(progress=mixer_pb2.MasterProgress(frames_done=done))
        ending = session.finish()
        while (responses := await asyncio.to_thread(next, ending, None)) is not None:
            for response in responses:
                yield response
            if progress.is_due():
                done = first.start.frames
                yield mixer_pb2.MasterResponse(progress=mixer_pb2.MasterProgress(frames_done=done))
    except OSError as error:
        raise errors.StorageFull(
            "the mixer's temporary folder cannot take the piece: it is full or read-only"
        ) from error
    finally:
        if session is not None:
            session.close()


async def _batches(
    stream: AsyncIterator[mixer_pb2.MasterRequest], start: mixer_pb2.MasterStart
) -> AsyncIterator[list[audio_pb2.AudioChunk]]:
    """Gather chunks, in their order and no more than announced; all of them must come."""
    batch: list[audio_pb2.AudioChunk] = []
    received = processed = 0
    async for request in stream:
        if request.WhichOneof("message") != "audio":
            raise errors.OutOfOrder("start comes once", metadata={"position": str(received)})
        _check_place(request.audio, received, start)
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


class _Progress:
    """When to say how far it is: at most twice a second."""

    def __init__(self) -> None:
        self._told = time.monotonic()

    def is_due(self) -> bool:
        if time.monotonic() - self._told < PROGRESS_S:
            return False
        self._told = time.monotonic()
        return True


def warm() -> None:
    """Run both passes once over a second of nothing: scipy and the interpolation tables are loaded with it."""
    settings = complete(Preset.STREAMING, {}, STEREO)
    second = np.full((48_000, 2), 0.01, np.float32)
    measuring = MeasurePass(settings, (), 48_000, 2)
    measuring.push(second)
    for _ in measuring.again():
        pass
    rendering = RenderPass(measuring.measurement(), (), 48_000, 2)
    measuring.close()
    for _ in (*rendering.push(second), *rendering.finish()):
        pass


def _session(start: mixer_pb2.MasterStart) -> _Measuring | _Rendering:
    sections = _sections(start)
    # The field's name is a word of Python.
    measures = getattr(start, "pass") == mixer_pb2.MASTER_PASS_MEASURE
    return _Measuring(start, sections) if measures else _Rendering(start, sections)


def _check_place(chunk: audio_pb2.AudioChunk, due: int, start: mixer_pb2.MasterStart) -> None:
    if chunk.first_frame != due:
        raise errors.OutOfOrder(
            f"frame {chunk.first_frame} came where {due} was due", metadata={"position": str(due), "frame": str(due)}
        )
    if due + chunk.frames > start.frames:
        raise errors.InvalidAudio(
            f"frame {start.frames} came, and start announced {start.frames} frames", metadata={"frame": str(due)}
        )
    if chunk.layer:
        raise errors.InvalidAudio(
            f"layer {chunk.layer!r} came; the master is made of the mix", metadata={"frame": str(due)}
        )


def _sound(chunk: audio_pb2.AudioChunk, sound: audio_pb2.AudioFormat) -> Float32:
    block = chunks.samples_of(chunk, sound, "the draft")
    try:
        check_sound(block, chunk.first_frame, "the draft", chunk.section_id)
    except MixError as error:
        raise messages.mix_error(error, errors.InvalidAudio) from error
    return block


class _Measuring:
    """Pass MEASURE."""

    def __init__(self, start: mixer_pb2.MasterStart, sections: list[MasterSection]) -> None:
        if start.HasField("measurement"):
            raise errors.InvalidField("start.measurement: pass MEASURE makes it; leave it out")
        self._format = start.format
        settings = messages.settings_from(start.settings, start.format.channels)
        _check_settings(settings, start.format.channels)
        self._pass = MeasurePass(settings, sections, start.format.sample_rate, start.format.channels)

    def push(self, chunks: list[audio_pb2.AudioChunk]) -> list[mixer_pb2.MasterResponse]:
        for chunk in chunks:
            self._pass.push(_sound(chunk, self._format))
        return []

    def finish(self) -> Iterator[list[mixer_pb2.MasterResponse]]:
        # In pieces: each is a turn in a thread, between which the call can be cancelled.
        for num_blocks, _ in enumerate(self._pass.again()):
            if num_blocks % TURN_BLOCKS == 0:
                yield []
        yield [mixer_pb2.MasterResponse(measured=messages.measurement_message(self._pass.measurement()))]

    def close(self) -> None:
        self._pass.close()


class _Rendering:
    """Pass RENDER."""

    def __init__(self, start: mixer_pb2.MasterStart, sections: list[MasterSection]) -> None:
        if not start.HasField("measurement"):
            raise errors.InvalidField("start.measurement: pass RENDER needs what pass MEASURE gave")
        if start.HasField("settings"):
            raise errors.InvalidField(
                "start.settings: in pass RENDER they are those of the measurement; leave them out"
            )
        self._format = start.format
        self._sections = sections
        measurement = messages.measurement_from(start.measurement, sections, start.format.channels)
        _check_settings(measurement.settings, start.format.channels)
        self._position = 0
        self._passes_through = measurement.settings.is_nothing
        self._meter = LoudnessMeter(start.format.sample_rate, start.format.channels)
        self._pass = RenderPass(measurement, sections, start.format.sample_rate, start.format.channels)

    def push(self, chunks: list[audio_pb2.AudioChunk]) -> list[mixer_pb2.MasterResponse]:
        made: list[mixer_pb2.MasterResponse] = []
        for chunk in chunks:
            block = _sound(chunk, self._format)
            if self._passes_through:
                # The bytes themselves: decoding and encoding would dither 16 bits a second time.
                self._meter.push(block)
                made.append(self._response(fill(self._template(), chunk.data, chunk.first_frame)))
                continue
            for ready in self._pass.push(block):
                made += self._encode(ready)
        return made

    def finish(self) -> Iterator[list[mixer_pb2.MasterResponse]]:
        made = [response for ready in self._pass.finish() for response in self._encode(ready)]
        finished = Finished(self._meter.result(), 0.0, ()) if self._passes_through else self._pass.finished()
        made.append(
            mixer_pb2.MasterResponse(
                finished=mixer_pb2.MasterFinished(
                    loudness=messages.loudness_message(finished.loudness),
                    max_gain_reduction_db=finished.max_gain_reduction_db,
                    warnings=messages.warning_messages(finished.warnings),
                )
            )
        )
        yield made

    def close(self) -> None:
        """Nothing is held."""

    def _encode(self, ready: Float32) -> Iterator[mixer_pb2.MasterResponse]:
        for chunk in messages.encode_chunks(ready, self._template(), self._position):
            yield self._response(chunk)
        self._position += len(ready)

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
            f"settings.{name}: only stereo has sides, this has {channels} channels; leave it out",
            metadata={"option": name},
        )


def _sections(start: mixer_pb2.MasterStart) -> list[MasterSection]:
    """Read the sections; they stand in order, without a gap, and within the piece."""
    if start.format.channels > MAX_CHANNELS:
        raise errors.InvalidField(
            f"start.format.channels: {start.format.channels}; loudness is defined for 1 to {MAX_CHANNELS}"
        )
    if start.frames > MAX_FRAMES:
        raise errors.InvalidField(f"start.frames: {start.frames}; {MAX_FRAMES} is the most")
    sections: list[MasterSection] = []
    due = 0
    for index, item in enumerate(start.sections):
        if item.first_frame != due or due + item.frames > start.frames:
            raise errors.InvalidField(
                f"start.sections[{index}]: frames {item.first_frame} to {item.first_frame + item.frames} where {due} "
                f"to at most {start.frames} is due: in order, no gap, no overlap"
            )
        due += item.frames
        target = item.target_lufs if item.HasField("target_lufs") else None
        sections.append(MasterSection(item.section_id, item.first_frame, item.frames, target))
    return sections
