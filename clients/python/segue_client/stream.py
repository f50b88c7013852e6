"""The stream of one composition for users: its events, its audio, its file."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from segue.audio.v1 import audio_pb2
from segue.composer.v1 import composition_pb2, stream_pb2
from segue_client.errors import DamagedAudio, from_status
from segue_client.events import Audio, Finished, Rewound, Update
from segue_client.file_formats import file_format_of
from segue_client.files import GrowingWav, refuse_existing
from segue_client.transport import transfers

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable
    from typing import Self

    import numpy as np
    from numpy.typing import NDArray

    from segue.composer.v1.composition_pb2 import Composition, Output
    from segue.composer.v1.spec_pb2 import CompositionSpec
    from segue_client.transport.connection import Connection
    from segue_client.transport.resumption import ResumingStream

SELECTIONS: Final = {
    audio_pb2.STAGE_DRAFT: stream_pb2.AUDIO_SELECTION_DRAFT,
    audio_pb2.STAGE_MASTER: stream_pb2.AUDIO_SELECTION_MASTER,
}


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive frames. A `first_frame` before the end of the last chunk replaces the audio from there."""

    first_frame: int
    sample_rate: int
    samples: NDArray[np.float32]
    """(frames, channels); full scale is 1.0."""


@dataclass
class StreamOptions:
    """The content of a stream. It can change until the first event is requested."""

    audio: stream_pb2.AudioSelection.ValueType
    encoding: audio_pb2.SampleFormat.ValueType
    spec: CompositionSpec | None = None
    """The composition to create; None for a watch."""


class Stream:
    """An async iterator over the events of a composition. It sends nothing before the first event is requested.

    Use a stream once: iterate over it, or call `result`, `save`, `save_live` or `chunks`.
    """

    def __init__(
        self,
        connection: Connection,
        options: StreamOptions,
        begin: Callable[[StreamOptions], ResumingStream],
        *,
        raises: bool,
    ) -> None:
        self._connection = connection
        self._options = options
        self._begin = begin
        self._raises = raises
        self._events: ResumingStream | None = None
        self._updates: AsyncGenerator[Update, None] | None = None
        self._failed: Composition | None = None

    @property
    def name(self) -> str:
        """The composition's name; empty until its first event."""
        return self._events.name if self._events else ""

    @property
    def cursor(self) -> str:
        """The cursor of the last event; keep it to continue in another process."""
        return self._events.cursor if self._events else ""

    @property
    def num_resumed(self) -> int:
        """The number of times that the stream was resumed."""
        return self._events.num_resumed if self._events else 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Update:
        if self._failed is not None:
            raise from_status(self._failed.error)
        if self._updates is None:
            self._events = self._begin(self._options)
            self._updates = self._events.updates()
        update = await anext(self._updates)
        if isinstance(update, Finished) and self._raises and _has_failed(update.result):
            # The event comes first; the next step raises the error.
            self._failed = update.result
        return update

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the stream. The composition continues, unless `cancel_when_gone` was set."""
        if self._updates is not None:
            await self._updates.aclose()

    async def result(self) -> Composition:
        """Wait for the end; raises the error of a failed composition."""
        self._options.audio = stream_pb2.AUDIO_SELECTION_NONE
        return await self._to_the_end()

    async def save(self, path: str | Path, *, replace: bool = False) -> Composition:
        """Wait for the end and write the finished music: complete and with the announced digest, or not at all.

        The name decides the format: .flac, .wav, .opus, .ogg or .mp3.
        """
        target = Path(path)
        file_format, media_type = file_format_of(target)
        refuse_existing(target, replace=replace)
        spec = self._options.spec
        wanted = [export.file_format or audio_pb2.FILE_FORMAT_FLAC for export in spec.exports] if spec else []
        if spec is not None and file_format not in wanted:
            spec.exports.add(file_format=file_format)
        composition = await self.result()
        try:
            await transfers.download(self._connection, _master_of(composition, media_type), target, replace=replace)
        except DamagedAudio:
            # The description of the file in the last event may be damaged: ask for it again.
            request = composition_pb2.GetCompositionRequest(name=composition.name)
            composition = (await self._connection.call(lambda stub: stub.GetComposition, request)).composition
            await transfers.download(self._connection, _master_of(composition, media_type), target, replace=replace)
        return composition

    async def save_live(
        self,
        path: str | Path,
        *,
        stage: audio_pb2.Stage.ValueType = audio_pb2.STAGE_DRAFT,
        replace: bool = False,
    ) -> Composition:
        """Write the audio to a WAV file while it is made; its name is PATH.part until it is complete."""
        target = Path(path)
        if target.suffix.lower() != ".wav":
            raise ValueError(f"{target}: live audio needs a .wav file; `save` writes the other formats")
        self._options.audio = SELECTIONS[stage]
        wav = GrowingWav(target, replace=replace)
        try:
            async for update in self:
                if isinstance(update, Audio) and update.stage == stage:
                    wav.append(update.body)
                elif isinstance(update, Rewound) and update.body.stage == stage:
                    wav.rewind(update.body.first_frame)
                elif isinstance(update, Finished):
                    _raise_if_failed(update.result)
                    wav.keep()
                    return update.result
            raise RuntimeError("the stream was already used")
        finally:
            wav.close()
            await self.aclose()

    async def chunks(self, stage: audio_pb2.Stage.ValueType = audio_pb2.STAGE_DRAFT) -> AsyncIterator[Chunk]:
        """Yield the audio as numpy arrays while it is made; raises the error of a failed composition."""
        self._options.audio = SELECTIONS[stage]
        async with contextlib.aclosing(self):
            async for update in self:
                if isinstance(update, Audio) and update.stage == stage:
                    yield Chunk(update.first_frame, update.body.format.sample_rate, update.samples)
                elif isinstance(update, Finished):
                    _raise_if_failed(update.result)

    async def _to_the_end(self) -> Composition:
        async with contextlib.aclosing(self):
            async for update in self:
                if isinstance(update, Finished):
                    _raise_if_failed(update.result)
                    return update.result
        raise RuntimeError("the stream was already used")


def _has_failed(composition: Composition) -> bool:
    return composition.state in {composition_pb2.STATE_FAILED, composition_pb2.STATE_CANCELLED}


def _raise_if_failed(composition: Composition) -> None:
    if _has_failed(composition):
        raise from_status(composition.error)


def _master_of(composition: Composition, media_type: str) -> Output:
    for output in composition.outputs:
        if output.kind == composition_pb2.OUTPUT_KIND_MASTER and output.media_type == media_type:
            return output
    available = ", ".join(output.media_type for output in composition.outputs) or "none"
    raise FileNotFoundError(f"{composition.name} has no {media_type} of its master; it has: {available}")
