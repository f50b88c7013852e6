"""The run of a composition: plan, draft, master, files, report; from the checkpoint to the terminal event."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any, Final

from segue.audio.v1 import audio_pb2
from segue.composer.v1 import composition_pb2, spec_pb2, stream_pb2
from segue_composition.estimates.piece_work import ANALYZE, MASTER, PLAN, STEMS
from segue_composition.plan_request import plan_request
from segue_composition.section_models import add_option_warnings, models_of, players_of
from segue_conductor.analyzer_call import analyze_master
from segue_conductor.backoff import retry_while_unavailable
from segue_conductor.claim import Claim
from segue_conductor.composition_job import CompositionJob
from segue_conductor.draft.builder import DraftBuilder
from segue_conductor.draft.segments import recorded_segments
from segue_conductor.pool.renderer_pool import ModelReplaced
from segue_conductor.publish.documents import write_lrc, write_manifest, write_midi
from segue_conductor.publish.master import write_master
from segue_conductor.publish.master_job import MasterJob
from segue_conductor.publish.metadata import master_metadata
from segue_conductor.publish.stems import write_separated_stems, write_stems
from segue_conductor.publish.unfinished import write_unfinished_draft
from segue_conductor.render.section_renderer import SectionRenderer
from segue_conductor.runs.progress_writer import progress_written
from segue_conductor.runs.stage_costs import MixCost, cost_measured
from segue_runtime import errors, failpoints, logs

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from segue.analyzer.v1.analyzer_pb2 import Report, Separator
    from segue.renderer.v1.renderer_pb2 import ModelProfile
    from segue_composition.services import Services
    from segue_conductor.journal import Journal
    from segue_conductor.pool.renderer_pool import RendererPool
    from segue_conductor.render.take_store import Take
    from segue_runtime.settings.sections import ConductorSettings
    from segue_runtime.store import Job

AFTER_PLAN: Final = failpoints.declare("conductor.after_plan", "the plan is committed")
BEFORE_FINISH: Final = failpoints.declare("conductor.before_finish", "all files are there, the end is not in the log")
NOT_ANALYZED: Final = "not_analyzed"
"""The code of the degradation of a composition whose master could not be measured."""
log = logs.get("conductor")


class CompositionRun:
    """Makes one composition."""

    def __init__(
        self, job: Job, journal: Journal, services: Services, settings: ConductorSettings, pool: RendererPool
    ) -> None:
        self.name = job.name
        self._journal = journal
        self._spec = spec_pb2.CompositionSpec.FromString(job.spec)
        self._settings = settings
        self._pool = pool
        self._models: dict[str, ModelProfile] = {}
        self._stage = composition_pb2.WORK_STAGE_UNSPECIFIED
        """The present part of the work, where the composition does not show it."""
        self._separator: Separator | None = None
        """What separated the stems; None: nothing did."""
        limit = self._spec.time_limit.ToNanoseconds() / 1e9 if self._spec.HasField("time_limit") else None
        limit_s = settings.time_limit_s if limit is None else limit
        deadline = time.monotonic() + max(0.0, limit_s - job.worked_s)
        self._claim = Claim(journal, services, job.claims, deadline, settings.patience_s, job.models)

    @property
    def limit_s(self) -> float:
        """The rest of the time limit, which counts the time that conductors work on the piece."""
        return self._claim.remaining_s()

    async def work(self) -> composition_pb2.State.ValueType:
        """Make the piece from the checkpoint on."""
        started = stream_pb2.Started(claims=self._claim.number)
        await self._journal.append(stream_pb2.CompositionEvent(started=started))
        async with progress_written(self._claim):
            while True:
                try:
                    return await self._work()
                except ModelReplaced as replaced:
                    # As after a takeover: what is finished stays, the rest is made with the present version.
                    log.warning("the model was replaced", composition=self.name, error=replaced.message)

    async def _work(self) -> composition_pb2.State.ValueType:
        self._stage = composition_pb2.WORK_STAGE_UNSPECIFIED
        self._models = await retry_while_unavailable(self._find_models, self._claim.backoff("the model"))
        job = CompositionJob(
            claim=self._claim,
            spec=self._spec,
            models=self._models,
            pool=self._pool,
            stall_limit_s=self._settings.stall_limit_s,
        )
        if not self._journal.composition.HasField("plan"):
            async with cost_measured(self._claim, PLAN):
                await self._plan(job)
        takes = await self._draft(job)
        await self._publish(job, takes)
        self._stage = composition_pb2.WORK_STAGE_ANALYZE
        await self._analyze(job)
        is_degraded = bool(self._journal.composition.degradations)
        return composition_pb2.STATE_DEGRADED if is_degraded else composition_pb2.STATE_SUCCEEDED

    async def end(self, state: composition_pb2.State.ValueType, error: errors.SegueError | None) -> None:
        """Write the terminal event; after an error, keep the finished part of the draft as a file."""
        if error is not None:
            await self._keep_draft()
        await failpoints.reach(BEFORE_FINISH)
        await self._journal.finish(state, error, await self._claim.delivered(), self._stage)

    async def _plan(self, job: CompositionJob) -> None:
        request = plan_request(self._spec, job.profiles)
        backoff = self._claim.backoff("the plan")
        answer = await retry_while_unavailable(lambda: self._claim.peers.create_plan(request), backoff)
        answer.plan.version = answer.plan.version or 1
        answer.estimate.model = answer.estimate.model or job.profile.model
        add_option_warnings(answer.plan, self._spec, job.profiles)
        planned = stream_pb2.Planned(plan=answer.plan, estimate=answer.estimate)
        await self._journal.append(stream_pb2.CompositionEvent(planned=planned))
        await failpoints.reach(AFTER_PLAN)

    async def _draft(self, job: CompositionJob) -> Mapping[str, Take]:
        """Render and mix at the same time; the first failure ends both."""
        renderer = SectionRenderer(job)
        cost = MixCost(self._claim)

        async def render() -> None:
            await renderer.run()
            cost.rendered()

        async with asyncio.TaskGroup() as group:
            rendering = group.create_task(_error_of(render()))
            mixing = group.create_task(_error_of(DraftBuilder(job, renderer).run()))
            try:
                error = await _first_error(rendering, mixing)
            finally:
                for task in (rendering, mixing):
                    task.cancel()
        if error is not None:
            is_renderers = error is renderer.failure
            self._stage = composition_pb2.WORK_STAGE_RENDER if is_renderers else composition_pb2.WORK_STAGE_MIX
            raise error
        await cost.mixed()
        return renderer.takes

    async def _publish(self, job: CompositionJob, takes: Mapping[str, Take]) -> None:
        self._stage = composition_pb2.WORK_STAGE_MASTER
        keys = {section_id: take.key for section_id, take in takes.items()}
        master = MasterJob(
            claim=self._claim,
            timeline=job.timeline,
            spec=self._spec,
            metadata=master_metadata(job, takes),
            take_keys=keys,
        )
        async with cost_measured(self._claim, MASTER):
            manifest, outputs = await retry_while_unavailable(
                lambda: write_master(master), self._claim.backoff("the master")
            )
        self._stage = composition_pb2.WORK_STAGE_FILES
        if self._spec.stems:
            backoff = self._claim.backoff("the stems")
            async with cost_measured(self._claim, STEMS):
                outputs += await retry_while_unavailable(lambda: self._stems(job, takes), backoff)
        if self._spec.midi:
            outputs.append(await write_midi(job, takes))
        if self._spec.lrc:
            outputs.append(await write_lrc(job))
        outputs.append(await write_manifest(job, manifest, self._separator))
        await self._journal.append(*(stream_pb2.CompositionEvent(output_ready=output) for output in outputs))

    async def _stems(self, job: CompositionJob, takes: Mapping[str, Take]) -> list[composition_pb2.Output]:
        """Write the layers of the takes; of models that give none, stems separated from the draft."""
        if any(take.layers for take in takes.values()):
            return await write_stems(job, takes)
        outputs, self._separator = await write_separated_stems(job)
        return outputs

    async def _analyze(self, job: CompositionJob) -> None:
        """Measure the master. Without an analyzer the composition is degraded, if its policy allows that."""
        try:
            async with cost_measured(self._claim, ANALYZE):
                report = await retry_while_unavailable(lambda: self._report(job), self._claim.backoff("the report"))
        except (errors.Unavailable, errors.TooManyTries) as error:
            text = f"the master was not measured: {error}"
            if self._spec.degradation_policy != spec_pb2.DEGRADATION_POLICY_ALLOW:
                message = f"{text}; the degradation policy is REFUSE"
                raise errors.DegradationRefused(
                    message, metadata={"degradation": NOT_ANALYZED, "reason": error.reason}
                ) from error
            degradation = composition_pb2.Degradation(code=NOT_ANALYZED, text=text)
            await self._journal.append(stream_pb2.CompositionEvent(degraded=degradation))
        else:
            if self._separator is not None:
                report.stems_separator.CopyFrom(self._separator)
            await self._journal.append(stream_pb2.CompositionEvent(analyzed=report))

    async def _report(self, job: CompositionJob) -> Report:
        return await analyze_master(job, await recorded_segments(self._claim, audio_pb2.STAGE_MASTER))

    async def _keep_draft(self) -> None:
        composition = self._journal.composition
        has_master = any(output.kind == composition_pb2.OUTPUT_KIND_MASTER for output in composition.outputs)
        if has_master or not composition.HasField("plan"):
            return
        try:
            draft = await recorded_segments(self._claim, audio_pb2.STAGE_DRAFT)
            outputs = await write_unfinished_draft(self._claim, self._spec, await self._players(), draft)
            if outputs:
                await self._journal.append(*(stream_pb2.CompositionEvent(output_ready=output) for output in outputs))
        except Exception as error:  # noqa: BLE001 - the terminal event must be written, with or without the draft
            log.warning("the draft was not kept", error=str(error))

    async def _find_models(self) -> dict[str, ModelProfile]:
        """Return the models of the piece, its own first: before it is planned, those of a caller's plan."""
        composition = self._journal.composition
        plan = composition.plan if composition.HasField("plan") else self._spec.plan
        profiles = await self._claim.services.models.find_all(models_of(plan.sections, composition.model))
        return {profile.model: profile for profile in profiles}

    async def _players(self) -> list[ModelProfile]:
        """Return the models that render sections; none if they are not known."""
        with contextlib.suppress(errors.SegueError):
            self._models = self._models or await self._find_models()
        profiles = list(self._models.values())
        return players_of(self._journal.composition.plan.sections, profiles) if profiles else []


async def _first_error(*stages: asyncio.Task[errors.SegueError | None]) -> errors.SegueError | None:
    """Wait until all stages have ended or one has failed."""
    for stage in asyncio.as_completed(stages):
        error = await stage
        if error is not None:
            return error
    return None


async def _error_of(stage: Coroutine[Any, Any, None]) -> errors.SegueError | None:
    """Return the error of a stage: a TaskGroup would wrap it into a group of errors."""
    try:
        await stage
    except errors.SegueError as error:
        return error
    return None
