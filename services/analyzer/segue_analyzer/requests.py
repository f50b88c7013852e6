"""Messages of one call: checks order, format, length and checksum, and returns audio or file bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, overload

import numpy as np

from segue_audio.decoder.child_process import MAX_SAMPLES, MAX_SECONDS
from segue_audio.decoder.decoded_file import check_magic
from segue_audio.errors import AudioError
from segue_runtime import errors
from segue_runtime.rpc.chunks import samples_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import IO

    from segue.analyzer.v1 import analyzer_pb2
    from segue.audio.v1 import audio_pb2
    from segue_audio.arrays import Float32

    Requests = AsyncIterator[analyzer_pb2.AnalyzeRequest] | AsyncIterator[analyzer_pb2.SeparateRequest]
    """The messages of both calls are alike: start, then audio or file."""

MAX_FILE_BYTES: Final = 1 << 30
_MAGIC_BYTES: Final = 12
_GATHERED_FRAMES: Final = 32_768
"""Chunks are gathered to this size, so that a call of a thread pays off."""


@overload
async def read_start(requests: AsyncIterator[analyzer_pb2.AnalyzeRequest]) -> analyzer_pb2.AnalyzeStart: ...
@overload
async def read_start(requests: AsyncIterator[analyzer_pb2.SeparateRequest]) -> analyzer_pb2.SeparateStart: ...
async def read_start(requests: Requests) -> analyzer_pb2.AnalyzeStart | analyzer_pb2.SeparateStart:
    """Read the first message."""
    async for request in requests:
        kind = request.WhichOneof("message")
        if kind != "start":
            raise errors.OutOfOrder(f"{kind} arrived before start", metadata={"position": "start"})
        return request.start
    raise errors.OutOfOrder("the stream ended before start", metadata={"position": "start"})


class PcmReader:
    """Decodes PCM chunks to blocks of float32."""

    def __init__(self, sound_format: audio_pb2.AudioFormat) -> None:
        self._format = sound_format
        self._most_frames = min(int(MAX_SECONDS * sound_format.sample_rate), MAX_SAMPLES // sound_format.channels)
        self._position = 0

    async def blocks(self, requests: Requests) -> AsyncIterator[Float32]:
        """Yield the audio, some tenths of a second at a time."""
        waiting: list[Float32] = []
        gathered = 0
        async for request in requests:
            kind = request.WhichOneof("message")
            if kind != "audio":
                raise errors.OutOfOrder(f"{kind} arrived, expected audio", metadata={"position": str(self._position)})
            block = self._decode(request.audio)
            if not len(block):
                continue  # empty blocks would pile up without limit
            waiting.append(block)
            gathered += len(block)
            if gathered >= _GATHERED_FRAMES:
                yield np.concatenate(waiting)
                waiting, gathered = [], 0
        if gathered:
            yield np.concatenate(waiting)
        if self._position == 0:
            raise errors.InvalidAudio("the stream ended before any audio arrived: there is nothing to measure")

    def _decode(self, chunk: audio_pb2.AudioChunk) -> Float32:
        if chunk.first_frame != self._position:
            raise errors.OutOfOrder(
                f"frame {chunk.first_frame} arrived, expected frame {self._position}",
                metadata={"position": str(self._position)},
            )
        samples = samples_of(chunk, self._format, "audio")
        self._position += chunk.frames
        if self._position > self._most_frames:
            raise errors.InvalidAudio(f"the audio is too long: the limit is {self._most_frames} frames of this format")
        return samples


async def receive_file(requests: Requests, target: IO[bytes]) -> None:
    """Write the bytes of an encoded file to `target`; files that are not audio are refused at their first bytes."""
    head = b""
    size = 0
    async for request in requests:
        kind = request.WhichOneof("message")
        if kind != "file":
            raise errors.OutOfOrder(f"{kind} arrived, expected file", metadata={"position": str(size)})
        piece = request.file
        if piece.offset != size:
            raise errors.OutOfOrder(
                f"byte {piece.offset} of the file arrived, expected byte {size}", metadata={"position": str(size)}
            )
        size += len(piece.data)
        if size > MAX_FILE_BYTES:
            raise errors.InvalidAudio(f"the file is larger than {MAX_FILE_BYTES >> 20} MiB")
        if len(head) < _MAGIC_BYTES:
            head += piece.data[:_MAGIC_BYTES]
            if len(head) >= _MAGIC_BYTES:
                _check(head)
        target.write(piece.data)
    if len(head) < _MAGIC_BYTES:
        raise errors.InvalidAudio(f"a file of {size} bytes holds no audio")
    target.flush()


def _check(head: bytes) -> None:
    try:
        check_magic(head)
    except AudioError as error:
        raise errors.InvalidAudio(str(error)) from None
