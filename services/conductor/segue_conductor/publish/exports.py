"""Which files a composition gets: the exported master, stems, MIDI, the draft of an unfinished piece."""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING, Final

from segue.audio.v1 import audio_pb2
from segue.composer.v1 import composition_pb2, spec_pb2
from segue.mixer.v1 import mixer_pb2
from segue_audio.errors import AudioError
from segue_audio.files import AudioFileSettings, FileFormat, loudness_tags
from segue_composition import state
from segue_conductor.mix.draft_mixer import Timing, feed_section, mix_start
from segue_conductor.publish.audio_files import OpenFile, SoundFiles
from segue_conductor.publish.metadata import Labels, cues, tags
from segue_music import codec, midi
from segue_music.elements import Note
from segue_runtime import errors
from segue_runtime.rpc.duplex import exchange

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from segue.renderer.v1.renderer_pb2 import ModelProfile
    from segue_composition.log_rows import Segment
    from segue_conductor.composition_job import Bench, Context
    from segue_conductor.render.take_store import Take

FORMATS: Final = {audio_pb2.FileFormat.Value(kind.contract_name): kind for kind in FileFormat}


class Exports:
    """The files of the master, encoded while it comes."""

    def __init__(self, context: Bench, files: SoundFiles, labels: Labels) -> None:
        self._context = context
        self._files = files
        self._labels = labels
        self._open: list[OpenFile] = []
        self.manifest = ""

    async def open(self, measurement: mixer_pb2.MasterMeasurement) -> None:
        """Begin all files."""
        self.manifest = self._labels.manifest(measurement)
        wanted = list(self._context.spec.exports) or [spec_pb2.Export()]
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
            self._open.append(
                await self._files.open(
                    composition_pb2.Output(
                        name=f"{self._context.folder}/outputs/master{suffix}{kind.suffix}",
                        kind=composition_pb2.OUTPUT_KIND_MASTER,
                        media_type=kind.media_type,
                        sample_rate=settings.rate_in_file,
                        channels=self._context.channels,
                        bit_depth=settings.bit_depth if kind.is_lossless else 0,
                    ),
                    settings,
                )
            )

    async def write(self, audio: bytes) -> None:
        """Append master."""
        for file in self._open:
            await self._files.write(audio, file)

    async def finish(self, finished: mixer_pb2.MasterFinished) -> list[composition_pb2.Output]:
        """Close them, with the loudness in their tags."""
        loudness = finished.loudness
        return await self._files.finish(
            lambda kind: loudness_tags(
                kind,
                integrated_lufs=loudness.integrated_lufs if loudness.HasField("integrated_lufs") else None,
                true_peak_dbtp=loudness.true_peak_dbtp if loudness.HasField("true_peak_dbtp") else None,
            )
        )

    def _settings(self, export: spec_pb2.Export, kind: FileFormat) -> AudioFileSettings:
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
            quarters_per_minute=labels.quarters_per_minute if kind.value.has_studio_chunks else None,
            time_reference_frames=0 if kind.value.has_studio_chunks else None,
        )


async def small_file(
    context: Context, name: str, kind: composition_pb2.OutputKind.ValueType, media_type: str, content: bytes
) -> composition_pb2.Output:
    """Write a file whole."""
    key = f"{context.folder}/outputs/{name}"
    await context.artifacts.put(key, content, replace=True)
    return composition_pb2.Output(
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


async def write_stems(context: Context, takes: Mapping[str, Take]) -> list[composition_pb2.Output]:
    """Send the layers through the same joins and gains as the mix; one float WAV each, and one of the mix itself.

    Float, because a stem may be louder than the mix: what is written sums to the draft within rounding.
    """
    layers = tuple(sorted({layer for take in takes.values() for layer in take.layers}))
    sections = list(context.plan.sections)
    async with SoundFiles.opened(context.artifacts) as files:
        opened = {}
        for layer in ("", *layers):
            name = f"stem-{layer}.wav" if layer else "draft.wav"
            opened[layer] = await files.open(
                composition_pb2.Output(
                    name=f"{context.folder}/outputs/{name}",
                    kind=composition_pb2.OUTPUT_KIND_STEM if layer else composition_pb2.OUTPUT_KIND_DRAFT,
                    media_type=FileFormat.WAV.media_type,
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
                    tags=tags(context, context.player.profile),
                    quarters_per_minute=context.plan.quarters_per_minute,
                    # Where a workstation puts it.
                    time_reference_frames=0,
                ),
            )

        async def requests() -> AsyncIterator[mixer_pb2.MixRequest]:
            yield mixer_pb2.MixRequest(start=mix_start(sections, context, layers=layers))
            for section in sections:
                take = takes[section.spec.section_id]
                known = state.section_of(context.composition, section.spec.section_id)
                # The draft is made: every section lies where it was put.
                timing = Timing(shift_frames=known.shift_frames)
                async for request in feed_section(section, take, timing, ("", *layers)):
                    yield request

        answers = exchange(context.peers.mixer.Mix, requests(), service="mixer", timeout_s=context.remaining_s())
        async with contextlib.aclosing(answers):
            async for response in answers:
                if response.WhichOneof("message") == "audio":
                    await files.write(response.audio.data, opened[response.audio.layer])
        return await files.finish()


async def write_draft(
    context: Bench, profile: ModelProfile | None, draft: Sequence[Segment]
) -> list[composition_pb2.Output]:
    """Write what exists of a piece that will not be finished."""
    if not draft:
        return []
    settings = AudioFileSettings(
        file_format=FileFormat.FLAC,
        channels=draft[0].channels,
        sample_rate=draft[0].sample_rate,
        cues=tuple(cue for cue in cues(context) if cue.first_frame < draft[-1].end_frame),
        tags=tags(context, profile) | {"COMMENT": "an unfinished draft"},
    )
    async with SoundFiles.opened(context.artifacts) as files:
        file = await files.open(
            composition_pb2.Output(
                name=f"{context.folder}/outputs/draft.flac",
                kind=composition_pb2.OUTPUT_KIND_DRAFT,
                media_type=FileFormat.FLAC.media_type,
                sample_rate=settings.sample_rate,
                channels=settings.channels,
                bit_depth=24,
            ),
            settings,
        )
        for segment in draft:
            await files.write(await context.artifacts.read_all(segment.ref), file)
        return await files.finish()
