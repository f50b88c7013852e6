"""Renders the sections of a plan: in the order of their dependencies, several at once, each until it has a take."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from segue.composer.v1 import stream_pb2
from segue.music.v1 import music_pb2
from segue.renderer.v1 import renderer_pb2
from segue_composition import state
from segue_composition.model_catalog import key_of
from segue_composition.section_models import follows_file, made_s
from segue_composition.stages import RENDERED
from segue_conductor.pool.renderer_pool import is_renderers_fault
from segue_conductor.render.degradation import degrade, left_out_sections
from segue_conductor.render.guides import Guide, Guides
from segue_conductor.render.renderer_call import RendererCall
from segue_conductor.render.section_retry import RetryPolicy
from segue_conductor.render.take_bounds import BoundsCheck
from segue_conductor.render.take_clips import read_conditioning, read_following
from segue_conductor.render.take_inputs import TakeInputs, needs_conditioning, overlap_frames, seed_of
from segue_conductor.render.take_store import Take, TakeStore
from segue_runtime import errors, failpoints, logs
from segue_runtime.store.pool.records import WaitingSection

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Mapping

    from segue.composer.v1.composition_pb2 import Section
    from segue.music.v1.music_pb2 import PlannedSection
    from segue.renderer.v1.renderer_pb2 import ModelProfile
    from segue_conductor.backoff import Backoff
    from segue_conductor.composition_job import CompositionJob
    from segue_conductor.pool.renderer_pool import RendererSlot
    from segue_runtime.store.pool.records import LinePlace

BEFORE_SECTION: Final = failpoints.declare("conductor.before_section", "a section is about to be rendered")
AFTER_TAKE: Final = failpoints.declare("conductor.after_take", "a take is complete but not in the log")
AFTER_SECTION: Final = failpoints.declare("conductor.after_section", "the end of a section is in the log")
MAX_IN_LINE: Final = 16
"""How many sections of one piece wait or are rendered at once: their inputs are in memory."""
log = logs.get("conductor")


class SectionLeftOut(Exception):  # noqa: N818 - as in the error tree
    """The piece goes on without this section."""

    def __init__(self, section_id: str) -> None:
        super().__init__(section_id)
        self.section_id = section_id


class SectionRenderer:
    """The takes of one composition. `run` renders them while the mixer waits for them."""

    def __init__(self, job: CompositionJob) -> None:
        self._job = job
        self._section_ids = [item.spec.section_id for item in job.plan.sections]
        self._take_store = TakeStore(job.claim.artifacts, job.composition.owner)
        self._takes: dict[str, Take] = {}
        self._rendered: dict[str, asyncio.Event] = {section_id: asyncio.Event() for section_id in self._section_ids}
        # Sections that wait for others may enter the line later than the ones after them.
        self._entered = [asyncio.Event() for _ in self._section_ids]
        self._changed = asyncio.Event()
        self.failure: BaseException | None = None
        """The error that ended the rendering."""
        self._left_out: set[str] = set()
        self._degrading = asyncio.Lock()
        self._guides = Guides(job, self._takes)
        self._bounds = BoundsCheck(job)

    async def run(self) -> None:
        """Render all sections; end with the first error that is not retried."""
        line = asyncio.Semaphore(MAX_IN_LINE)
        try:
            async with self._guides, asyncio.TaskGroup() as group:
                for index in range(len(self._section_ids)):
                    group.create_task(self._render_when_due(index, line))
        except* Exception as failures:  # noqa: BLE001 - any error must reach the readers that wait for takes
            self.failure = failures.exceptions[0]
            self._notify()
            raise failures.exceptions[0] from None

    @property
    def takes(self) -> Mapping[str, Take]:
        """The present takes, by section id."""
        return self._takes

    def take_key(self, section_id: str) -> str:
        """Return the key of a section's present take; empty without one."""
        take = self._takes.get(section_id)
        return take.key if take else ""

    async def take(self, section_id: str) -> Take:
        """Wait for a section's take, which may still grow.

        Raise SectionLeftOut if it was given up, and the error that ended the rendering.
        """
        while section_id not in self._takes or section_id in self._left_out:
            if section_id in self._left_out:
                raise SectionLeftOut(section_id)
            await self._wait_for_change()
        return self._takes[section_id]

    async def wait_after(self, section_id: str, failed: Take) -> None:
        """Wait until another take replaces a failed one, or the section is given up."""
        while self._takes.get(section_id) is failed and section_id not in self._left_out:
            await self._wait_for_change()

    def leave_out(self, section_id: str) -> None:
        """Forget a section that the plan does not have any more; those that waited for it are rendered now."""
        self._takes.pop(section_id, None)
        self._rendered[section_id].set()

    async def _wait_for_change(self) -> None:
        if self.failure is not None:
            raise self.failure
        await self._changed.wait()

    async def _render_when_due(self, index: int, line: asyncio.Semaphore) -> None:
        section_id = self._section_ids[index]
        waits_for = self._section(section_id).waits_for
        if waits_for:
            self._entered[index].set()
        for other in waits_for:
            await self._rendered[other].wait()
        async with line:
            is_rendered = await self._render_or_degrade(index)
        self._entered[index].set()
        if is_rendered:
            self._rendered[section_id].set()

    def _section(self, section_id: str) -> PlannedSection:
        """Return a section of the present plan."""
        return self._job.plan.sections[self._job.index_of(section_id)]

    async def _render_or_degrade(self, index: int) -> bool:
        """Give a section its take, by another model if it must be; return False if the piece goes on without it."""
        section_id = self._section_ids[index]
        while section_id not in left_out_sections(self._job.composition):
            try:
                await self._render(index)
            except errors.SegueError as error:
                error.metadata.setdefault("section_id", section_id)
                async with self._degrading:
                    await degrade(self._job, self._section(section_id).spec, error)
            else:
                return True
        self._left_out.add(section_id)
        self._notify()
        return False

    async def _render(self, index: int) -> None:
        """Give a section its take: a known one, or a new one after as many attempts as the retry policy allows."""
        section_id = self._section_ids[index]
        section = self._section(section_id)
        if await self._use_known_take(section):
            return
        inputs = await self._inputs(section)
        backoff = self._job.claim.backoff(section_id, {"section_id": section_id})
        policy = RetryPolicy(seed_of(self._job.plan, section), backoff)
        absence = self._job.claim.backoff(f"{section_id}, which waits for a renderer")
        excluded: set[str] = set()
        attempt, announced = 1, 0
        while attempt := await self._use_stored_takes(inputs, attempt, policy):
            take = self._take_store.new(inputs.key(policy.seed))
            renderer = ""
            for earlier in self._entered[:index]:
                await earlier.wait()  # the listener hears it first
            try:
                async with backoff.turn(), self._lease(index, inputs, excluded, absence) as slot:
                    renderer = slot.lease.renderer
                    if attempt > announced:
                        await self._report_started(inputs, take, attempt)
                        announced = attempt
                    await self._fill(take, slot, self._request(inputs, policy.seed, attempt), inputs, attempt)
            except errors.SegueError as error:
                retry = policy.after(error, accepted=take.accepted is not None)
                if is_renderers_fault(error):
                    excluded.add(renderer)
                if retry.is_attempt:
                    await self._report_retry(section, attempt, error, policy.seed)
                    attempt += 1
                await asyncio.sleep(retry.delay_s)
            else:
                if not self._bounds.is_wanted or await self._accept(inputs, take, attempt, policy, reused=False):
                    return
                attempt += 1

    def _lease(
        self, index: int, inputs: TakeInputs, excluded: set[str], absence: Backoff
    ) -> contextlib.AbstractAsyncContextManager[RendererSlot]:
        """Wait in the line for a slot; sections that the listener needs sooner come first."""
        spec, journal = inputs.section.spec, self._job.journal
        start = journal.composition.start_time.ToNanoseconds() / 1e9
        first_s = inputs.section.first_frame / self._job.plan.sample_rate
        waiting = WaitingSection(
            job=journal.name,
            epoch=journal.epoch,
            section_id=spec.section_id,
            key=key_of(inputs.profile),
            due_in_s=start + first_s - time.time(),
            audio_s=made_s(spec, inputs.profile),
            excluded=frozenset(excluded),
        )

        def report(place: LinePlace) -> None:
            progress = stream_pb2.SectionProgress(section_id=spec.section_id, queue_position=place.position)
            if place.wait_s is not None:
                progress.queue_wait.FromNanoseconds(round(place.wait_s * 1e9))
            self._job.claim.progress.set(progress)

        return self._job.pool.lease(waiting, self._entered[index], absence, report)

    async def _use_known_take(self, section: PlannedSection) -> bool:
        """Use the take that an earlier claim has finished, or the parent's take of an unedited section."""
        known = state.section_of(self._job.composition, section.spec.section_id)
        take = await self._known_take(known, stems=self._wants_stems(self._job.profile_of(section.spec)))
        if take is None:
            return False
        # The event comes before the mixer has the take: a section is first rendered, then joined.
        if known.state not in RENDERED:
            await self._report_finished(section, take, 1, reused=True)
        self._set_take(section, take)
        return True

    def _wants_stems(self, profile: ModelProfile) -> bool:
        return self._job.spec.stems and bool(profile.layers)

    async def _known_take(self, known: Section, *, stems: bool) -> Take | None:
        is_ours = known.state in RENDERED
        if not known.take or (known.attempt and not is_ours):
            return None
        take = await self._take_store.find(known.take, stems=stems)
        if take is None and not is_ours:
            await self._warn(
                known.section_id,
                "take_gone",
                "the parent's take no longer exists, or has no stems; the section is rendered again",
            )
        return take

    async def _use_stored_takes(self, inputs: TakeInputs, attempt: int, policy: RetryPolicy) -> int:
        """Use a take that another composition of the same owner has made, or an earlier claim.

        Return 0 if one is used, or else the number of the attempt at a new one.
        """
        stems = self._wants_stems(inputs.profile)
        while found := await self._take_store.find(inputs.key(policy.seed), stems=stems):
            if await self._accept(inputs, found, attempt, policy, reused=True):
                return 0
            attempt += 1
        return attempt

    async def _accept(self, inputs: TakeInputs, take: Take, attempt: int, policy: RetryPolicy, *, reused: bool) -> bool:
        """Use a complete take; return False if it is out of bounds and the section must be rendered again."""
        section_id = inputs.section.spec.section_id
        missed = await self._bounds.miss(inputs, take)
        if missed is not None:
            if self._bounds.may_redo(state.section_of(self._job.composition, section_id).redos):
                await self._report_retry(inputs.section, attempt, missed, policy.redo(), redo=True)
                return False
            await self._warn(section_id, "out_of_bounds", missed.message)
        await self._report_finished(inputs.section, take, attempt, reused=reused, inputs=inputs)
        self._set_take(inputs.section, take)
        return True

    async def _report_started(self, inputs: TakeInputs, take: Take, attempt: int) -> None:
        started = stream_pb2.SectionStarted(
            section_id=inputs.section.spec.section_id, attempt=attempt, model=inputs.profile.model, take=take.key
        )
        await self._job.journal.append(stream_pb2.CompositionEvent(section_started=started))

    async def _fill(
        self, take: Take, slot: RendererSlot, request: renderer_pb2.RenderStart, inputs: TakeInputs, attempt: int
    ) -> None:
        """Render into a take; after any error the take fails, so that its readers do not wait for more."""
        await failpoints.reach(BEFORE_SECTION)
        if not self._bounds.is_wanted:
            self._set_take(inputs.section, take)
        try:
            await RendererCall(self._job, slot, take, request, inputs).run()
            await failpoints.reach(AFTER_TAKE)
            if not self._bounds.is_wanted:
                await self._report_finished(inputs.section, take, attempt, reused=False, inputs=inputs)
        except BaseException as error:
            await take.fail(str(error))
            raise

    def _request(self, inputs: TakeInputs, seed: int, attempt: int) -> renderer_pb2.RenderStart:
        spec = music_pb2.SectionSpec()
        spec.CopyFrom(inputs.section.spec)
        if not inputs.profile.uses_lyrics:
            spec.ClearField("lyrics")  # the plan has a warning
        return renderer_pb2.RenderStart(
            spec=spec,
            model=inputs.profile.model,
            seed=seed,
            take_key=inputs.key(seed),
            attempt=attempt,
            stems=self._wants_stems(inputs.profile),
            # A later composition may use the take and want its notes.
            notes=inputs.profile.gives_notes,
            overlap_frames=inputs.overlap_frames,
            conditioning_frames=inputs.conditioning_frames,
            following_frames=inputs.following_frames,
            owner=self._job.composition.owner,
            guide_frames=inputs.guide.frames,
            guide_band=inputs.guide.is_band,
            guide_kind=inputs.guide.kind,
        )

    async def _inputs(self, section: PlannedSection) -> TakeInputs:
        index = self._job.index_of(section.spec.section_id)
        profile = self._job.profile_of(section.spec)
        conditioning = b""
        rate = profile.sample_rate or section.spec.sample_rate
        if needs_conditioning(self._job, index):
            before = self._takes[self._job.plan.sections[index - 1].spec.section_id]
            conditioning = await read_conditioning(before, profile, rate)
        return TakeInputs(
            section=section,
            profile=profile,
            conditioning=conditioning,
            following=await self._following(index, profile, rate),
            guide=await self._guide(section, profile),
            overlap_frames=overlap_frames(self._job, index),
        )

    async def _following(self, index: int, profile: ModelProfile, sample_rate: int) -> bytes:
        """Return the start of the next section, if that keeps its take and the model can lead into it."""
        sections = self._job.plan.sections[index + 1 :]
        if not sections or not profile.HasField("following"):
            return b""
        known = state.section_of(self._job.composition, sections[0].spec.section_id)
        after = await self._take_store.find(known.take, stems=False) if known.kept else None
        if after is None:
            return b""
        return await read_following(after, known.shift_frames / self._job.plan.sample_rate, profile, sample_rate)

    async def _guide(self, section: PlannedSection, profile: ModelProfile) -> Guide:
        guide = await self._guides.guide(section, profile)
        if follows_file(self._job.spec, profile) and not guide.frames:
            await self._warn(section.spec.section_id, "melody_ended", "the melody's file ends before this section")
        return guide

    async def _warn(self, section_id: str, code: str, text: str) -> None:
        warning = music_pb2.Warning(code=code, text=text, section_id=section_id)
        await self._job.journal.append(stream_pb2.CompositionEvent(warned=warning))

    async def _report_retry(
        self, section: PlannedSection, attempt: int, error: errors.SegueError, seed: int, *, redo: bool = False
    ) -> None:
        section_id = section.spec.section_id
        text = "a take is out of bounds, rendering again" if redo else "section failed, retrying"
        log.warning(text, section=section_id, attempt=attempt, reason=error.reason)
        planned = next(item for item in self._job.plan.sections if item.spec.section_id == section_id)
        retried = stream_pb2.SectionRetried(
            section_id=section_id,
            attempt=attempt,
            error=errors.to_status(error, ""),
            seed=seed if seed != seed_of(self._job.plan, planned) else None,
            redo=redo,
        )
        await self._job.journal.append(stream_pb2.CompositionEvent(section_retried=retried))

    async def _report_finished(
        self, section: PlannedSection, take: Take, attempt: int, *, reused: bool, inputs: TakeInputs | None = None
    ) -> None:
        rendered = renderer_pb2.RenderFinished()
        rendered.CopyFrom(await take.wait_finished())
        rendered.warnings.extend(inputs.unused(rendered) if inputs else ())
        for warning in rendered.warnings:
            # Another section, or the same one under an earlier name, may have made the take.
            warning.section_id = section.spec.section_id
        finished = stream_pb2.SectionFinished(
            section_id=section.spec.section_id,
            attempt=attempt,
            take=take.key,
            reused=reused,
            frames=rendered.frames,
            rendered=rendered,
        )
        await self._job.journal.append_progress(stream_pb2.CompositionEvent(section_finished=finished))
        await failpoints.reach(AFTER_SECTION)

    def _set_take(self, section: PlannedSection, take: Take) -> None:
        self._takes[section.spec.section_id] = take
        self._notify()

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
