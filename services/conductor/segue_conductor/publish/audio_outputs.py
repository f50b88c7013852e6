"""Audio files of one composition that are encoded side by side, and appear whole or not at all."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_audio.files import AudioFileSettings, AudioFileWriter, FileFormat

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

    from segue.composer.v1 import composition_pb2
    from segue_runtime.artifacts import ArtifactStore

WRITE_BYTES: Final = 384_000
"""The encoders receive this much audio at once."""
READ_BYTES: Final = 1 << 20


@dataclass
class OpenAudioFile:
    """An audio file that is being encoded."""

    output: composition_pb2.Output
    writer: AudioFileWriter
    path: Path
    buffer: bytearray = field(default_factory=bytearray)


class AudioOutputs:
    """The open audio files of one composition. Encoders need to seek, so each file is local until it is finished."""

    def __init__(self, artifacts: ArtifactStore, stack: AsyncExitStack) -> None:
        self._artifacts = artifacts
        self._stack = stack
        self._files: list[OpenAudioFile] = []

    async def open(self, output: composition_pb2.Output, settings: AudioFileSettings) -> OpenAudioFile:
        """Begin a file."""
        path = await self._stack.enter_async_context(self._artifacts.local_output(output.name, replace=True))
        writer = await asyncio.to_thread(AudioFileWriter, path, settings)
        file = OpenAudioFile(output, writer, path)
        self._files.append(file)
        return file

    @staticmethod
    async def write(audio: bytes, file: OpenAudioFile) -> None:
        """Append F32LE audio to one file."""
        file.buffer += audio
        if len(file.buffer) >= WRITE_BYTES:
            await _encode(file)

    async def finish(
        self, tags_of: Callable[[FileFormat], Mapping[str, str]] | None = None
    ) -> list[composition_pb2.Output]:
        """Add the tags that are known only at the end, close all files, and let them appear."""
        for file in self._files:
            await _encode(file)
            if tags_of is not None:
                file.writer.set_tags(tags_of(file.writer.settings.file_format))
            await asyncio.to_thread(_close, file)
        await self._stack.aclose()
        outputs = [file.output for file in self._files]
        self._files.clear()
        return outputs

    def discard(self) -> None:
        """Stop encoding the files that are not finished."""
        for file in self._files:
            file.writer.discard()


@asynccontextmanager
async def open_audio_outputs(artifacts: ArtifactStore) -> AsyncIterator[AudioOutputs]:
    """Give a set of audio files; those that are not finished when the block ends are discarded."""
    async with AsyncExitStack() as stack:
        outputs = AudioOutputs(artifacts, stack)
        try:
            yield outputs
        finally:
            outputs.discard()


async def _encode(file: OpenAudioFile) -> None:
    if file.buffer:
        block = np.frombuffer(bytes(file.buffer), np.float32).reshape(-1, file.writer.settings.channels)
        file.buffer.clear()
        await asyncio.to_thread(file.writer.write, block)


def _close(file: OpenAudioFile) -> None:
    file.writer.close()
    settings = file.writer.settings
    file.output.frames = round(file.writer.frames_written * settings.rate_in_file / settings.sample_rate)
    digest = hashlib.sha256()
    with file.path.open("rb") as content:
        while block := content.read(READ_BYTES):
            digest.update(block)
        file.output.size_bytes = content.tell()
    file.output.sha256 = digest.hexdigest()
