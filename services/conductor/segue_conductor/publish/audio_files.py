"""Sound files of one composition that are encoded side by side, and appear whole or not at all."""

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
"""How much sound is handed to the encoders at once."""


@dataclass
class OpenFile:
    """A sound file that is being written."""

    output: composition_pb2.Output
    writer: AudioFileWriter
    path: Path
    buffer: bytearray = field(default_factory=bytearray)


class SoundFiles:
    """Sound files of one composition that are written side by side, and appear whole or not at all."""

    def __init__(self, artifacts: ArtifactStore, stack: AsyncExitStack) -> None:
        self._artifacts = artifacts
        self._stack = stack
        self._files: list[OpenFile] = []

    @classmethod
    @asynccontextmanager
    async def opened(cls, artifacts: ArtifactStore) -> AsyncIterator[SoundFiles]:
        """Discard the files that are not finished when the block ends."""
        async with AsyncExitStack() as stack:
            files = cls(artifacts, stack)
            try:
                yield files
            finally:
                for file in files._files:
                    file.writer.discard()

    async def open(self, output: composition_pb2.Output, settings: AudioFileSettings) -> OpenFile:
        """Begin a file."""
        path = await self._stack.enter_async_context(self._artifacts.local_output(output.name, replace=True))
        writer = await asyncio.to_thread(AudioFileWriter, path, settings)
        file = OpenFile(output, writer, path)
        self._files.append(file)
        return file

    @staticmethod
    async def write(audio: bytes, file: OpenFile) -> None:
        """Append F32LE sound to one file."""
        file.buffer += audio
        if len(file.buffer) >= WRITE_BYTES:
            await _flush(file)

    async def finish(
        self, tags_of: Callable[[FileFormat], Mapping[str, str]] | None = None
    ) -> list[composition_pb2.Output]:
        """Close all files, with what is known of them only now in their tags, and let them appear."""
        for file in self._files:
            await _flush(file)
            if tags_of is not None:
                file.writer.set_tags(tags_of(file.writer.settings.file_format))
            await asyncio.to_thread(_close, file)
        await self._stack.aclose()
        outputs = [file.output for file in self._files]
        self._files.clear()
        return outputs


async def _flush(file: OpenFile) -> None:
    if file.buffer:
        block = np.frombuffer(bytes(file.buffer), np.float32).reshape(-1, file.writer.settings.channels)
        file.buffer.clear()
        await asyncio.to_thread(file.writer.write, block)


def _close(file: OpenFile) -> None:
    file.writer.close()
    settings = file.writer.settings
    file.output.frames = round(file.writer.frames_written * settings.rate_in_file / settings.sample_rate)
    digest = hashlib.sha256()
    with file.path.open("rb") as content:
        while block := content.read(1 << 20):
            digest.update(block)
        file.output.size_bytes = content.tell()
    file.output.sha256 = digest.hexdigest()
