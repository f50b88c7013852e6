"""Mixes the draft: sends takes to the mixer in order and records its audio; continues at the last checkpoint."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from segue.audio.v1 import audio_pb2
from segue.composer.v1 import stream_pb2
from segue_composition import state
from segue_conductor.draft.beats import BeatPlacement, measure_beats, needs_beats
from segue_conductor.draft.requests import mix_start, mixer_state, take_requests
from segue_conductor.draft.segments import SegmentRecorder, recorded_segments
from segue_conductor.render.take_store import TakeFailed
from segue_runtime import errors, failpoints
from segue_runtime.rpc.duplex import exchange

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from segue.mixer.v1 import mixer_pb2
    from segue_conductor.composition_job import CompositionJob
    from segue_conductor.render.section_renderer import SectionRenderer
    from segue_conductor.render.take_store import Take

AFTER_JOIN: Final = failpoints.declare("conductor.after_join", "a section is joined and its checkpoint committed")


class DraftBuilder:
    """The draft of one composition."""

    def __init__(self, job: CompositionJob, renderer: SectionRenderer) -> None:
        self._job = job
        self._renderer = renderer
        self._sections = list(job.plan.sections)
        self._failed_take: tuple[int, Take] | None = None
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
            except TakeFailed:
                # Rendering retries the section or ends; in that case take_after raises its error.
                if self._failed_take is not None:
                    await self._renderer.take_after(*self._failed_take)
            except errors.Unavailable as error:
                await self._backoff.wait(error)

    async def _wait_for_take(self) -> None:
        """Wait for the next section's whole take: others wait while this mix has its turn."""
        index = min(self._job.journal.checkpoint.joined, len(self._sections) - 1)
        self._failed_take = (index, await self._renderer.take(index))
        await self._failed_take[1].wait_finished()

    async def _mix(self) -> None:
        """Make one call to the mixer, from the checkpoint to the end of the piece."""
        checkpoint = self._job.journal.checkpoint
        stored = await recorded_segments(self._job.claim, audio_pb2.STAGE_DRAFT, checkpoint.sequence)
        recorder = SegmentRecorder(
            self._job.claim, self._job.timeline, audio_pb2.STAGE_DRAFT, stored, self._renderer.take_key
        )
        if checkpoint.joined < len(self._sections):
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
        resume_after = self._sections[first - 1].spec.section_id if first else ""
        yield mix_start(self._job, resume_after)
        if first:
            content = await self._job.claim.artifacts.get(self._job.journal.checkpoint.mixer_state)
            for request in mixer_state(resume_after, content):
                yield request
        for index in range(first, len(self._sections)):
            take = await self._renderer.take(index)
            try:
                placement = await self._placement(index, take)
                async for request in take_requests(self._sections[index], take, placement):
                    yield request
            except TakeFailed:
                self._failed_take = (index, take)
                raise

    async def _placement(self, index: int, take: Take) -> BeatPlacement:
        section = self._sections[index]
        if not await needs_beats(section, take):
            return BeatPlacement()
        known = state.section_of(self._job.composition, section.spec.section_id)
        return BeatPlacement(
            # An earlier shift stays; the measured beats then only place the next section.
            shift_frames=known.shift_frames if known.HasField("shift_frames") else None,
            measure=partial(measure_beats, self._job, section, take),
            # The first section is heard while it is rendered; nothing before it gives a beat to place it on.
            measure_last=index == 0,
        )
