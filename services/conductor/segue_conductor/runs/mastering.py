"""The run of a mastering: an uploaded file is decoded into a draft, mastered, and written to files."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from segue.audio.v1 import audio_pb2
from segue.composer.v1 import composition_pb2, mastering_pb2, spec_pb2, stream_pb2
from segue.mixer.v1 import mixer_pb2
from segue_audio.decoder.decoded_file import DecodedFile
from segue_audio.errors import AudioError
from segue_audio.files import read_tags
from segue_composition.artifact_keys import source_ref
from segue_composition.job_kinds import MASTERING
from segue_conductor.backoff import retry_while_unavailable
from segue_conductor.claim import Claim
from segue_conductor.draft.segments import SegmentRecorder, recorded_segments
from segue_conductor.publish.manifest import version
from segue_conductor.publish.master import write_master
from segue_conductor.publish.master_job import MasterJob
from segue_conductor.publish.metadata import FileMetadata
from segue_conductor.runs.progress_writer import progress_written
from segue_conductor.runs.stage_costs import add_file_cost
from segue_conductor.timeline import Timeline
from segue_runtime import errors
from segue_runtime.artifacts import verified_copy

if TYPE_CHECKING:
    from pathlib import Path

    from segue_composition.services import Services
    from segue_conductor.journal import Journal
    from segue_runtime.settings.sections import ConductorSettings
    from segue_runtime.store import Job

OUTDATED_TAGS: Final = ("REPLAYGAIN_", "R128_", "LOUDNESS_", "ENCODER", "CHAPTER", "CUE_")
"""The prefixes of tags that are wrong after mastering."""
MAX_TAG_BYTES: Final = 4_096


class MasteringRun:
    """Masters one uploaded file."""

    def __init__(self, job: Job, journal: Journal, services: Services, settings: ConductorSettings) -> None:
        request = mastering_pb2.CreateMasterRequest.FromString(job.spec)
        self.name = job.name
        self.limit_s = max(0.0, settings.time_limit_s - job.worked_s)
        self._source = request.source
        self._spec = spec_pb2.CompositionSpec(exports=request.exports, master=request.settings)
        self._claim = Claim(journal, services, job.claims, time.monotonic() + self.limit_s, settings.patience_s)
        self._journal = journal

    async def work(self) -> composition_pb2.State.ValueType:
        """Decode and master the file, and write its exports."""
        began = time.monotonic()
        started = stream_pb2.Started(claims=self._claim.number)
        await self._journal.append(stream_pb2.CompositionEvent(started=started))
        try:
            job = await self._read_upload()
            async with progress_written(self._claim):
                backoff = self._claim.backoff("the master")
                _, outputs = await retry_while_unavailable(lambda: write_master(job), backoff)
        except AudioError as error:
            raise errors.InvalidAudio(str(error)) from error
        await self._journal.append(*(stream_pb2.CompositionEvent(output_ready=output) for output in outputs))
        if self._claim.number == 1:  # a later claim has done a part of it
            await add_file_cost(self._claim.store, MASTERING, self._source, time.monotonic() - began)
        return composition_pb2.STATE_SUCCEEDED

    async def end(self, state: composition_pb2.State.ValueType, error: errors.SegueError | None) -> None:
        """Write the terminal event."""
        delivered = await self._claim.delivered()
        await self._journal.finish(state, error, delivered, composition_pb2.WORK_STAGE_MASTER)

    async def _read_upload(self) -> MasterJob:
        source = await source_ref(self._claim.store, self._source)
        async with verified_copy(self._claim.artifacts, source) as path:
            tags = await asyncio.to_thread(_valid_tags, path)
            if self._journal.checkpoint.draft_finished:
                draft = await recorded_segments(self._claim, audio_pb2.STAGE_DRAFT)
                timeline = Timeline.of_file(draft[0].sample_rate, draft[0].channels, draft[-1].end_frame)
            else:
                timeline = await self._decode(path)
        metadata = FileMetadata({**tags, "ENCODER": f"Segue {version('segue')}"})
        return MasterJob(claim=self._claim, timeline=timeline, spec=self._spec, metadata=metadata)

    async def _decode(self, path: Path) -> Timeline:
        """Decode the file into the draft. It may be hostile: a child process with few rights decodes it."""
        async with DecodedFile(path) as decoded:
            timeline = Timeline.of_file(decoded.sample_rate, decoded.channels, decoded.frames)
            stored = await recorded_segments(self._claim, audio_pb2.STAGE_DRAFT)
            recorder = SegmentRecorder(self._claim, timeline, audio_pb2.STAGE_DRAFT, stored)
            recorder.open_section(0)
            async for block in decoded.blocks():
                await recorder.write(block.tobytes())
            mixed = mixer_pb2.MixFinished(frames=decoded.frames)
        await self._journal.append(
            stream_pb2.CompositionEvent(draft_finished=stream_pb2.DraftFinished(mixed=mixed)),
            checkpoint=replace(self._journal.checkpoint, draft_finished=True),
        )
        return timeline


def _valid_tags(path: Path) -> dict[str, str]:
    """Return the tags of a file that stay valid after mastering."""
    try:
        found = read_tags(path).tags
    except AudioError:
        return {}
    return {
        name: text
        for name, text in found.items()
        if name.isascii()
        and name.isprintable()
        and "=" not in name
        and name
        and len(text.encode()) <= MAX_TAG_BYTES
        and not name.startswith(OUTDATED_TAGS)
    }
