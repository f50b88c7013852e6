"""An analyzer server on a real channel, and the audio that tests send to it."""

from __future__ import annotations

import io
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import google_crc32c
import grpc.aio
import numpy as np
import soundfile

from segue.analyzer.v1 import analyzer_pb2, analyzer_pb2_grpc
from segue.audio.v1 import audio_pb2
from segue_analyzer import service
from segue_runtime import errors
from segue_runtime.rpc.server import Server, Service
from segue_runtime.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from segue.music.v1 import music_pb2
    from segue_analyzer.stems.separators import Separators
    from segue_analyzer.stems.vocals import VocalsMethod
    from segue_audio.arrays import Float32

RATE = 48_000


class Analyzer:
    """A client of the service."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.stub: Any = analyzer_pb2_grpc.AnalyzerServiceStub(channel)
        self.progress: list[int] = []

    async def send(self, requests: Iterable[analyzer_pb2.AnalyzeRequest]) -> analyzer_pb2.Report:
        """Send messages; returns the report or raises the error."""

        async def stream() -> AsyncIterator[analyzer_pb2.AnalyzeRequest]:
            for request in requests:
                yield request

        reports: list[analyzer_pb2.Report] = []
        self.progress.clear()
        try:
            async for response in self.stub.Analyze(stream(), timeout=60):
                assert not reports, "the report comes last"
                kind = response.WhichOneof("message")
                if kind == "progress":
                    self.progress.append(response.progress.frames_done)
                elif kind == "report":
                    reports.append(response.report)
        except grpc.aio.AioRpcError as error:
            raise errors.from_rpc_error(error) from None
        assert len(reports) == 1
        return reports[0]

    async def pcm(
        self,
        sound: Float32,
        rate: int = RATE,
        *,
        plan: music_pb2.Plan | None = None,
        sections: Sequence[tuple[str, int, int]] = (),
        chunk_frames: int = 4000,
    ) -> analyzer_pb2.Report:
        """Measure samples of shape (frames, channels)."""
        return await self.send(pcm_requests(sound, rate, plan=plan, sections=sections, chunk_frames=chunk_frames))

    async def file(self, content: bytes, block: int = 200_000) -> analyzer_pb2.Report:
        """Measure an encoded file."""
        return await self.send(file_requests(content, block))


@asynccontextmanager
async def running_analyzer(
    separators: Separators | None = None, vocals: VocalsMethod | None = None
) -> AsyncIterator[Analyzer]:
    """Start a server on a free port and connect to it."""

    def register(server: grpc.aio.Server) -> None:
        analyzer_pb2_grpc.add_AnalyzerServiceServicer_to_server(service.AnalyzerService(separators, vocals), server)

    server = Server(Settings().server, [Service(service.SERVICE, register, service.warm)])
    address = server.listen("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(address) as channel:
            yield Analyzer(channel)
    finally:
        await server.stop(0)


def pcm_requests(
    sound: Float32,
    rate: int = RATE,
    *,
    plan: music_pb2.Plan | None = None,
    sections: Sequence[tuple[str, int, int]] = (),
    chunk_frames: int = 4000,
) -> Iterator[analyzer_pb2.AnalyzeRequest]:
    """Yield all messages for samples."""
    sound_format = audio_pb2.AudioFormat(sample_rate=rate, channels=sound.shape[1])
    start = analyzer_pb2.AnalyzeStart(format=sound_format, plan=plan)
    for section_id, first_frame, frames in sections:
        start.sections.add(section_id=section_id, first_frame=first_frame, frames=frames)
    yield analyzer_pb2.AnalyzeRequest(start=start)
    step = min(chunk_frames, 65_536 // (4 * sound.shape[1]))
    for first in range(0, len(sound), step):
        yield analyzer_pb2.AnalyzeRequest(audio=audio_chunk(sound[first : first + step], rate, first))


def audio_chunk(piece: Float32, rate: int, first_frame: int) -> audio_pb2.AudioChunk:
    """One chunk of float32 PCM."""
    content = np.ascontiguousarray(piece, "<f4").tobytes()
    return audio_pb2.AudioChunk(
        format=audio_pb2.AudioFormat(sample_rate=rate, channels=piece.shape[1]),
        first_frame=first_frame,
        frames=len(piece),
        data=content,
        crc32c=google_crc32c.value(content),
    )


def file_requests(content: bytes, block: int = 200_000) -> Iterator[analyzer_pb2.AnalyzeRequest]:
    """Yield all messages for an encoded file."""
    yield analyzer_pb2.AnalyzeRequest(start=analyzer_pb2.AnalyzeStart())
    for offset in range(0, len(content), block):
        piece = analyzer_pb2.FileBytes(offset=offset, data=content[offset : offset + block])
        yield analyzer_pb2.AnalyzeRequest(file=piece)


def encoded(sound: NDArray[Any], rate: int = RATE, kind: str = "FLAC", subtype: str | None = None) -> bytes:
    """Return an audio file as bytes."""
    target = io.BytesIO()
    soundfile.write(target, sound, rate, format=kind, subtype=subtype)
    return target.getvalue()


def tone(seconds: float, hertz: float = 440.0, level: float = 0.1, rate: int = RATE, channels: int = 1) -> Float32:
    """A sine on every channel."""
    times = np.arange(round(seconds * rate)) / rate
    wave = (level * np.sin(2 * np.pi * hertz * times)).astype(np.float32)
    return np.repeat(wave[:, None], channels, axis=1)


def clicks(bpm: float, seconds: float, rate: int = RATE, first_s: float = 0.0, offbeat: float = 0.0) -> Float32:
    """Short decaying blips on the beat; `offbeat` is the level of the blips between."""
    sound = np.zeros(round(seconds * rate), dtype=np.float32)
    times = np.arange(round(0.04 * rate)) / rate
    for number in range(int((seconds - first_s) * bpm / 60 * 2) + 1):
        level = 0.5 if number % 2 == 0 else 0.5 * offbeat
        first = round((first_s + number * 30 / bpm) * rate)
        blip = level * np.sin(2 * np.pi * (1400 if number % 2 == 0 else 2600) * times) * np.exp(-times * 130)
        room = min(len(blip), len(sound) - first)
        if room > 0:
            sound[first : first + room] += blip[:room].astype(np.float32)
    return sound[:, None]


def chords(
    progression: Sequence[Sequence[float]], seconds_each: float, rate: int = RATE, level: float = 0.05
) -> Float32:
    """Chords of MIDI notes with overtones in sequence; the first note is doubled an octave lower as the bass."""
    pieces = []
    times = np.arange(round(seconds_each * rate)) / rate
    fade = np.minimum(1.0, np.minimum(times, times[::-1]) / 0.02)
    for notes in progression:
        piece = np.zeros(len(times))
        for pitch in (*notes, notes[0] - 12):
            hertz = 440.0 * 2 ** ((pitch - 69) / 12)
            for overtone in range(1, 6):
                piece += level / overtone * np.sin(2 * np.pi * hertz * overtone * times + overtone)
        pieces.append((piece * fade).astype(np.float32))
    return np.concatenate(pieces)[:, None]
