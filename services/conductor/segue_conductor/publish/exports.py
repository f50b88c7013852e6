"""The exports: files of the master, encoded while it is rendered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from segue.audio.v1 import audio_pb2
from segue.composer.v1 import composition_pb2, spec_pb2
from segue_audio.errors import AudioError
from segue_audio.files import AudioFileSettings, FileFormat, loudness_tags
from segue_runtime import errors

if TYPE_CHECKING:
    from segue.mixer.v1 import mixer_pb2
    from segue_conductor.publish.audio_outputs import AudioOutputs, OpenAudioFile
    from segue_conductor.publish.master_job import MasterJob

FORMATS: Final = {audio_pb2.FileFormat.Value(kind.contract_name): kind for kind in FileFormat}


class MasterExports:
    """The exported files of one master."""

    def __init__(self, job: MasterJob, outputs: AudioOutputs) -> None:
        self._job = job
        self._outputs = outputs
        self._open: list[OpenAudioFile] = []
        self.manifest = ""
        """The manifest that the files contain; known once they are open."""

    async def open(self, measurement: mixer_pb2.MasterMeasurement) -> None:
        """Begin all files."""
        self.manifest = self._job.metadata.manifest(measurement)
        for index, export in enumerate(list(self._job.spec.exports) or [spec_pb2.Export()]):
            try:
                settings = self._settings(export)
            except AudioError as error:
                # This happens to uploads only: the format of a composition was checked before.
                raise errors.OptionNotSupported(
                    f"exports[{index}]: {error}", metadata={"option": f"exports[{index}]"}
                ) from None
            kind = settings.file_format
            suffix = "" if index == 0 else f"-{export.sample_rate or 'full'}-{export.bit_depth or 'full'}"
            output = composition_pb2.Output(
                name=self._job.claim.key(f"outputs/master{suffix}{kind.suffix}"),
                kind=composition_pb2.OUTPUT_KIND_MASTER,
                media_type=kind.media_type,
                sample_rate=settings.rate_in_file,
                channels=settings.channels,
                bit_depth=settings.bit_depth if kind.is_lossless else 0,
            )
            self._open.append(await self._outputs.open(output, settings))

    async def write(self, audio: bytes) -> None:
        """Append audio of the master."""
        for file in self._open:
            await self._outputs.write(audio, file)

    async def finish(self, finished: mixer_pb2.MasterFinished) -> list[composition_pb2.Output]:
        """Close the files, with the measured loudness in their tags."""
        loudness = finished.loudness
        return await self._outputs.finish(
            lambda kind: loudness_tags(
                kind,
                integrated_lufs=loudness.integrated_lufs if loudness.HasField("integrated_lufs") else None,
                true_peak_dbtp=loudness.true_peak_dbtp if loudness.HasField("true_peak_dbtp") else None,
            )
        )

    def _settings(self, export: spec_pb2.Export) -> AudioFileSettings:
        kind, metadata = FORMATS[export.file_format or audio_pb2.FILE_FORMAT_FLAC], self._job.metadata
        return AudioFileSettings(
            file_format=kind,
            channels=self._job.timeline.channels,
            sample_rate=self._job.timeline.sample_rate,
            file_sample_rate=export.sample_rate or None,
            bit_depth=export.bit_depth or 24,
            cues=metadata.cues,
            tags=metadata.tags,
            manifest=self.manifest,
            quarters_per_minute=metadata.quarters_per_minute if kind.value.has_studio_chunks else None,
            time_reference_frames=0 if kind.value.has_studio_chunks else None,
        )
