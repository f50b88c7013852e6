"""Mixes the draft: sends takes to the mixer in order and records its audio; continues at the last checkpoint."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from segue.audio.v1 import audio_pb2
from segue.composer.v1 import stream_pb2
from segue_composition import state
from segue_conductor.checkpoint import JobCheckpoint
from segue_conductor.draft.beats import BeatPlacement, measure_beats, needs_beats
from segue_conductor.draft.requests import mix_start, mixer_state, take_requests
from segue_conductor.draft.segments import SegmentRecorder, recorded_segments
from segue_conductor.render.degradation import without_section
from segue_conductor.render.section_renderer import SectionLeftOut
from segue_conductor.render.take_store import TakeFailed
from segue_runtime import errors, failpoints
from segue_runtime.rpc.duplex import exchange

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from segue.mixer.v1 import mixer_pb2
    from segue.music.v1.music_pb2 import PlannedSection
    from segue_conductor.composition_job import CompositionJob
    from segue_conductor.render.section_renderer import SectionRenderer
    from segue_conductor.render.take_store import Take

AFTER_LEAVING_OUT: Final = failpoints.declare("conductor.after_leaving_out", "a section is gone from the plan")
AFTER_JOIN: Final = failpoints.declare("conductor.after_join", "a section is joined and its checkpoint committed")


class DraftBuilder:
    """The draft of one composition."""

    def __init__(self, job: CompositionJob, renderer: SectionRenderer) -> None:
        self._job = job
        self._renderer = renderer
        self._failed_take: tuple[str, Take] | None = None
        self._mixed: mixer_pb2.SectionMixed | None = None
        self._state_so_far = bytearray()
        self._backoff = job.claim.backoff("the draft")

    async def run(self) -> None:
        """Mix to the end of the piece."""
        while not self._job.journal.checkpoint.draft_finished:
            try:
                if self._backoff.num_losses:
                    await self._wait_for_take()
                async with self._backoff.turn():
                    await self._mix()
            except SectionLeftOut as left_out:
                await self._leave_out(left_out.section_id)
            except TakeFailed:
                # Rendering retries the section or ends; in that case take_after raises its error.
                if self._failed_take is not None:
                    await self._renderer.wait_after(*self._failed_take)
            except errors.Unavailable as error:
                await self._backoff.wait(error)

    async def _wait_for_take(self) -> None:
        """Wait for the next section's whole take: others wait while this mix has its turn."""
        sections = self._job.plan.sections
        section_id = sections[min(self._job.journal.checkpoint.joined, len(sections) - 1)].spec.section_id
        self._failed_take = (section_id, await self._renderer.take(section_id))
        await self._failed_take[1].wait_finished()

    async def _leave_out(self, section_id: str) -> None:
        """Go on with a plan without a section, from the first section on: audio that stays the same is not sent again.

        The section before may be the last one now, which ends otherwise.
        """
        section = self._job.plan.sections[self._job.index_of(section_id)]
        plan = without_section(self._job.plan, section_id)
        events = [stream_pb2.CompositionEvent(replanned=stream_pb2.Replanned(plan=plan))]
        stored = await recorded_segments(self._job.claim, audio_pb2.STAGE_DRAFT)
        heard = [segment for segment in stored if segment.section_id == section_id]
        if heard:
            rewound = stream_pb2.DraftRewound(
                first_frame=section.first_frame,
                section_id=section_id,
                attempt=heard[-1].attempt + 1,
                stage=audio_pb2.STAGE_DRAFT,
            )
            events.append(stream_pb2.CompositionEvent(draft_rewound=rewound))
        await self._job.journal.append(*events, checkpoint=JobCheckpoint())
        await failpoints.reach(AFTER_LEAVING_OUT)
        self._renderer.leave_out(section_id)

    async def _mix(self) -> None:
        """Make one call to the mixer, from the checkpoint to the end of the piece."""
        checkpoint = self._job.journal.checkpoint
        stored = await recorded_segments(self._job.claim, audio_pb2.STAGE_DRAFT, checkpoint.sequence)
        recorder = SegmentRecorder(
            self._job.claim, self._job.timeline, audio_pb2.STAGE_DRAFT, stored, self._renderer.take_key
        )
        if checkpoint.joined < len(self._job.plan.sections):
            recorder.open_section(checkpoint.joined)
        self._mixed, self._state_so_far = None, bytearray()
        answers = exchange(
            self._job.claim.peers.mixer.Mix,
            self._requests(checkpoint.joined),
            service="mixer",
            timeout_s=self._job.claim.remaining_s(),
        )
        async with contextlib.aclosing(answers):
            async for response in answers:
                self._job.claim.progress.answered("mixer")
                await self._receive(response, recorder)
        if not self._job.journal.checkpoint.draft_finished:
            raise errors.RoleLost("the mixer ended early", metadata={"service": "mixer"})

    async def _receive(self, response: mixer_pb2.MixResponse, recorder: SegmentRecorder) -> None:
        kind = response.WhichOneof("message")
        if kind == "audio":
            if not response.audio.layer:
                await recorder.write(response.audio.data)
                if recorder.has_new:
                    await self._backoff.progressed()
        elif kind == "section_mixed":
            self._mixed = response.section_mixed
            self._state_so_far.clear()
        elif kind == "checkpoint":
            self._state_so_far += response.checkpoint.data
            if response.checkpoint.last and self._mixed is not None:
                await self._commit_join(self._mixed, bytes(self._state_so_far))
        elif kind == "finished":
            await self._commit_draft(response.finished)

    async def _commit_join(self, mixed: mixer_pb2.SectionMixed, content: bytes) -> None:
        journal = self._job.journal
        key = self._job.claim.key(f"mixer/{mixed.section_id}-{journal.epoch}")
        await self._job.claim.artifacts.put(key, content, replace=True)
        await journal.append(
            stream_pb2.CompositionEvent(section_mixed=mixed),
            checkpoint=replace(
                journal.checkpoint,
                joined=journal.checkpoint.joined + 1,
                mixer_state=key,
                # Every row of the log belongs to joined sections now.
                sequence=journal.sequence,
            ),
        )
        await failpoints.reach(AFTER_JOIN)

    async def _commit_draft(self, finished: mixer_pb2.MixFinished) -> None:
        journal, planned = self._job.journal, self._job.plan.frames
        if finished.frames != planned:
            raise errors.InternalError(f"the draft has {finished.frames} frames, the plan {planned}")
        await journal.append(
            stream_pb2.CompositionEvent(draft_finished=stream_pb2.DraftFinished(mixed=finished)),
            checkpoint=replace(journal.checkpoint, draft_finished=True),
        )

    async def _requests(self, first: int) -> AsyncIterator[mixer_pb2.MixRequest]:
        sections = list(self._job.plan.sections)
        resume_after = sections[first - 1].spec.section_id if first else ""
        yield mix_start(self._job, resume_after)
        if first:
            content = await self._job.claim.artifacts.get(self._job.journal.checkpoint.mixer_state)
            for request in mixer_state(resume_after, content):
                yield request
        for section in sections[first:]:
            section_id = section.spec.section_id
            take = await self._renderer.take(section_id)
            try:
                placement = await self._placement(section, take, is_first=section is sections[0])
                async for request in take_requests(section, take, placement):
                    yield request
            except TakeFailed:
                self._failed_take = (section_id, take)
                raise

    async def _placement(self, section: PlannedSection, take: Take, *, is_first: bool) -> BeatPlacement:
        if not await needs_beats(section, take):
            return BeatPlacement()
        known = state.section_of(self._job.composition, section.spec.section_id)
        return BeatPlacement(
            # An earlier shift stays; the measured beats then only place the next section.
            shift_frames=known.shift_frames if known.HasField("shift_frames") else None,
            measure=partial(measure_beats, self._job, section, take),
            # The first section is heard while it is rendered; nothing before it gives a beat to place it on.
            measure_last=is_first,
        )
