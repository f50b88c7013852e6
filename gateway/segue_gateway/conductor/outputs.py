"""The files of a composition: the exported master, stems, MIDI, the manifest, the draft of an unfinished piece."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from segue.audio.v1 import audio_pb2
from segue.composer.v1 import composer_pb2
from segue.mixer.v1 import mixer_pb2
from segue_audio.errors import AudioError
from segue_audio.files import AudioFileSettings, AudioFileWriter, Cue, FileFormat, loudness_tags
from segue_gateway import resource
from segue_gateway.conductor.manifest import manifest, version
from segue_gateway.conductor.mixing import Timing, feed_section, mix_start
from segue_gateway.exchange import exchange
from segue_music import codec, midi, theory, timing
from segue_music.plan import Note
from segue_runtime import errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from segue_gateway.conductor.context import Bench, Context
    from segue_gateway.conductor.takes import Take
    from segue_gateway.log_rows import Segment

FORMATS: Final = {
    audio_pb2.FILE_FORMAT_FLAC: FileFormat.FLAC,
    audio_pb2.FILE_FORMAT_WAV: FileFormat.WAV,
    audio_pb2.FILE_FORMAT_OGG_OPUS: FileFormat.OGG_OPUS,
    audio_pb2.FILE_FORMAT_MP3: FileFormat.MP3,
}
MEDIA_TYPES: Final = {
    FileFormat.FLAC: "audio/flac",
    FileFormat.WAV: "audio/wav",
    FileFormat.OGG_OPUS: "audio/ogg",
    FileFormat.MP3: "audio/mpeg",
}
WRITE_BYTES: Final = 384_000
"""How much sound is handed to the encoders at once."""


@dataclass
class OpenFile:
    """A sound file that is being written."""

    output: composer_pb2.Output
    writer: AudioFileWriter
    path: Path


class SoundFiles:
    """Sound files of one composition that are written side by side, and appear whole or not at all."""

    def __init__(self, context: Bench) -> None:
        self._context = context
        self._stack = AsyncExitStack()
        self._files: list[OpenFile] = []
        self._buffers: dict[int, bytearray] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files:
            file.writer.discard()
        await self._stack.__aexit__(kind, error, trace)

    async def open(self, output: composer_pb2.Output, settings: AudioFileSettings) -> int:
        """Begin a file; returns its number."""
        draft = await self._stack.enter_async_context(self._context.artifacts.put_file(output.name, replace=True))
        writer = await asyncio.to_thread(AudioFileWriter, draft.path, settings)
        self._files.append(OpenFile(output, writer, draft.path))
        self._buffers[len(self._files) - 1] = bytearray()
        return len(self._files) - 1

    async def write(self, audio: bytes, number: int) -> None:
        """Append F32LE sound to one file."""
        buffer = self._buffers[number]
        buffer += audio
        if len(buffer) >= WRITE_BYTES:
            await self._flush(number)

    async def finish(
        self, tags_of: Callable[[FileFormat], Mapping[str, str]] | None = None
    ) -> list[composer_pb2.Output]:
        """Close all files, with what is known of them only now in their tags, and let them appear."""
        for number, file in enumerate(self._files):
            await self._flush(number)
            if tags_of is not None:
                file.writer.set_tags(tags_of(file.writer.settings.file_format))
            await asyncio.to_thread(_close, file)
        await self._stack.aclose()
        outputs = [file.output for file in self._files]
        self._files.clear()
        return outputs

    async def _flush(self, number: int) -> None:
        buffer, file = self._buffers[number], self._files[number]
        if buffer:
            block = np.frombuffer(bytes(buffer), np.float32).reshape(-1, file.writer.settings.channels)
            buffer.clear()
            await asyncio.to_thread(file.writer.write, block)


def _close(file: OpenFile) -> None:
    file.writer.close()
    settings = file.writer.settings
    file.output.frames = round(file.writer.frames_written * settings.rate_in_file / settings.sample_rate)
    digest = hashlib.sha256()
    with file.path.open("rb") as content:
        # The writer put its own file in the draft's place: that is the one that must be on disk.
        os.fsync(content.fileno())
        while block := content.read(1 << 20):
            digest.update(block)
        file.output.size_bytes = content.tell()
    file.output.sha256 = digest.hexdigest()


@dataclass(frozen=True)
class Labels:
    """What the files of a master say besides their sound."""

    tags: Mapping[str, str]
    cues: tuple[Cue, ...] = ()
    quarters_per_minute: float | None = None
    manifest: Callable[[mixer_pb2.MasterMeasurement], str] = lambda _: ""


class Exports:
    """The files of the master, encoded while it comes."""

    def __init__(self, context: Bench, files: SoundFiles, labels: Labels) -> None:
        self._context = context
        self._files = files
        self._labels = labels
        self._numbers: list[int] = []
        self.manifest = ""

    async def open(self, measurement: mixer_pb2.MasterMeasurement) -> None:
        """Begin all files."""
        self.manifest = self._labels.manifest(measurement)
        wanted = list(self._context.spec.exports) or [composer_pb2.Export()]
        for index, export in enumerate(wanted):
            kind = FORMATS[export.file_format or audio_pb2.FILE_FORMAT_FLAC]
            suffix = "" if index == 0 else f"-{export.sample_rate or 'full'}-{export.bit_depth or 'full'}"
            try:
                settings = self._settings(export, kind)
            except AudioError as error:
                # Only a file that somebody sent can have such a shape: a composition's was checked before.
                raise errors.OptionNotSupported(
                    f"exports[{index}]: {error}", metadata={"option": f"exports[{index}]"}
                ) from None
            self._numbers.append(
                await self._files.open(
                    composer_pb2.Output(
                        name=f"{self._context.folder}/outputs/master{suffix}{kind.value}",
                        kind=composer_pb2.OUTPUT_KIND_MASTER,
                        media_type=MEDIA_TYPES[kind],
                        sample_rate=settings.rate_in_file,
                        channels=self._context.channels,
                        bit_depth=settings.bit_depth if kind.is_lossless else 0,
                    ),
                    settings,
                )
            )

    async def write(self, audio: bytes) -> None:
        """Append master."""
        for number in self._numbers:
            await self._files.write(audio, number)

    async def finish(self, finished: mixer_pb2.MasterFinished) -> list[composer_pb2.Output]:
        """Close them, with the loudness in their tags."""
        loudness = finished.loudness
        return await self._files.finish(
            lambda kind: loudness_tags(
                kind,
                integrated_lufs=loudness.integrated_lufs if loudness.HasField("integrated_lufs") else None,
                true_peak_dbtp=loudness.true_peak_dbtp if loudness.HasField("true_peak_dbtp") else None,
            )
        )

    def _settings(self, export: composer_pb2.Export, kind: FileFormat) -> AudioFileSettings:
        labels = self._labels
        return AudioFileSettings(
            file_format=kind,
            channels=self._context.channels,
            sample_rate=self._context.plan.sample_rate,
            file_sample_rate=export.sample_rate or None,
            bit_depth=export.bit_depth or 24,
            cues=labels.cues,
            tags=labels.tags,
            manifest=self.manifest,
            quarters_per_minute=labels.quarters_per_minute if kind is FileFormat.WAV else None,
            time_reference_frames=0 if kind is FileFormat.WAV else None,
        )


def labels(context: Context, takes: Mapping[str, str]) -> Labels:
    """Return what the files of a composition say."""
    return Labels(
        tags(context),
        cues(context),
        context.plan.quarters_per_minute,
        lambda measurement: manifest(context, measurement, takes),
    )


def cues(context: Context) -> tuple[Cue, ...]:
    """Return a cue for each section."""
    return tuple(Cue(item.first_frame, item.spec.label or item.spec.section_id) for item in context.plan.sections)


def tags(context: Context) -> dict[str, str]:
    """Return what players show."""
    plan, profile = codec.plan_from_message(context.plan), context.player.profile
    found = {
        "TITLE": plan.title,
        "BPM": f"{timing.bpm_from_quarters(plan.quarters_per_minute, plan.metre):g}",
        "KEY": theory.key_name(plan.key),
        "INITIALKEY": theory.key_name(plan.key),
        "GENRE": plan.genre,
        "ENCODER": f"Segue {version('segue')}",
        "SEED": str(plan.seed),
    }
    if context.spec.private_prompt:
        found.pop("TITLE")
    elif context.spec.brief.prompt:
        found["COMMENT"] = context.spec.brief.prompt
    if profile.weights_license:
        found["LICENSE"] = f"made with {profile.model}, whose weights are licensed {profile.weights_license}"
    if context.composition.degradations:
        found["DEGRADED"] = "; ".join(item.text for item in context.composition.degradations)
    return {name: text for name, text in found.items() if text}


async def small_file(
    context: Context, name: str, kind: composer_pb2.OutputKind.ValueType, media_type: str, content: bytes
) -> composer_pb2.Output:
    """Write a file whole."""
    key = f"{context.folder}/outputs/{name}"
    await context.artifacts.put(key, content, replace=True)
    return composer_pb2.Output(
        name=key,
        kind=kind,
        media_type=media_type,
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )


def midi_content(context: Context, takes: Mapping[str, Take]) -> bytes:
    """Return the MIDI file of all sections."""
    notes = {
        section_id: tuple(codec.from_message(Note, note) for note in take.notes) for section_id, take in takes.items()
    }
    return midi.midi_file(codec.plan_from_message(context.plan), notes)


async def write_stems(context: Context, takes: Mapping[str, Take]) -> list[composer_pb2.Output]:
    """Send the layers through the same joins and gains as the mix; one float WAV each, and one of the mix itself.

    Float, because a stem may be louder than the mix: what is written sums to the draft within rounding.
    """
    layers = tuple(sorted({layer for take in takes.values() for layer in take.layers}))
    sections = list(context.plan.sections)
    async with SoundFiles(context) as files:
        numbers = {}
        for layer in ("", *layers):
            name = f"stem-{layer}.wav" if layer else "draft.wav"
            numbers[layer] = await files.open(
                composer_pb2.Output(
                    name=f"{context.folder}/outputs/{name}",
                    kind=composer_pb2.OUTPUT_KIND_STEM if layer else composer_pb2.OUTPUT_KIND_DRAFT,
                    media_type=MEDIA_TYPES[FileFormat.WAV],
                    sample_rate=context.plan.sample_rate,
                    channels=context.channels,
                    bit_depth=32,
                    layer=layer,
                ),
                AudioFileSettings(
                    file_format=FileFormat.WAV,
                    channels=context.channels,
                    sample_rate=context.plan.sample_rate,
                    bit_depth=32,
                    cues=cues(context),
                    tags=tags(context),
                    quarters_per_minute=context.plan.quarters_per_minute,
                    # Where a workstation puts it.
                    time_reference_frames=0,
                ),
            )

        async def requests() -> AsyncIterator[mixer_pb2.MixRequest]:
            yield mixer_pb2.MixRequest(start=mix_start(sections, context, layers=layers))
            for section in sections:
                take = takes[section.spec.section_id]
                known = resource.section_of(context.composition, section.spec.section_id)
                # The draft is made: every section lies where it was put.
                timing = Timing(shift_frames=known.shift_frames)
                async for request in feed_section(section, take, timing, ("", *layers)):
                    yield request

        answers = exchange(context.mesh.mixer.Mix, requests(), service="mixer", timeout_s=context.remaining_s())
        async with contextlib.aclosing(answers):
            async for response in answers:
                if response.WhichOneof("message") == "audio":
                    await files.write(response.audio.data, numbers[response.audio.layer])
        return await files.finish()


async def write_draft(context: Context, draft: Sequence[Segment]) -> list[composer_pb2.Output]:
    """Write what exists of a piece that will not be finished."""
    if not draft:
        return []
    settings = AudioFileSettings(
        file_format=FileFormat.FLAC,
        channels=draft[0].channels,
        sample_rate=draft[0].sample_rate,
        cues=tuple(cue for cue in cues(context) if cue.first_frame < draft[-1].end_frame),
        tags=tags(context) | {"COMMENT": "an unfinished draft"},
    )
    async with SoundFiles(context) as files:
        number = await files.open(
            composer_pb2.Output(
                name=f"{context.folder}/outputs/draft.flac",
                kind=composer_pb2.OUTPUT_KIND_DRAFT,
                media_type=MEDIA_TYPES[FileFormat.FLAC],
                sample_rate=settings.sample_rate,
                channels=settings.channels,
                bit_depth=24,
            ),
            settings,
        )
        for segment in draft:
            await files.write(await context.artifacts.read_all(segment.ref), number)
        return await files.finish()
