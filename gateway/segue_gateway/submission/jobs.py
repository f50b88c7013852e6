"""Submission: requests are checked, and written into the store as jobs for conductors to claim."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from segue.composer.v1 import analysis_pb2, composition_pb2, mastering_pb2, separation_pb2, spec_pb2, stream_pb2
from segue_composition import log_rows, state
from segue_composition.file_jobs import FILE_JOBS, end_file_job
from segue_composition.job_kinds import ANALYSIS, COMPOSITION, MASTERING, SEPARATION
from segue_composition.plan_request import plan_request
from segue_composition.section_models import add_option_warnings, models_of
from segue_gateway import listing
from segue_gateway.caller import may_reach, owner
from segue_gateway.submission import edits, validation
from segue_runtime import errors, logs, scope
from segue_runtime.store import Delivered, NewEvent, NewJob, not_found
from segue_runtime.store.pool.workload import MAX_JOBS
from segue_runtime.store.queue.limits import QUEUED

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from segue.composer.v1.composition_pb2 import Composition
    from segue.composer.v1.spec_pb2 import CompositionSpec
    from segue.music.v1 import music_pb2
    from segue.planner.v1.planner_pb2 import CreatePlanResponse
    from segue.renderer.v1.renderer_pb2 import ModelProfile
    from segue_composition.services import Services
    from segue_gateway.files import ArtifactFiles
    from segue_gateway.ready_times import ReadyTimes
    from segue_gateway.tenancy import Tenancy
    from segue_runtime.settings import Settings
    from segue_runtime.store import Created, Job
    from segue_runtime.tenants import Priority

ENDING_LEASE_S: Final = 5.0
log = logs.get("gateway")


def _canonical(request_id: str) -> str | None:
    """Return a UUID in lower case: capitals make no other UUID."""
    return request_id.lower() or None


@dataclass(frozen=True)
class CheckedSpec:
    """A complete spec, the models that render it, and the parent's sections with takes to reuse."""

    spec: CompositionSpec
    profiles: Sequence[ModelProfile]
    """The piece's own model is the first. Empty if no model is known yet."""
    kept: Sequence[composition_pb2.Section] = ()
    uploads: Sequence[str] = ()
    """The uploads that the work needs, as its melody and as the sound to imitate."""
    warnings: Sequence[music_pb2.Warning] = ()
    """What the planner says about the caller's plan."""


class Submission:
    """Creates compositions, masterings, analyses and separations."""

    def __init__(
        self,
        settings: Settings,
        services: Services,
        tenancy: Tenancy,
        files: ArtifactFiles,
        ready_times: ReadyTimes,
        draining: asyncio.Event,
    ) -> None:
        self._settings = settings
        self._store = services.store
        self._peers = services.peers
        self._models = services.models
        self._space = services.space
        self._tenancy = tenancy
        self._files = files
        self._ready_times = ready_times
        self._draining = draining

    async def job(self, name: str) -> Job:
        """Return a job that the caller may reach; NotFound for jobs of others, too."""
        job = await self._store.get(name)
        if job is None or not may_reach(job.owner):
            # Callers must not learn which names others have.
            raise not_found(name)
        return job

    async def _own_job(self, name: str) -> Job:
        """Return a job of the caller, from which new work of the caller is made. An admin has none of others."""
        job = await self._store.get(name)
        if job is None or job.owner != owner():
            raise not_found(name)
        return job

    async def plan(self, spec: CompositionSpec) -> CreatePlanResponse:
        """Return the plan and the estimate of a spec; no job is created."""
        checked = await self._check(spec)
        spec = checked.spec
        profiles = checked.profiles
        if not profiles:
            profiles = (await validation.check_composition(spec, self._models, self._peers)).profiles
        answer = await self._peers.create_plan(plan_request(spec, profiles))
        add_option_warnings(answer.plan, spec, profiles)
        await self._ready_times.fill_plan(answer, spec, checked.kept, owner())
        return answer

    async def compose(self, spec: CompositionSpec, request_id: str, *, attached: bool) -> Job:
        """Queue a composition. An attached one is cancelled when its caller disconnects."""
        self._check_open()
        checked = await self._check(spec)
        name = f"compositions/{secrets.token_hex(12)}"
        now = time.time()
        composition = state.new_composition(name, owner(), checked.spec, now, checked.kept)
        composition.model = checked.profiles[0].model if checked.profiles else checked.spec.model
        composition.warnings.extend(checked.warnings)
        composition.priority = _numbered(self._tenancy.priority(spec.priority))
        return await self._enqueue(
            composition,
            COMPOSITION,
            request_id=request_id,
            spec=checked.spec.SerializeToString(),
            spec_digest=validation.spec_digest(spec),
            labels=dict(spec.labels) | ({listing.SESSION_LABEL: spec.session} if spec.session else {}),
            attached_s=self._settings.gateway.attach_grace_s if attached else None,
            uploads=checked.uploads,
            audio_ms=await self._audio_ms(checked.spec, checked.profiles),
        )

    async def end_cancelled(self, job: Job) -> Job:
        """End a cancelled job that no conductor holds; return the job as it is then."""
        claimed = await self._store.claim_one(job.name, "gateway", ENDING_LEASE_S)
        if claimed is None:
            return await self.job(job.name)
        event, resource, audio_s = _cancelled(claimed)
        await self._store.append(
            job.name,
            claimed.epoch,
            [NewEvent(log_rows.EVENT, event)],
            after=claimed.last_row,
            resource=resource,
            state=composition_pb2.State.Name(composition_pb2.STATE_CANCELLED),
            terminal=True,
            delivered=Delivered(audio_s),
        )
        return await self.job(job.name)

    async def retry(self, request: composition_pb2.RetryCompositionRequest) -> Job:
        """Queue the work of a failed or cancelled composition again, with its plan and its finished takes."""
        self._check_open()
        earlier = await self._own_job(request.name)
        failed = composition_pb2.Composition.FromString(earlier.resource)
        validation.check_retry(failed, is_composition=earlier.kind == COMPOSITION)
        spec = spec_pb2.CompositionSpec.FromString(earlier.spec)
        uploads = await self._check_guides(spec)
        spec.parent = failed.name
        spec.ClearField("edits")  # the plan contains them
        if failed.HasField("plan"):
            spec.plan.CopyFrom(failed.plan)
        kept = edits.kept_sections(failed, {each.section_id: each.section_id for each in failed.sections})
        name = f"compositions/{secrets.token_hex(12)}"
        composition = state.new_composition(name, owner(), spec, time.time(), kept)
        composition.model = failed.model
        composition.priority = _numbered(self._tenancy.priority(spec.priority))
        profiles = await self._retried_profiles(failed, spec)
        return await self._enqueue(
            composition,
            COMPOSITION,
            request_id=request.request_id,
            spec=spec.SerializeToString(),
            spec_digest=f"retry of {failed.name}".encode(),
            labels=dict(earlier.labels),
            uploads=uploads,
            audio_ms=await self._audio_ms(spec, profiles),
        )

    async def master(self, request: mastering_pb2.CreateMasterRequest) -> Job:
        """Queue the mastering of an upload."""
        self._check_open()
        validation.check_master(request)
        await self._files.source(owner(), request.source)
        name = f"compositions/{secrets.token_hex(12)}"
        mastering = state.new_composition(name, owner(), spec_pb2.CompositionSpec(), time.time())
        mastering.priority = _numbered(self._tenancy.priority())
        return await self._enqueue(
            mastering,
            MASTERING,
            request_id=request.request_id,
            spec=request.SerializeToString(),
            spec_digest=validation.request_digest(request),
            uploads=_uploads(request.source),
        )

    async def analyze(self, request: analysis_pb2.CreateAnalysisRequest) -> Job:
        """Queue an analysis of an upload, an output or a take."""
        self._check_open()
        await self._files.check_measurable(owner(), request.source)
        analysis = analysis_pb2.Analysis(
            name=f"analyses/{secrets.token_hex(12)}", source=request.source, state=composition_pb2.STATE_QUEUED
        )
        log_rows.set_time(analysis.create_time, time.time())
        digest = f"{request.source}{' tracks' if request.find_tracks else ''}".encode()
        return await self._enqueue_file(analysis, ANALYSIS, request.request_id, digest, request.SerializeToString())

    async def separate(self, request: separation_pb2.CreateSeparationRequest) -> Job:
        """Queue a separation of an upload, an output or a take."""
        self._check_open()
        validation.check_separation(request)
        await self._files.check_measurable(owner(), request.source)
        separation = separation_pb2.Separation(
            name=f"separations/{secrets.token_hex(12)}",
            owner=owner(),
            source=request.source,
            state=composition_pb2.STATE_QUEUED,
        )
        log_rows.set_time(separation.create_time, time.time())
        digest = validation.request_digest(request)
        return await self._enqueue_file(separation, SEPARATION, request.request_id, digest, request.SerializeToString())

    async def _enqueue_file(
        self,
        resource: analysis_pb2.Analysis | separation_pb2.Separation,
        kind: str,
        request_id: str,
        spec_digest: bytes,
        spec: bytes,
    ) -> Job:
        created = await self._create(
            NewJob(
                name=resource.name,
                kind=kind,
                owner=owner(),
                request_id=_canonical(request_id),
                spec_digest=spec_digest,
                spec=spec,
                resource=resource.SerializeToString(),
                state=composition_pb2.State.Name(resource.state),
                upload=next(iter(_uploads(resource.source)), None),
                priority=self._tenancy.priority(),
            )
        )
        return created.job

    async def _check(self, spec: CompositionSpec) -> CheckedSpec:
        """Check a spec. Edits of a parent become a complete spec."""
        if not spec.parent:
            sources = await self._check_guides(spec)
            accepted = await self._accepted(spec)
            return CheckedSpec(spec, accepted.profiles, uploads=sources, warnings=accepted.warnings)
        job = await self._own_job(spec.parent)
        if job.kind != COMPOSITION:
            raise edits.no_plan(spec.parent)
        parent = composition_pb2.Composition.FromString(job.resource)
        revision = edits.revise(spec, parent, spec_pb2.CompositionSpec.FromString(job.spec))
        uploads: Sequence[str] = ()
        if len(revision.kept) < len(revision.spec.plan.sections):
            uploads = await self._check_guides(revision.spec)
        fields = validation.model_fields(spec)
        accepted = await validation.check_composition(revision.spec, self._models, self._peers, fields)
        self._tenancy.check_models(profile.model for profile in accepted.profiles)
        filled = await self._peers.create_plan(plan_request(revision.spec, accepted.profiles, revision.prompted))
        revision.spec.plan.CopyFrom(edits.restore_untouched(filled.plan, parent, revision.kept))
        kept = edits.kept_sections(parent, revision.kept)
        return CheckedSpec(revision.spec, accepted.profiles, kept, uploads, filled.plan.warnings)

    async def _accepted(self, spec: CompositionSpec) -> validation.Acceptance:
        """Check a spec; return its models and warnings, or no models if it can wait for a renderer."""
        try:
            accepted = await validation.check_composition(spec, self._models, self._peers)
        except errors.NoRenderer:
            if validation.needs_renderer(spec) or self._tenancy.needs_models:
                raise
            return validation.Acceptance()
        self._tenancy.check_models(profile.model for profile in accepted.profiles)
        return accepted

    async def _retried_profiles(self, failed: Composition, spec: CompositionSpec) -> Sequence[ModelProfile]:
        """Return the models of a retry, which were checked for the first try; none if no limit needs them."""
        if not self._tenancy.needs_models:
            return ()
        profiles = await self._models.find_all(models_of(spec.plan.sections, failed.model))
        self._tenancy.check_models(profile.model for profile in profiles)
        return profiles

    async def _audio_ms(self, spec: CompositionSpec, profiles: Sequence[ModelProfile]) -> int:
        """Return the length of a piece; 0 if nothing limits it. Only the planner knows it for a prompt."""
        if not self._tenancy.counts_audio:
            return 0
        plan = (await self._peers.create_plan(plan_request(spec, profiles))).plan
        return -(-plan.frames * 1000 // plan.sample_rate)

    async def _check_guides(self, spec: CompositionSpec) -> Sequence[str]:
        """Check that the files of melody and timbre exist; return the uploads among them."""
        sources = [source for source in (spec.melody.source, spec.timbre_source) if source]
        for source in sources:
            await self._files.source(owner(), source)
        return _uploads(*sources)

    async def _enqueue(
        self, composition: Composition, kind: str, *, request_id: str, uploads: Sequence[str], **more: Any
    ) -> Job:
        upload, second_upload = [*uploads, None, None][:2]
        first = [
            stream_pb2.CompositionEvent(accepted=stream_pb2.Accepted(composition=composition)),
            *(stream_pb2.CompositionEvent(warned=warning) for warning in composition.warnings),
        ]
        created = await self._create(
            NewJob(
                name=composition.name,
                kind=kind,
                owner=owner(),
                request_id=_canonical(request_id),
                resource=composition.SerializeToString(),
                state=composition_pb2.State.Name(composition.state),
                first_events=[NewEvent(log_rows.EVENT, event.SerializeToString()) for event in first],
                priority=composition.priority,
                upload=upload,
                second_upload=second_upload,
                **more,
            )
        )
        # Prompts are never logged; the size gives an idea of the request.
        log.info("created", composition=created.job.name, new=created.is_new, spec_bytes=len(more["spec"]))
        return created.job

    async def _create(self, job: NewJob) -> Created:
        here = scope.current()
        call_id, models = here.request_id if here else None, self._tenancy.tenant.models
        job = replace(job, call_id=call_id, share=self._tenancy.share, models=models)
        try:
            return await self._store.create(job, queue_limit=self._settings.queue.limit)
        except errors.QueueFull as error:
            retry_s = await self._ready_times.retry_after_s()
            text = f"{error.message}; try again in {retry_s:.0f} s"
            raise errors.QueueFull(text, metadata=error.metadata, retry_after_s=retry_s) from error
        except errors.QuotaExceeded as error:
            if error.metadata["unit"] == QUEUED:
                error.retry_after_s = await self._own_retry_s()
            raise

    async def _own_retry_s(self) -> float:
        """Return in how many seconds a job of the caller will probably leave the queue."""
        queued = composition_pb2.State.Name(composition_pb2.STATE_QUEUED)
        waiting = await self._store.list(owner(), (COMPOSITION,), states=(queued,), limit=MAX_JOBS)
        return await self._ready_times.retry_after_s({job.name for job in waiting.jobs})

    def _check_open(self) -> None:
        """Refuse new work while the server stops, or the disk is nearly full."""
        if self._draining.is_set():
            raise errors.ShuttingDown("this server is stopping; try again", retry_after_s=2)
        self._space.check()


def _cancelled(job: Job) -> tuple[bytes, bytes, float]:
    """Return the terminal event of a cancelled job, its resource after it, and the length of its draft."""
    final, reason = composition_pb2.STATE_CANCELLED, errors.CancelledByUser(f"{job.name} was cancelled")
    if job.kind in FILE_JOBS:  # its log has no content
        resource = FILE_JOBS[job.kind].FromString(job.resource)
        end_file_job(resource, final, reason, time.time())
        return b"", resource.SerializeToString(), 0.0
    composition = composition_pb2.Composition.FromString(job.resource)
    event = state.finished_event(composition, final, reason, time.time())
    last = event.finished.composition
    return event.SerializeToString(), last.SerializeToString(), state.audio_seconds(last)


def _numbered(priority: Priority) -> spec_pb2.Priority.ValueType:
    """Return a priority as the contract has it."""
    return spec_pb2.Priority.ValueType(int(priority))


def _uploads(*sources: str) -> Sequence[str]:
    """Return the uploads among sources, each once."""
    return list(dict.fromkeys(source for source in sources if source.startswith("uploads/")))
