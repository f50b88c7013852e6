"""The two passes of the master over the stored draft; the second is recorded and exported while it is rendered."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from segue.audio.v1 import audio_pb2
from segue.composer.v1 import composition_pb2, spec_pb2, stream_pb2
from segue.mixer.v1 import mixer_pb2
from segue_conductor.draft.segments import SegmentRecorder, recorded_segments
from segue_conductor.publish.audio_outputs import open_audio_outputs
from segue_conductor.publish.exports import MasterExports
from segue_runtime import errors, failpoints
from segue_runtime.rpc.chunks import MESH_CHUNK_BYTES, cut, f32le
from segue_runtime.rpc.duplex import exchange

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from segue_composition.log_rows import Segment
    from segue_conductor.publish.master_job import MasterJob

AFTER_MEASURE: Final = failpoints.declare("conductor.after_measure", "the master's first pass is committed")
AFTER_MASTER: Final = failpoints.declare("conductor.after_master", "the master is recorded, its files are not")


async def write_master(job: MasterJob) -> tuple[str, list[composition_pb2.Output]]:
    """Make the master; return its manifest and its files. Repeating this gives the same bytes."""
    async with open_audio_outputs(job.claim.artifacts) as outputs:
        exports = MasterExports(job, outputs)
        finished = await MasterPasses(job).run(exports)
        return exports.manifest, await exports.finish(finished)


class MasterPasses:
    """The master of one draft."""

    def __init__(self, job: MasterJob) -> None:
        self._job = job
        self._claim = job.claim

    async def run(self, exports: MasterExports) -> mixer_pb2.MasterFinished:
        """Measure the draft, render the master, and write its audio to the exports."""
        draft = await recorded_segments(self._claim, audio_pb2.STAGE_DRAFT)
        measurement = await self._measurement(draft)
        await exports.open(measurement)
        finished = await self._render(draft, measurement, exports)
        await failpoints.reach(AFTER_MASTER)
        await self._claim.journal.append(
            stream_pb2.CompositionEvent(master_made=stream_pb2.MasterMade(measurement=measurement, finished=finished))
        )
        return finished

    async def _measurement(self, draft: Sequence[Segment]) -> mixer_pb2.MasterMeasurement:
        """Return the measurement of an earlier claim, or measure and store it."""
        journal = self._claim.journal
        key = self._claim.key("measurement")
        if journal.checkpoint.measured:
            return mixer_pb2.MasterMeasurement.FromString(await self._claim.artifacts.get(key))
        measured = await self._measure(draft)
        await self._claim.artifacts.put(key, measured.SerializeToString(), replace=True)
        await journal.append(checkpoint=replace(journal.checkpoint, measured=True))
        await failpoints.reach(AFTER_MEASURE)
        return measured

    async def _measure(self, draft: Sequence[Segment]) -> mixer_pb2.MasterMeasurement:
        spec = self._job.spec
        section_ids = [section.section_id for section in self._job.timeline.sections]
        if spec.HasField("frozen_master") and set(section_ids) <= set(spec.frozen_master.section_ids):
            return merge_frozen(spec.frozen_master, mixer_pb2.MasterMeasurement(), section_ids)
        start = self._start(mixer_pb2.MASTER_PASS_MEASURE, draft)
        frozen_settings = spec.frozen_master.measurement.settings
        start.settings.CopyFrom(frozen_settings if spec.HasField("frozen_master") else spec.master)
        measured: mixer_pb2.MasterMeasurement | None = None
        async for response in self._call(start, draft):
            if response.WhichOneof("message") == "measured":
                measured = response.measured
        if measured is None:
            raise errors.RoleLost("the mixer ended without a measurement", metadata={"service": "mixer"})
        if spec.HasField("frozen_master"):
            return merge_frozen(spec.frozen_master, measured, section_ids)
        return measured

    async def _render(
        self, draft: Sequence[Segment], measurement: mixer_pb2.MasterMeasurement, exports: MasterExports
    ) -> mixer_pb2.MasterFinished:
        stored = await recorded_segments(self._claim, audio_pb2.STAGE_MASTER)
        recorder = SegmentRecorder(
            self._claim,
            self._job.timeline,
            audio_pb2.STAGE_MASTER,
            stored,
            lambda section_id: self._job.take_keys.get(section_id, ""),
        )
        recorder.open_section(0)
        start = self._start(mixer_pb2.MASTER_PASS_RENDER, draft)
        start.measurement.CopyFrom(measurement)
        finished: mixer_pb2.MasterFinished | None = None
        async for response in self._call(start, draft):
            kind = response.WhichOneof("message")
            if kind == "audio":
                await recorder.write(response.audio.data)
                await exports.write(response.audio.data)
            elif kind == "finished":
                finished = response.finished
        if finished is None:
            raise errors.RoleLost("the mixer ended without a master", metadata={"service": "mixer"})
        return finished

    def _start(self, which: mixer_pb2.MasterPass.ValueType, draft: Sequence[Segment]) -> mixer_pb2.MasterStart:
        timeline = self._job.timeline
        start = mixer_pb2.MasterStart(format=timeline.audio_format, frames=draft[-1].end_frame)
        setattr(start, "pass", which)
        for section in timeline.sections:
            start.sections.add(
                section_id=section.section_id,
                first_frame=section.first_frame,
                frames=section.frames,
                target_lufs=section.target_lufs,
            )
        return start

    async def _call(
        self, start: mixer_pb2.MasterStart, draft: Sequence[Segment]
    ) -> AsyncIterator[mixer_pb2.MasterResponse]:
        answers = exchange(
            self._claim.peers.mixer.Master,
            self._requests(start, draft),
            service="mixer",
            timeout_s=self._claim.remaining_s(),
        )
        async with contextlib.aclosing(answers):
            async for response in answers:
                self._claim.progress.answered("mixer")
                yield response

    async def _requests(
        self, start: mixer_pb2.MasterStart, draft: Sequence[Segment]
    ) -> AsyncIterator[mixer_pb2.MasterRequest]:
        yield mixer_pb2.MasterRequest(start=start)
        for segment in draft:
            # The read checks the digest: bytes that a disk has damaged must not get into the master.
            audio = await self._claim.artifacts.read(segment.ref)
            sound = f32le(segment.sample_rate, segment.channels)
            for piece in cut(audio, sound, segment.first_frame, most_bytes=MESH_CHUNK_BYTES):
                yield mixer_pb2.MasterRequest(audio=piece)


def merge_frozen(
    frozen: spec_pb2.FrozenMaster, measured: mixer_pb2.MasterMeasurement, section_ids: Sequence[str]
) -> mixer_pb2.MasterMeasurement:
    """Return a frozen measurement, with the measured gains of sections that it does not contain."""
    gains_db = dict(zip(section_ids, measured.section_gains_db, strict=False))
    gains_db |= dict(zip(frozen.section_ids, frozen.measurement.section_gains_db, strict=False))
    merged = mixer_pb2.MasterMeasurement()
    merged.CopyFrom(frozen.measurement)
    del merged.section_gains_db[:]
    merged.section_gains_db.extend(gains_db[section_id] for section_id in section_ids if section_id in gains_db)
    return merged
