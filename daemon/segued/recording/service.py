"""A ComposerService that replays a recording with its timing."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from segue.composer.v1 import composer_pb2, composer_pb2_grpc, composition_pb2, files_pb2, stream_pb2
from segue_audio.pcm import SampleFormat, decode_pcm, encode_pcm
from segue_gateway.watch.watch import STAGES
from segue_runtime import errors
from segue_runtime.rpc.chunks import SAMPLE_FORMATS, crc32c

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import grpc.aio

    from segue.audio.v1 import audio_pb2
    from segue.composer.v1.composition_pb2 import Composition
    from segued.recording.format import RecordedEvent, Recording

    Context = grpc.aio.ServicerContext[Any, Any]
    Request = stream_pb2.ComposeRequest | stream_pb2.WatchCompositionRequest

SERVICE: Final = "segue.composer.v1.ComposerService"
HEARTBEAT_S: Final = 10.0
STATES: Final = {
    "started": composition_pb2.STATE_PLANNING,
    "planned": composition_pb2.STATE_RENDERING,
    "draft_finished": composition_pb2.STATE_MASTERING,
}
ANSWERED: Final = (
    "Compose", "CreateComposition", "GetComposition", "ListCompositions", "WatchComposition", "DownloadArtifact",
)  # fmt: skip


@dataclass
class Playback:
    """One run through the recording."""

    speed: float
    request_id: str
    began: float

    def left_s(self, recorded: RecordedEvent) -> float:
        """Return the time until an event; 0 after it."""
        return max(0.0, self.began + recorded.at_s / self.speed - time.monotonic())


# The typed servicer is abstract; the methods that a replay does not answer are added below.
ServicerBase: Any = composer_pb2_grpc.ComposerServiceServicer


class ReplayService(ServicerBase):  # type: ignore[misc]  # see above
    """Replays a recording to every caller. Compose or CreateComposition with a new request_id starts it again."""

    def __init__(self, recording: Recording, speed: float) -> None:
        self._recording = recording
        self._speed = speed
        self._playing: Playback | None = None
        self._after = {recorded.cursor: index + 1 for index, recorded in enumerate(recording.events)}

    async def Compose(self, request: stream_pb2.ComposeRequest, context: Context) -> None:
        """Replay the composition from its first event; the request does not matter."""
        playing = self._begin(request.request_id)
        await self._play(context, playing, 0, request, stream_pb2.ComposeResponse)
        ended = self._recording.event(self._recording.events[-1]).event.finished.composition
        if ended.state in {composition_pb2.STATE_FAILED, composition_pb2.STATE_CANCELLED}:
            raise errors.from_status(ended.error)

    async def WatchComposition(self, request: stream_pb2.WatchCompositionRequest, context: Context) -> None:
        """Continue after a cursor."""
        self._check_name(request.name)
        start = self._after.get(request.cursor) if request.cursor else 0
        if start is None:
            raise errors.InvalidCursor("cursor: it is not in this recording")
        await self._play(context, self._now(), start, request, stream_pb2.WatchCompositionResponse)

    async def CreateComposition(
        self, request: composition_pb2.CreateCompositionRequest, _context: Context
    ) -> composition_pb2.CreateCompositionResponse:
        """Start the replay."""
        self._begin(request.request_id)
        return composition_pb2.CreateCompositionResponse(composition=self._current())

    async def GetComposition(
        self, request: composition_pb2.GetCompositionRequest, _context: Context
    ) -> composition_pb2.GetCompositionResponse:
        """Return the composition as of this moment of the replay."""
        self._check_name(request.name)
        return composition_pb2.GetCompositionResponse(composition=self._current())

    async def ListCompositions(
        self, _request: composition_pb2.ListCompositionsRequest, _context: Context
    ) -> composition_pb2.ListCompositionsResponse:
        """Return the recorded composition."""
        composition = self._current()
        for name in ("plan", "sections", "joins", "report"):
            composition.ClearField(name)
        return composition_pb2.ListCompositionsResponse(compositions=[composition])

    async def DownloadArtifact(
        self, request: files_pb2.DownloadArtifactRequest, _context: Context
    ) -> AsyncIterator[files_pb2.DownloadArtifactResponse]:
        """Send a recorded file."""
        file = self._recording.files.get(request.name)
        if file is None:
            raise errors.ArtifactNotFound(
                f"there is no {request.name} in this recording", metadata={"name": request.name}
            )
        if request.read_offset > file.size:
            raise errors.OffsetOutOfRange(
                f"read_offset: {request.name} has {file.size} bytes", metadata={"size": str(file.size)}
            )
        yield files_pb2.DownloadArtifactResponse(output=file.output, offset=request.read_offset)
        end = min(file.size, request.read_offset + (request.read_limit or file.size))
        starts = [place[0] for place in file.pieces]
        first_piece = max(0, bisect_right(starts, request.read_offset) - 1)
        for place in file.pieces[first_piece : bisect_left(starts, end)]:
            piece = await asyncio.to_thread(self._recording.piece, place)
            first, last = max(request.read_offset, piece.offset), min(end, piece.offset + len(piece.data))
            if first < last:
                yield _part(piece, first, last)

    def _begin(self, request_id: str) -> Playback:
        if self._playing is None or not request_id or self._playing.request_id != request_id:
            self._playing = Playback(self._speed, request_id, time.monotonic())
        return self._playing

    def _now(self) -> Playback:
        return self._playing or self._begin("")

    def _check_name(self, name: str) -> None:
        if name != self._recording.name:
            raise errors.CompositionNotFound(
                f"there is no {name}; this is a replay of {self._recording.name}", metadata={"name": name}
            )

    def _current(self) -> Composition:
        playing = self._now()
        events = (
            self._recording.event(recorded).event
            for recorded in self._recording.events
            if recorded.kind in {"accepted", "finished", *STATES} and not playing.left_s(recorded)
        )
        composition = composition_pb2.Composition()
        for event in events:
            kind = event.WhichOneof("event") or ""
            if kind in {"accepted", "finished"}:
                composition.CopyFrom(getattr(event, kind).composition)
            else:
                composition.state = STATES[kind]
                if kind == "planned":
                    composition.plan.CopyFrom(event.planned.plan)
                    composition.plan_version = event.plan_version
        return composition

    async def _play(
        self, context: Context, playing: Playback, start: int, request: Request, response: Callable[..., object]
    ) -> None:
        stages = STAGES[request.audio]
        heartbeat_s = request.heartbeat_interval.ToNanoseconds() / 1e9 or HEARTBEAT_S
        cursor = self._recording.events[start - 1].cursor if start else ""
        sequence = 0
        for recorded in self._recording.events[start:]:
            while left_s := playing.left_s(recorded):
                await asyncio.sleep(min(left_s, heartbeat_s))
                if left_s > heartbeat_s and cursor:
                    await context.write(response(cursor=cursor, event=self._checkpoint(sequence)))
            if recorded.kind == "audio" and recorded.stage not in stages:
                continue
            message = await asyncio.to_thread(self._recording.event, recorded)
            if recorded.kind == "audio" and SAMPLE_FORMATS[request.encoding] is not SampleFormat.F32LE:
                _encode(message.event.audio, request.encoding)
            cursor, sequence = recorded.cursor, message.event.sequence
            await context.write(response(cursor=cursor, event=message.event))

    def _checkpoint(self, sequence: int) -> stream_pb2.CompositionEvent:
        event = stream_pb2.CompositionEvent(composition=self._recording.name, sequence=sequence)
        event.event_time.GetCurrentTime()
        event.checkpoint.state = self._current().state
        return event


def _refuse(name: str) -> Callable[..., object]:
    async def refuse(_self: ReplayService, _request: object, _context: Context) -> None:
        raise errors.NotImplementedYet(f"{name}: this is a replay of a recording; it answers {', '.join(ANSWERED)}")

    return refuse


for _method in composer_pb2.DESCRIPTOR.services_by_name["ComposerService"].methods:
    if _method.name not in ANSWERED:
        setattr(ReplayService, _method.name, _refuse(_method.name))


def _part(piece: files_pb2.DownloadArtifactResponse, first: int, last: int) -> files_pb2.DownloadArtifactResponse:
    if (first, last) == (piece.offset, piece.offset + len(piece.data)):
        return piece
    content = piece.data[first - piece.offset : last - piece.offset]
    return files_pb2.DownloadArtifactResponse(offset=first, data=content, crc32c=crc32c(content))


def _encode(audio: audio_pb2.AudioChunk, encoding: audio_pb2.SampleFormat.ValueType) -> None:
    block = decode_pcm(audio.data, SampleFormat.F32LE, audio.format.channels)
    audio.data = encode_pcm(block, SAMPLE_FORMATS[encoding], first_frame=audio.first_frame)
    audio.format.sample_format = encoding
    audio.crc32c = crc32c(audio.data)
