"""Files of the stems that the analyzer sends: as long as their source, and all or none."""

from __future__ import annotations

import contextlib
from types import MappingProxyType
from typing import TYPE_CHECKING, Self

from segue.composer.v1 import composition_pb2
from segue_audio.errors import AudioError
from segue_audio.files import AudioFileSettings
from segue_conductor.publish.audio_outputs import open_audio_outputs
from segue_conductor.publish.exports import FORMATS
from segue_conductor.publish.manifest import version
from segue_runtime import errors

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
    from types import TracebackType

    from segue.analyzer.v1.analyzer_pb2 import SeparateResponse, SeparateStarted, Separator
    from segue.audio.v1 import audio_pb2
    from segue_conductor.publish.audio_outputs import AudioOutputs, OpenAudioFile
    from segue_runtime.artifacts import ArtifactStore

BIT_DEPTHS = {True: 32, False: 24}
"""By whether the format has studio chunks: WAV is 32-bit float, FLAC 24 bits."""


class SeparatedStems:
    """The files of one separation."""

    def __init__(
        self,
        artifacts: ArtifactStore,
        folder: str,
        file_format: audio_pb2.FileFormat.ValueType,
        tags: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._folder = folder
        self._tags = tags
        self._format = FORMATS[file_format]
        self._opening = open_audio_outputs(artifacts)
        self._outputs: AudioOutputs
        self._files: dict[str, OpenAudioFile] = {}

    async def __aenter__(self) -> Self:
        self._outputs = await self._opening.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._opening.__aexit__(kind, error, trace)

    async def write(
        self,
        answers: AsyncGenerator[SeparateResponse],
        on_start: Callable[[SeparateStarted], Awaitable[None]],
        on_progress: Callable[[float], Awaitable[None]],
    ) -> list[composition_pb2.Output]:
        """Write the stems of one call to the analyzer, and let them appear."""
        frames = finished = 0
        async with contextlib.aclosing(answers):
            async for answer in answers:
                kind = answer.WhichOneof("message")
                if kind == "started":
                    frames = answer.started.frames
                    await self._open(answer.started)
                    await on_start(answer.started)
                elif kind == "audio":
                    await self._outputs.write(answer.audio.data, self._files[answer.audio.layer])
                    if frames:
                        await on_progress(min(1.0, (answer.audio.first_frame + answer.audio.frames) / frames))
                else:
                    finished = answer.finished.frames
        if not finished:
            raise errors.RoleLost("the analyzer ended without the last stems", metadata={"service": "analyzer"})
        return await self._outputs.finish()

    async def _open(self, started: SeparateStarted) -> None:
        for stem in started.separator.stems:
            try:
                settings = self._settings(started, stem)
            except AudioError as error:
                raise errors.OptionNotSupported(f"file_format: {error}", metadata={"option": "file_format"}) from None
            output = composition_pb2.Output(
                name=f"{self._folder}/stem-{stem}{self._format.suffix}",
                kind=composition_pb2.OUTPUT_KIND_STEM,
                media_type=self._format.media_type,
                sample_rate=settings.sample_rate,
                channels=settings.channels,
                bit_depth=settings.bit_depth,
                layer=stem,
            )
            self._files[stem] = await self._outputs.open(output, settings)

    def _settings(self, started: SeparateStarted, stem: str) -> AudioFileSettings:
        has_studio_chunks = self._format.value.has_studio_chunks
        return AudioFileSettings(
            file_format=self._format,
            channels=started.format.channels,
            sample_rate=started.format.sample_rate,
            bit_depth=BIT_DEPTHS[has_studio_chunks],
            tags={
                "TITLE": stem,
                "ENCODER": f"Segue {version('segue')}",
                **self._tags,
                "SEPARATOR": separator_text(started.separator),
            },
            # Workstations place the file at this frame.
            time_reference_frames=0 if has_studio_chunks else None,
        )


def separator_text(separator: Separator) -> str:
    """Return the name of a separator, with the digest of its weights if it has any."""
    return f"{separator.name} {separator.digest}".strip()
