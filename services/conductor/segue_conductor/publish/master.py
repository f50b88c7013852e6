"""The two passes of the master over the stored draft; the second is recorded and encoded while it comes."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from segue.audio.v1 import audio_pb2
from segue.composer.v1 import spec_pb2, stream_pb2
from segue.mixer.v1 import mixer_pb2
from segue_conductor.mix.segments import Recorder, places_of, recorded
from segue_runtime import errors, failpoints
from segue_runtime.rpc.chunks import cut, f32le
from segue_runtime.rpc.duplex import exchange

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from segue_composition.log_rows import Segment
    from segue_conductor.composition_job import Bench
    from segue_conductor.publish.exports import Exports
    from segue_conductor.render.take_store import Take

AFTER_MEASURE: Final = failpoints.declare("conductor.after_measure", "the master's first pass is committed")
AFTER_MASTER: Final = failpoints.declare("conductor.after_master", "the master is recorded, its files are not")


def frozen(
    kept: spec_pb2.FrozenMaster, measured: mixer_pb2.MasterMeasurement, section_ids: Sequence[str]
) -> mixer_pb2.MasterMeasurement:
    """Return a frozen measurement, with the gains of those sections that it does not know from a new one."""
    gains_db = dict(zip(section_ids, measured.section_gains_db, strict=False))
    gains_db |= dict(zip(kept.section_ids, kept.measurement.section_gains_db, strict=False))
    found = mixer_pb2.MasterMeasurement()
    found.CopyFrom(kept.measurement)
    del found.section_gains_db[:]
    found.section_gains_db.extend(gains_db[section_id] for section_id in section_ids if section_id in gains_db)
    return found


class Mastering:
    """The master of one composition."""

    def __init__(self, context: Bench, takes: Mapping[str, Take]) -> None:
        self._context = context
        self._takes = takes

    async def run(self, exports: Exports) -> mixer_pb2.MasterFinished:
        """Measure, render, and hand the master's sound to the exports."""
        draft = await recorded(self._context.store, self._context.journal.name, audio_pb2.STAGE_DRAFT)
        measurement = await self._measurement(draft)
        await exports.open(measurement)
        finished = await self._render(draft, measurement, exports)
        await failpoints.reach(AFTER_MASTER)
        await self._context.journal.say(
            stream_pb2.CompositionEvent(master_made=stream_pb2.MasterMade(measurement=measurement, finished=finished))
        )
        return finished

    async def _measurement(self, draft: Sequence[Segment]) -> mixer_pb2.MasterMeasurement:
        journal = self._context.journal
        key = f"{self._context.folder}/measurement"
        if journal.checkpoint.measured:
            return mixer_pb2.MasterMeasurement.FromString(await self._context.artifacts.get(key))
        measured = await self._measure(draft)
        await self._context.artifacts.put(key, measured.SerializeToString(), replace=True)
        await journal.say(checkpoint=replace(journal.checkpoint, measured=True))
        await failpoints.reach(AFTER_MEASURE)
        return measured

    async def _measure(self, draft: Sequence[Segment]) -> mixer_pb2.MasterMeasurement:
        spec = self._context.spec
        start = self._start(mixer_pb2.MASTER_PASS_MEASURE, draft)
        names = [section.section_id for section in start.sections]
        if spec.HasField("frozen_master") and set(names) <= set(spec.frozen_master.section_ids):
            return frozen(spec.frozen_master, mixer_pb2.MasterMeasurement(), names)
        kept = spec.frozen_master.measurement.settings
        start.settings.CopyFrom(kept if spec.HasField("frozen_master") else spec.master)
        measured: mixer_pb2.MasterMeasurement | None = None
        async for response in self._call(start, draft):
            if response.WhichOneof("message") == "measured":
                measured = response.measured
        if measured is None:
            raise errors.ServiceUnreachable("the mixer ended without a measurement", metadata={"service": "mixer"})
        if spec.HasField("frozen_master"):
            return frozen(spec.frozen_master, measured, names)
        return measured

    async def _render(
        self, draft: Sequence[Segment], measurement: mixer_pb2.MasterMeasurement, exports: Exports
    ) -> mixer_pb2.MasterFinished:
        places = places_of(self._context.plan)
        recorder = Recorder(
            self._context.journal,
            self._context.artifacts,
            audio_pb2.STAGE_MASTER,
            places,
            self._takes,
            await recorded(self._context.store, self._context.journal.name, audio_pb2.STAGE_MASTER),
            sample_rate=self._context.plan.sample_rate,
            channels=self._context.channels,
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
            raise errors.ServiceUnreachable("the mixer ended without a master", metadata={"service": "mixer"})
        return finished

    def _start(self, which: mixer_pb2.MasterPass.ValueType, draft: Sequence[Segment]) -> mixer_pb2.MasterStart:
        context = self._context
        start = mixer_pb2.MasterStart(
            format=audio_pb2.AudioFormat(
                sample_rate=context.plan.sample_rate,
                channels=context.channels,
                sample_format=audio_pb2.SAMPLE_FORMAT_F32LE,
            ),
            frames=draft[-1].end_frame,
        )
        setattr(start, "pass", which)
        for place, section in zip(places_of(context.plan), context.plan.sections, strict=True):
            item = start.sections.add(section_id=place.section_id, first_frame=place.first_frame, frames=place.frames)
            if section.spec.HasField("target_lufs"):
                item.target_lufs = section.spec.target_lufs
        return start

    async def _call(
        self, start: mixer_pb2.MasterStart, draft: Sequence[Segment]
    ) -> AsyncIterator[mixer_pb2.MasterResponse]:
        answers = exchange(
            self._context.peers.mixer.Master,
            self._requests(start, draft),
            service="mixer",
            timeout_s=self._context.remaining_s(),
        )
        async with contextlib.aclosing(answers):
            async for response in answers:
                yield response

    async def _requests(
        self, start: mixer_pb2.MasterStart, draft: Sequence[Segment]
    ) -> AsyncIterator[mixer_pb2.MasterRequest]:
        yield mixer_pb2.MasterRequest(start=start)
        for segment in draft:
            # The master is made of the draft; a damaged disk must not go unnoticed into it.
            audio = await self._context.artifacts.read_all(segment.ref)
            for piece in cut(audio, f32le(segment.sample_rate, segment.channels), segment.first_frame):
                yield mixer_pb2.MasterRequest(audio=piece)
