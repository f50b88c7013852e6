"""A mixer server on a real channel, and the audio that tests send to it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import google_crc32c
import numpy as np

from segue.audio.v1 import audio_pb2
from segue.mixer.v1 import mixer_pb2, mixer_pb2_grpc
from segue.music.v1 import music_pb2
from segue_mixer.service import SERVICE, MixerService, warm
from segue_runtime.rpc import channels
from segue_runtime.rpc.server import Server, Service
from segue_runtime.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Sound = NDArray[np.float32]

RATE = 48_000


@asynccontextmanager
async def mixer(home: Path) -> AsyncIterator[mixer_pb2_grpc.MixerServiceAsyncStub]:
    server = Server(
        Settings(home=home).server,
        [Service(SERVICE, lambda it: mixer_pb2_grpc.add_MixerServiceServicer_to_server(MixerService(), it), warm)],
    )
    address = server.listen("127.0.0.1:0")
    await server.start()
    try:
        async with channels.connect(address) as channel:
            yield mixer_pb2_grpc.MixerServiceStub(channel)  # type: ignore[misc]  # the stub of an aio channel
    finally:
        await server.stop(0)


def with_mixer(home: Path, work: Callable[[mixer_pb2_grpc.MixerServiceAsyncStub], Coroutine[Any, Any, Any]]) -> Any:
    """Run async work against a mixer from a plain function, as hypothesis calls it."""

    async def run() -> Any:
        async with mixer(home) as stub:
            return await work(stub)

    return asyncio.run(run())


def sound_format(channels: int = 2, rate: int = RATE, kind: Any = audio_pb2.SAMPLE_FORMAT_F32LE) -> Any:
    return audio_pb2.AudioFormat(sample_rate=rate, channels=channels, sample_format=kind)


def chunk(
    samples: Sound, first_frame: int = 0, *, rate: int = RATE, section_id: str = "", layer: str = ""
) -> audio_pb2.AudioChunk:
    content = np.ascontiguousarray(samples, "<f4").tobytes()
    return audio_pb2.AudioChunk(
        format=sound_format(samples.shape[1], rate),
        section_id=section_id,
        layer=layer,
        first_frame=first_frame,
        frames=len(samples),
        data=content,
        crc32c=google_crc32c.value(content),
    )


def cut(samples: Sound, sizes: Iterable[int] | int = 4096, **words: Any) -> Iterator[audio_pb2.AudioChunk]:
    """Cut audio into chunks: all of one size, or of the listed sizes and then large ones."""
    position = 0
    usual, given = (sizes, iter(())) if isinstance(sizes, int) else (4096, iter(sizes))
    largest = 65_408 // (4 * samples.shape[1])
    while position < len(samples):
        size = min(next(given, usual), largest)
        yield chunk(samples[position : position + size], position, **words)
        position += size


def band(seconds: float, seed: int = 1, level: float = 0.2, rate: int = RATE, channels: int = 2) -> Sound:
    """Music-like audio: changing chords, a bass, a beat with noise, and dynamics."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    mono = np.zeros(len(time))
    for index, root in enumerate(rng.choice([110.0, 130.8, 146.8, 98.0], 4)):
        on = (time // 2).astype(int) % 4 == index
        for harmonic in (0.5, 1, 1.26, 1.5, 2, 3):
            mono += on * np.sin(2 * np.pi * root * harmonic * time) / (harmonic + 1)
    since_beat = time % 0.5
    beat = np.exp(-since_beat * 18) * np.sin(2 * np.pi * 60 * since_beat) * 3
    hat = rng.normal(size=len(time)) * np.exp(-(time % 0.25) * 60)
    # As in recordings, there is almost nothing at the very top of the spectrum.
    for _ in range(3):
        hat = np.convolve(hat, [0.25, 0.5, 0.25], "same")
    mono = (mono + beat + hat) * (0.6 + 0.4 * np.sin(2 * np.pi * time / 7))
    mono *= level / max(1e-9, float(np.sqrt(np.mean(mono**2))))
    slow = rng.normal(size=(len(time), channels)).cumsum(axis=0) * 0.2
    sides = np.tanh(np.sin(slow)) * level * 0.1
    return np.asarray(mono[:, None] + sides, np.float32)


@dataclass(frozen=True)
class Part:
    """One section as a renderer sends it."""

    section_id: str
    sound: Sound
    tail: Sound = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    beats: float = 1.0
    hard: bool = False
    tail_frames: int = 0
    ending: bool = True
    frames: int = 0
    rate: int = RATE
    stems: dict[str, tuple[Sound, Sound]] = field(default_factory=dict)
    start: dict[str, Any] = field(default_factory=dict)
    late_beats: Sequence[int] = ()

    @property
    def planned_frames(self) -> int:
        return self.frames or len(self.sound)


def mix_requests(
    parts: Sequence[Part],
    sizes: Iterable[int] | int = 4096,
    *,
    resume_after: str = "",
    checkpoint: bytes = b"",
    beat_frames: float = 24_000.0,
    channels: int = 2,
) -> Iterator[mixer_pb2.MixRequest]:
    """The whole stream of a mix."""
    places, position = [], 0
    for part in parts:
        kind = music_pb2.JOIN_KIND_HARD if part.hard else music_pb2.JOIN_KIND_CROSSFADE
        places.append(
            mixer_pb2.MixSection(
                section_id=part.section_id,
                first_frame=position,
                frames=part.planned_frames,
                tail_frames=part.tail_frames,
                join=music_pb2.Join(kind=kind, beats=part.beats),
                beat_frames=beat_frames,
                bar_frames=4 * beat_frames,
            )
        )
        position += part.planned_frames
    layers = sorted(parts[0].stems)
    yield mixer_pb2.MixRequest(
        start=mixer_pb2.MixStart(
            format=sound_format(channels), sections=places, layers=layers, resume_after=resume_after
        )
    )
    step = 262_144
    for offset in range(0, len(checkpoint), step):
        piece = checkpoint[offset : offset + step]
        yield mixer_pb2.MixRequest(
            checkpoint=mixer_pb2.Checkpoint(
                section_id=resume_after, offset=offset, data=piece, last=offset + len(piece) == len(checkpoint)
            )
        )
    first = [part.section_id for part in parts].index(resume_after) + 1 if resume_after else 0
    for part in parts[first:]:
        yield from section_requests(part, sizes)


def section_requests(part: Part, sizes: Iterable[int] | int = 4096) -> Iterator[mixer_pb2.MixRequest]:
    yield mixer_pb2.MixRequest(
        section_start=mixer_pb2.MixSectionStart(
            section_id=part.section_id,
            take="take",
            attempt=1,
            format=sound_format(part.sound.shape[1], part.rate),
            **part.start,
        )
    )
    layers = {"": (part.sound, part.tail), **part.stems}
    for layer, (sound, tail) in layers.items():
        whole = np.concatenate((sound, tail))
        for piece in cut(whole, sizes, rate=part.rate, section_id=part.section_id, layer=layer):
            yield mixer_pb2.MixRequest(audio=piece)
    yield mixer_pb2.MixRequest(
        section_end=mixer_pb2.MixSectionEnd(
            section_id=part.section_id,
            frames=len(part.sound),
            tail_frames=len(part.tail),
            ending=part.ending,
            beats=part.late_beats,
        )
    )


@dataclass
class Draft:
    """The result of a mix."""

    layers: dict[str, list[audio_pb2.AudioChunk]] = field(default_factory=dict)
    mixed: list[mixer_pb2.SectionMixed] = field(default_factory=list)
    checkpoints: dict[str, bytes] = field(default_factory=dict)
    finished: mixer_pb2.MixFinished = field(default_factory=mixer_pb2.MixFinished)

    def sound(self, layer: str = "") -> Sound:
        content = b"".join(piece.data for piece in self.layers.get(layer, []))
        channels = self.layers[layer][0].format.channels if self.layers.get(layer) else 2
        return np.frombuffer(content, "<f4").reshape(-1, channels)


async def mixed(stub: mixer_pb2_grpc.MixerServiceAsyncStub, requests: Iterable[mixer_pb2.MixRequest]) -> Draft:
    """Run a mix and collect the result; checks that positions are contiguous."""
    draft = Draft()
    async for response in stub.Mix(iter(requests)):
        kind = response.WhichOneof("message")
        if kind == "audio":
            pieces = draft.layers.setdefault(response.audio.layer, [])
            if pieces:
                assert response.audio.first_frame == pieces[-1].first_frame + pieces[-1].frames
            assert response.audio.stage == audio_pb2.STAGE_DRAFT
            assert len(response.audio.data) <= 262_144
            assert response.audio.crc32c == google_crc32c.value(response.audio.data)
            pieces.append(response.audio)
        elif kind == "section_mixed":
            draft.mixed.append(response.section_mixed)
        elif kind == "checkpoint":
            piece = response.checkpoint
            content = draft.checkpoints.get(piece.section_id, b"")
            assert piece.offset == len(content)
            draft.checkpoints[piece.section_id] = content + piece.data
        else:
            draft.finished = response.finished
    return draft


def master_start(which: Any, sound: Sound, rate: int = RATE, **fields: Any) -> mixer_pb2.MasterRequest:
    start = mixer_pb2.MasterStart(format=sound_format(sound.shape[1], rate), frames=len(sound), **fields)
    setattr(start, "pass", which)
    return mixer_pb2.MasterRequest(start=start)


@dataclass
class Master:
    """The result of both passes."""

    measured: mixer_pb2.MasterMeasurement
    sound: Sound
    finished: mixer_pb2.MasterFinished
    content: bytes = b""


async def measured(
    stub: mixer_pb2_grpc.MixerServiceAsyncStub,
    sound: Sound,
    settings: mixer_pb2.MasterSettings | None = None,
    sizes: Iterable[int] | int = 8176,
    *,
    rate: int = RATE,
    sections: Sequence[mixer_pb2.MasterSection] = (),
) -> mixer_pb2.MasterMeasurement:
    """Run pass MEASURE."""
    first = master_start(mixer_pb2.MASTER_PASS_MEASURE, sound, rate, settings=settings, sections=sections)
    responses = [response async for response in stub.Master(iter(_master_requests(first, sound, sizes, rate)))]
    found = [response.measured for response in responses if response.HasField("measured")]
    assert len(found) == 1
    return found[0]


async def rendered(
    stub: mixer_pb2_grpc.MixerServiceAsyncStub,
    sound: Sound,
    measurement: mixer_pb2.MasterMeasurement,
    sizes: Iterable[int] | int = 8176,
    *,
    rate: int = RATE,
    sections: Sequence[mixer_pb2.MasterSection] = (),
) -> Master:
    """Run pass RENDER."""
    first = master_start(mixer_pb2.MASTER_PASS_RENDER, sound, rate, measurement=measurement, sections=sections)
    content, finished, position = bytearray(), mixer_pb2.MasterFinished(), 0
    async for response in stub.Master(iter(_master_requests(first, sound, sizes, rate))):
        kind = response.WhichOneof("message")
        if kind == "audio":
            assert response.audio.first_frame == position
            assert response.audio.stage == audio_pb2.STAGE_MASTER
            position += response.audio.frames
            content += response.audio.data
        elif kind == "finished":
            finished = response.finished
    made = np.frombuffer(bytes(content), "<f4").reshape(-1, sound.shape[1])
    assert len(made) == len(sound)
    return Master(measurement, made, finished, bytes(content))


async def mastered(
    stub: mixer_pb2_grpc.MixerServiceAsyncStub,
    sound: Sound,
    settings: mixer_pb2.MasterSettings | None = None,
    sizes: Iterable[int] | int = 8176,
    *,
    rate: int = RATE,
    sections: Sequence[mixer_pb2.MasterSection] = (),
) -> Master:
    """Run both passes."""
    measurement = await measured(stub, sound, settings, sizes, rate=rate, sections=sections)
    return await rendered(stub, sound, measurement, sizes, rate=rate, sections=sections)


def _master_requests(
    first: mixer_pb2.MasterRequest, sound: Sound, sizes: Iterable[int] | int, rate: int
) -> Iterator[mixer_pb2.MasterRequest]:
    yield first
    for piece in cut(sound, sizes, rate=rate):
        yield mixer_pb2.MasterRequest(audio=piece)
