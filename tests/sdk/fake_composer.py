"""A small ComposerService on a real port. Tests make it break, stall or send false messages."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import google_crc32c
import grpc
import grpc.aio
import numpy as np
from google.rpc import error_details_pb2, status_pb2

from segue.audio.v1 import audio_pb2
from segue.composer.v1 import composer_pb2_grpc, composition_pb2, files_pb2, spec_pb2, stream_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator
    from pathlib import Path

    Message: TypeAlias = stream_pb2.WatchCompositionResponse
    Tampering: TypeAlias = Callable[[int, list[Message]], Iterable["Message | Break"]]

NAME = "compositions/0123456789abcdef"
RATE = 8000
CHANNELS = 2
FRAME_BYTES = 8
CHUNK = 100
DETAILS_KEY = "grpc-status-details-bin"


@dataclass(frozen=True)
class Break:
    """Ends a call with an error, or leaves it silent."""

    code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE
    reason: str = ""
    silent: bool = False
    retry_after_s: float = 0.0


class QuickClock:
    """Real time without waiting: a sleep only advances the clock."""

    def __init__(self) -> None:
        self._skipped_s = 0.0

    def now(self) -> float:
        return time.monotonic() + self._skipped_s

    async def sleep(self, seconds: float) -> None:
        self._skipped_s += seconds
        await asyncio.sleep(0)


@dataclass
class Piece:
    """A composition as a list of messages."""

    num_chunks: int = 6
    rewinds: bool = False
    state: composition_pb2.State.ValueType = composition_pb2.STATE_SUCCEEDED
    flac: bytes = bytes(range(256)) * 1000
    messages: list[Message] = field(default_factory=list)

    def __post_init__(self) -> None:
        noise = np.random.default_rng(7).standard_normal((3, self.frames, CHANNELS)).astype("<f4") / 10
        self.first_try, self.draft, self.master = noise
        self._build()

    @property
    def frames(self) -> int:
        return self.num_chunks * CHUNK

    @property
    def output(self) -> composition_pb2.Output:
        return composition_pb2.Output(
            name=f"{NAME}/outputs/master.flac", kind=composition_pb2.OUTPUT_KIND_MASTER, media_type="audio/flac",
            size_bytes=len(self.flac), sha256=hashlib.sha256(self.flac).hexdigest(),
        )  # fmt: skip

    @property
    def ended(self) -> composition_pb2.Composition:
        ended = composition_pb2.Composition(name=NAME, state=self.state, outputs=[self.output])
        ended.plan.frames = self.frames
        if self.state == composition_pb2.STATE_FAILED:
            ended.error.CopyFrom(status_of(Break(grpc.StatusCode.DATA_LOSS, "RENDER_INVALID")))
        return ended

    def _build(self) -> None:
        self._add("accepted", stream_pb2.Accepted(composition=composition_pb2.Composition(name=NAME)))
        self._add("started", stream_pb2.Started(claims=1))
        planned = stream_pb2.Planned()
        planned.plan.frames = self.frames
        self._add("planned", planned)
        self._add("section_progress", stream_pb2.SectionProgress(section_id="a", fraction_done=0.5))
        if self.rewinds:
            half = self.num_chunks // 2 + 1
            self._add_audio(audio_pb2.STAGE_DRAFT, self.first_try, 0, half)
            back = stream_pb2.DraftRewound(first_frame=CHUNK, section_id="a", attempt=2, stage=audio_pb2.STAGE_DRAFT)
            self._add("draft_rewound", back)
            self.draft[:CHUNK] = self.first_try[:CHUNK]
            self._add_audio(audio_pb2.STAGE_DRAFT, self.draft, 1, self.num_chunks)
        else:
            self._add_audio(audio_pb2.STAGE_DRAFT, self.draft, 0, self.num_chunks)
        self._add("draft_finished", stream_pb2.DraftFinished())
        self._add_audio(audio_pb2.STAGE_MASTER, self.master, 0, self.num_chunks)
        self._add("output_ready", self.output)
        self._add("finished", stream_pb2.Finished(composition=self.ended))

    def _add(self, kind: str, body: Any) -> None:
        number = len(self.messages) + 1
        event = stream_pb2.CompositionEvent(composition=NAME, sequence=number, **{kind: body})
        self.messages.append(stream_pb2.WatchCompositionResponse(cursor=f"c{number}", event=event))

    def _add_audio(self, stage: audio_pb2.Stage.ValueType, sound: np.ndarray[Any, Any], first: int, end: int) -> None:
        for index in range(first, end):
            self._add("audio", chunk_of(sound[index * CHUNK : (index + 1) * CHUNK], index * CHUNK, stage))

    def after(self, cursor: str, audio: int) -> list[Message]:
        """Return the messages for a watcher with this cursor and selection."""
        stages = {1: set[int](), 2: {2}, 3: {3}, 4: {2, 3}}[audio or 2]
        rest = self.messages[int(cursor[1:]) if cursor else 0 :]
        found = []
        for message in rest:
            if message.event.WhichOneof("event") == "audio" and message.event.audio.stage not in stages:
                continue
            copy = stream_pb2.WatchCompositionResponse()
            copy.CopyFrom(message)
            found.append(copy)
        return found


def chunk_of(sound: np.ndarray[Any, Any], first_frame: int, stage: audio_pb2.Stage.ValueType) -> audio_pb2.AudioChunk:
    content = sound.astype("<f4").tobytes()
    return audio_pb2.AudioChunk(
        format=audio_pb2.AudioFormat(
            sample_rate=RATE, channels=CHANNELS, sample_format=audio_pb2.SAMPLE_FORMAT_F32LE
        ),
        stage=stage, section_id="a", first_frame=first_frame, frames=len(sound), data=content,
        crc32c=google_crc32c.value(content),
    )  # fmt: skip


def status_of(broken: Break) -> status_pb2.Status:
    status = status_pb2.Status(code=broken.code.value[0], message=broken.reason or "broken")
    if broken.reason:
        info = error_details_pb2.ErrorInfo(reason=broken.reason, domain="segue.dev")
        status.details.add().Pack(info)
    if broken.retry_after_s:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(round(broken.retry_after_s * 1e9))
        status.details.add().Pack(retry)
    return status


# The typed servicer is abstract; missing methods answer UNIMPLEMENTED, as in the real base class.
Base: Any = composer_pb2_grpc.ComposerServiceServicer


class FakeComposer(Base):  # type: ignore[misc]  # see above
    """Serves one piece. `tamper` changes the messages of the n-th stream."""

    def __init__(self, piece: Piece, tamper: Tampering | None = None) -> None:
        self.piece = piece
        self.tamper = tamper or (lambda _n, messages: messages)
        self.num_streams = 0
        self.num_downloads = 0
        self.num_deletes = 0
        self.cursors: list[str] = []
        self.specs: list[spec_pb2.CompositionSpec] = []
        self.request_ids: set[str] = set()
        self.break_downloads: set[int] = set()
        self.got = piece.ended

    async def Compose(self, request: stream_pb2.ComposeRequest, context: Any) -> AsyncIterator[Message]:  # noqa: N802 - the contract's name
        self.specs.append(request.spec)
        self.request_ids.add(request.request_id)
        async for message in self._stream("", request.audio, context):
            yield message

    async def WatchComposition(  # noqa: N802 - the contract's name
        self, request: stream_pb2.WatchCompositionRequest, context: Any
    ) -> AsyncIterator[Message]:
        async for message in self._stream(request.cursor, request.audio, context):
            yield message

    async def _stream(self, cursor: str, audio: int, context: Any) -> AsyncIterator[Message]:
        self.num_streams += 1
        self.cursors.append(cursor)
        known = not cursor or (cursor[1:].isdigit() and int(cursor[1:]) <= len(self.piece.messages))
        if not known:
            await fail(context, Break(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_CURSOR"))
        for message in self.tamper(self.num_streams, self.piece.after(cursor, audio)):
            if isinstance(message, Break):
                await fail(context, message)
                return
            yield message

    async def GetComposition(self, _request: Any, _context: Any) -> composition_pb2.GetCompositionResponse:  # noqa: N802 - the contract's name
        return composition_pb2.GetCompositionResponse(composition=self.got)

    async def DeleteComposition(self, _request: Any, context: Any) -> composition_pb2.DeleteCompositionResponse:  # noqa: N802 - the contract's name
        """Delete it at the first call, and lose the answer."""
        self.num_deletes += 1
        await fail(
            context, Break() if self.num_deletes == 1 else Break(grpc.StatusCode.NOT_FOUND, "COMPOSITION_NOT_FOUND")
        )
        return composition_pb2.DeleteCompositionResponse()

    async def DownloadArtifact(  # noqa: N802 - the contract's name
        self, request: files_pb2.DownloadArtifactRequest, context: Any
    ) -> AsyncIterator[files_pb2.DownloadArtifactResponse]:
        self.num_downloads += 1
        yield files_pb2.DownloadArtifactResponse(output=self.piece.output, offset=request.read_offset)
        for offset in range(request.read_offset, len(self.piece.flac), 65536):
            if offset in self.break_downloads:
                self.break_downloads.discard(offset)
                await fail(context, Break())
            content = self.piece.flac[offset : offset + 65536]
            yield files_pb2.DownloadArtifactResponse(offset=offset, data=content, crc32c=google_crc32c.value(content))


async def fail(context: Any, broken: Break) -> None:
    if broken.silent:
        await asyncio.Event().wait()
    if broken.reason:
        context.set_trailing_metadata(((DETAILS_KEY, status_of(broken).SerializeToString()),))
    await context.abort(broken.code, broken.reason or "broken")


@contextlib.asynccontextmanager
async def serving(fake: FakeComposer) -> AsyncIterator[str]:
    """Serve on a port of this machine."""
    server = grpc.aio.server(options=[("grpc.max_send_message_length", -1)])
    composer_pb2_grpc.add_ComposerServiceServicer_to_server(fake, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


def changed(message: Message, **fields: Any) -> Message:
    """Return a copy with other fields; "audio.frames" is written audio__frames."""
    copy = stream_pb2.WatchCompositionResponse()
    copy.CopyFrom(message)
    for path, value in fields.items():
        target: Any = copy
        *parents, last = path.split("__")
        for parent in parents:
            target = getattr(target, parent)
        setattr(target, last, value)
    return copy


def is_audio(message: Message) -> bool:
    return message.event.WhichOneof("event") == "audio"


def endless(message: Message) -> Iterator[Message]:
    """Return heartbeats without news."""
    while True:
        beat = stream_pb2.WatchCompositionResponse(cursor=message.cursor)
        beat.event.composition, beat.event.sequence = NAME, message.event.sequence
        beat.event.checkpoint.state = composition_pb2.STATE_RENDERING
        yield beat


def files_in(folder: Path) -> list[str]:
    """Return the names of the files in a folder."""
    return sorted(path.name for path in folder.iterdir())


def size_of(path: Path) -> int:
    """Return the size of a file; 0 when it does not exist."""
    return path.stat().st_size if path.exists() else 0
