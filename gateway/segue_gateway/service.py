"""ComposerService, the API for users. It writes requests into the store and reads streams out of it."""

from __future__ import annotations

import time
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

from segue.composer.v1 import (
    analysis_pb2,
    composer_pb2,
    composer_pb2_grpc,
    composition_pb2,
    files_pb2,
    mastering_pb2,
    separation_pb2,
    stream_pb2,
    usage_pb2,
)
from segue_composition import log_rows, state
from segue_composition.job_kinds import ANALYSIS, COMPOSITION, MASTERING, SEPARATION
from segue_composition.model_statuses import model_statuses
from segue_gateway import listing
from segue_gateway.caller import ANYBODY, check_reach, owner
from segue_gateway.files import ArtifactFiles
from segue_gateway.ready_times import ReadyTimes
from segue_gateway.seal import Seal
from segue_gateway.submission.jobs import Submission
from segue_gateway.tenancy import Tenancy
from segue_gateway.uploads import UploadFiles
from segue_gateway.usage import UsageDays
from segue_gateway.watch import cursor as cursors
from segue_gateway.watch.streams import WatchStreams
from segue_runtime import errors
from segue_runtime.accounting import audit

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Mapping

    import grpc.aio

    from segue.composer.v1.composition_pb2 import Composition
    from segue_composition.services import Services
    from segue_runtime.metrics import Metrics
    from segue_runtime.settings import Settings
    from segue_runtime.store import Job
    from segue_runtime.tenants import TenantTable

    Context = grpc.aio.ServicerContext[Any, Any]

SERVICE: Final = "segue.composer.v1.ComposerService"


class ComposerService(composer_pb2_grpc.ComposerServiceServicer):
    """The gateway. It shares only the store and the artifacts with conductors."""

    def __init__(
        self, settings: Settings, services: Services, tenants: TenantTable, draining: asyncio.Event, metrics: Metrics
    ) -> None:
        self._queue_limit = settings.queue.limit
        self._store = services.store
        self._artifacts = services.artifacts
        self._models = services.models
        self._draining = draining
        self._start_time = time.monotonic()
        self._files = ArtifactFiles(services)
        self._uploads = UploadFiles(settings, services, Tenancy(tenants))
        self._ready_times = ReadyTimes(settings, services.store)
        self._submission = Submission(settings, services, Tenancy(tenants), self._files, self._ready_times, draining)
        self._seal = Seal(services.store.token_key)
        self._page_tokens = listing.PageTokens(self._seal)
        self._usage = UsageDays(services.store, self._seal)
        self._streams = WatchStreams(settings.gateway, services, self._seal, self._ready_times, draining, metrics)

    # Compositions.

    async def Compose(self, request: stream_pb2.ComposeRequest, context: Context) -> None:  # type: ignore[override]  # it writes messages instead of yielding them
        """Create a composition and watch it to its end."""
        cancels = request.disconnect_policy == stream_pb2.DISCONNECT_POLICY_CANCEL
        with audit.change("create") as change:
            job = await self._submission.compose(request.spec, request.request_id, attached=cancels)
            change.name, change.of = job.name, job.owner
        await self._streams.send(context, job, cursors.START, request)
        ended = composition_pb2.Composition.FromString((await self._submission.job(job.name)).resource)
        if ended.state in {composition_pb2.STATE_FAILED, composition_pb2.STATE_CANCELLED}:
            raise errors.from_status(ended.error)

    async def CreateComposition(
        self, request: composition_pb2.CreateCompositionRequest, context: Context
    ) -> composition_pb2.CreateCompositionResponse:
        """Create a composition."""
        with audit.change("create") as change:
            job = await self._submission.compose(request.spec, request.request_id, attached=False)
            change.name, change.of = job.name, job.owner
        return composition_pb2.CreateCompositionResponse(composition=await self._composition(job))

    async def GetComposition(
        self, request: composition_pb2.GetCompositionRequest, context: Context
    ) -> composition_pb2.GetCompositionResponse:
        """Return a composition."""
        return composition_pb2.GetCompositionResponse(
            composition=await self._composition(await self._submission.job(request.name))
        )

    async def ListCompositions(
        self, request: composition_pb2.ListCompositionsRequest, context: Context
    ) -> composition_pb2.ListCompositionsResponse:
        """Return a page of compositions."""
        narrowed = listing.parse_filter(request.filter)
        page = await self._store.list(
            _listed_owner(narrowed, "ListCompositions"),
            (COMPOSITION, MASTERING),
            states=narrowed.states,
            labels=narrowed.labels,
            limit=listing.page_size(request.page_size),
            after=self._page_tokens.decode(request.page_token, owner(), request.filter),
        )
        positions = await self._store.queue_positions([job.name for job in page.jobs if job.is_waiting])
        return composition_pb2.ListCompositionsResponse(
            compositions=[state.brief_view(await self._composition(job, positions)) for job in page.jobs],
            next_page_token=self._page_tokens.encode(page.after, owner(), request.filter),
        )

    async def WatchComposition(self, request: stream_pb2.WatchCompositionRequest, context: Context) -> None:  # type: ignore[override]  # it writes messages instead of yielding them
        """Send the events of a composition, past and future."""
        job = await self._submission.job(request.name)
        start = cursors.decode(request.cursor, job.name, self._seal)
        at_end = start.sequence == job.last_sequence and not start.frames and start.stamp in {0, job.last_stamp}
        if job.is_finished and at_end:
            # Nothing can follow: the last event is sent again, so that the stream ends as any other.
            start = cursors.Cursor(job.last_sequence - 1)
        await self._streams.send(context, job, start, request)

    async def CancelComposition(
        self, request: composition_pb2.CancelCompositionRequest, context: Context
    ) -> composition_pb2.CancelCompositionResponse:
        """Request the cancellation of a composition."""
        job = await self._cancel(request.name, "CancelComposition")
        return composition_pb2.CancelCompositionResponse(composition=await self._composition(job))

    async def RetryComposition(
        self, request: composition_pb2.RetryCompositionRequest, context: Context
    ) -> composition_pb2.RetryCompositionResponse:
        """Create a composition from a failed or cancelled one."""
        with audit.change("retry", request.name) as change:
            job = await self._submission.retry(request)
            change.made, change.of = job.name, job.owner
        return composition_pb2.RetryCompositionResponse(composition=await self._composition(job))

    async def DeleteComposition(
        self, request: composition_pb2.DeleteCompositionRequest, context: Context
    ) -> composition_pb2.DeleteCompositionResponse:
        """Delete a finished composition with its files. A conductor deletes the takes that no other one needs."""
        await self._delete(request.name)
        return composition_pb2.DeleteCompositionResponse()

    async def PlanComposition(
        self, request: composition_pb2.PlanCompositionRequest, context: Context
    ) -> composition_pb2.PlanCompositionResponse:
        """Return the plan and the estimate of a spec."""
        answer = await self._submission.plan(request.spec)
        return composition_pb2.PlanCompositionResponse(plan=answer.plan, estimate=answer.estimate)

    # Files.

    async def DownloadArtifact(
        self, request: files_pb2.DownloadArtifactRequest, context: Context
    ) -> AsyncIterator[files_pb2.DownloadArtifactResponse]:
        """Send a file or a range of it."""
        async for response in self._files.download(request):
            yield response

    async def GetArtifactUrl(
        self, request: files_pb2.GetArtifactUrlRequest, context: Context
    ) -> files_pb2.GetArtifactUrlResponse:
        """Return a URL of a file for a limited time."""
        with audit.change("share", request.name):
            return await self._files.url(request)

    async def CreateUpload(
        self, request: files_pb2.CreateUploadRequest, context: Context
    ) -> files_pb2.CreateUploadResponse:
        """Open an upload."""
        with audit.change("create") as change:
            upload = await self._uploads.create(owner(), request.media_type, request.size_bytes)
            change.name = upload.name
        return files_pb2.CreateUploadResponse(upload=upload)

    async def WriteUpload(
        self, request: files_pb2.WriteUploadRequest, context: Context
    ) -> files_pb2.WriteUploadResponse:
        """Append bytes to an upload."""
        with audit.change("write", request.upload, only_refusals=True):
            return files_pb2.WriteUploadResponse(upload=await self._uploads.write(owner(), request))

    async def FinishUpload(
        self, request: files_pb2.FinishUploadRequest, context: Context
    ) -> files_pb2.FinishUploadResponse:
        """Close an upload."""
        with audit.change("finish", request.upload):
            upload = await self._uploads.finish(owner(), request.upload, request.sha256)
        return files_pb2.FinishUploadResponse(upload=upload)

    async def ListUploads(
        self, request: files_pb2.ListUploadsRequest, context: Context
    ) -> files_pb2.ListUploadsResponse:
        """Return a page of uploads."""
        narrowed = listing.parse_upload_filter(request.filter)
        return await self._uploads.list(owner(), _listed_owner(narrowed, "ListUploads"), request)

    async def DeleteUpload(
        self, request: files_pb2.DeleteUploadRequest, context: Context
    ) -> files_pb2.DeleteUploadResponse:
        """Delete an upload that no unfinished job needs."""
        with audit.change("delete", request.upload):
            await self._uploads.delete(request.upload)
        return files_pb2.DeleteUploadResponse()

    # Analyses and masterings.

    async def CreateAnalysis(
        self, request: analysis_pb2.CreateAnalysisRequest, context: Context
    ) -> analysis_pb2.CreateAnalysisResponse:
        """Queue an analysis."""
        with audit.change("create") as change:
            job = await self._submission.analyze(request)
            change.name, change.of = job.name, job.owner
        return analysis_pb2.CreateAnalysisResponse(analysis=await self._analysis(job))

    async def GetAnalysis(
        self, request: analysis_pb2.GetAnalysisRequest, context: Context
    ) -> analysis_pb2.GetAnalysisResponse:
        """Return an analysis."""
        job = await self._submission.job(request.name)
        return analysis_pb2.GetAnalysisResponse(analysis=await self._analysis(job))

    async def WatchAnalysis(
        self, request: analysis_pb2.WatchAnalysisRequest, context: Context
    ) -> AsyncIterator[analysis_pb2.WatchAnalysisResponse]:
        """Send an analysis after each change."""
        async for job in self._changes(request.name):
            yield analysis_pb2.WatchAnalysisResponse(analysis=await self._analysis(job))

    async def ListAnalyses(
        self, request: analysis_pb2.ListAnalysesRequest, context: Context
    ) -> analysis_pb2.ListAnalysesResponse:
        """Return a page of analyses."""
        query = listing.ANALYSES + request.filter
        narrowed = listing.parse_file_job_filter(request.filter)
        page = await self._store.list(
            _listed_owner(narrowed, "ListAnalyses"),
            (ANALYSIS,),
            states=narrowed.states,
            limit=listing.page_size(request.page_size),
            after=self._page_tokens.decode(request.page_token, owner(), query),
        )
        found = [await self._analysis(job) for job in page.jobs]
        for analysis in found:
            analysis.ClearField("report")
        return analysis_pb2.ListAnalysesResponse(
            analyses=found, next_page_token=self._page_tokens.encode(page.after, owner(), query)
        )

    async def CancelAnalysis(
        self, request: analysis_pb2.CancelAnalysisRequest, context: Context
    ) -> analysis_pb2.CancelAnalysisResponse:
        """Request the cancellation of an analysis."""
        job = await self._cancel(request.name, "CancelAnalysis")
        return analysis_pb2.CancelAnalysisResponse(analysis=await self._analysis(job))

    async def CreateMaster(
        self, request: mastering_pb2.CreateMasterRequest, context: Context
    ) -> mastering_pb2.CreateMasterResponse:
        """Queue the mastering of an upload."""
        with audit.change("create") as change:
            job = await self._submission.master(request)
            change.name, change.of = job.name, job.owner
        return mastering_pb2.CreateMasterResponse(composition=await self._composition(job))

    async def CreateSeparation(
        self, request: separation_pb2.CreateSeparationRequest, context: Context
    ) -> separation_pb2.CreateSeparationResponse:
        """Queue a separation."""
        with audit.change("create") as change:
            job = await self._submission.separate(request)
            change.name, change.of = job.name, job.owner
        return separation_pb2.CreateSeparationResponse(separation=await self._separation(job))

    async def GetSeparation(
        self, request: separation_pb2.GetSeparationRequest, context: Context
    ) -> separation_pb2.GetSeparationResponse:
        """Return a separation."""
        job = await self._submission.job(request.name)
        return separation_pb2.GetSeparationResponse(separation=await self._separation(job))

    async def WatchSeparation(
        self, request: separation_pb2.WatchSeparationRequest, context: Context
    ) -> AsyncIterator[separation_pb2.WatchSeparationResponse]:
        """Send a separation after each change."""
        async for job in self._changes(request.name):
            yield separation_pb2.WatchSeparationResponse(separation=await self._separation(job))

    async def ListSeparations(
        self, request: separation_pb2.ListSeparationsRequest, context: Context
    ) -> separation_pb2.ListSeparationsResponse:
        """Return a page of separations."""
        query = listing.SEPARATIONS + request.filter
        narrowed = listing.parse_file_job_filter(request.filter)
        page = await self._store.list(
            _listed_owner(narrowed, "ListSeparations"),
            (SEPARATION,),
            states=narrowed.states,
            limit=listing.page_size(request.page_size),
            after=self._page_tokens.decode(request.page_token, owner(), query),
        )
        return separation_pb2.ListSeparationsResponse(
            separations=[await self._separation(job) for job in page.jobs],
            next_page_token=self._page_tokens.encode(page.after, owner(), query),
        )

    async def CancelSeparation(
        self, request: separation_pb2.CancelSeparationRequest, context: Context
    ) -> separation_pb2.CancelSeparationResponse:
        """Request the cancellation of a separation."""
        job = await self._cancel(request.name, "CancelSeparation")
        return separation_pb2.CancelSeparationResponse(separation=await self._separation(job))

    async def DeleteSeparation(
        self, request: separation_pb2.DeleteSeparationRequest, context: Context
    ) -> separation_pb2.DeleteSeparationResponse:
        """Delete a finished separation with its files."""
        await self._delete(request.name)
        return separation_pb2.DeleteSeparationResponse()

    # The service.

    async def ListModels(
        self, request: composer_pb2.ListModelsRequest, context: Context
    ) -> composer_pb2.ListModelsResponse:
        """Return the available models with their states."""
        models = await self._models.profiles()
        statuses = model_statuses(models, await self._models.statuses())
        return composer_pb2.ListModelsResponse(models=models, statuses=statuses)

    async def GetStats(self, request: composer_pb2.GetStatsRequest, context: Context) -> composer_pb2.GetStatsResponse:
        """Return the load of the server."""
        depth = (await self._store.depths()).get(COMPOSITION)
        stats = composer_pb2.GetStatsResponse(
            version=metadata.version("segue"),
            queued=depth.waiting if depth else 0,
            running=depth.running if depth else 0,
            queue_limit=self._queue_limit,
            watchers=self._streams.num_watchers,
            renderers=await self._models.statuses(),
        )
        stats.uptime.FromNanoseconds(round((time.monotonic() - self._start_time) * 1e9))
        return stats

    async def GetUsage(self, request: usage_pb2.GetUsageRequest, context: Context) -> usage_pb2.GetUsageResponse:
        """Return what an owner has used, by day."""
        return await self._usage.get(owner(), request)

    async def _cancel(self, name: str, call: str) -> Job:
        """Cancel a job of the caller. One that never ran ends at once."""
        with audit.change("cancel", name) as change:
            change.of = (await self._submission.job(name)).owner
            job = await self._store.request_cancel(name, call)
            if job.is_waiting and job.started is None:
                job = await self._submission.end_cancelled(job)
            return job

    async def _delete(self, name: str) -> None:
        """Delete a finished job of the caller with its files."""
        with audit.change("delete", name) as change:
            job = await self._submission.job(name)
            change.of = job.owner
            if job.cancel_reason is not None:
                job = await self._submission.end_cancelled(job)
            if job.is_finished:
                # The files go first: an interruption must not leave files without a job.
                await self._artifacts.delete_prefix(name)
            await self._store.delete(name)

    async def _changes(self, name: str) -> AsyncIterator[Job]:
        """Yield a job of the caller as it is, and after each change until its end."""
        job = await self._submission.job(name)
        while True:
            yield job
            if job.is_finished:
                return
            seen = job.last_sequence
            while job.last_sequence == seen and not job.is_finished:
                if self._draining.is_set():
                    raise errors.ShuttingDown("this server is stopping; watch it again", retry_after_s=1)
                await self._store.wait(name, seen, 1.0)
                job = await self._submission.job(name)

    async def _separation(self, job: Job) -> separation_pb2.Separation:
        separation = separation_pb2.Separation.FromString(job.resource)
        if not job.is_finished:
            await self._ready_times.fill(separation.ready_in, job.name, job.kind)
        if job.expires is not None:
            log_rows.set_time(separation.expire_time, job.expires)
        return separation

    async def _analysis(self, job: Job) -> analysis_pb2.Analysis:
        analysis = analysis_pb2.Analysis.FromString(job.resource)
        analysis.owner = job.owner
        if not job.is_finished:
            await self._ready_times.fill(analysis.ready_in, job.name, job.kind)
        return analysis

    async def _composition(self, job: Job, positions: Mapping[str, int] | None = None) -> Composition:
        composition = composition_pb2.Composition.FromString(job.resource)
        if job.is_waiting:
            found = await self._store.queue_positions([job.name]) if positions is None else positions
            composition.queue_position = found.get(job.name, 0)
        elif not job.is_finished:
            composition.waiting_for = log_rows.waiting_for(await self._store.progress(job.name))
        if not job.is_finished:
            await self._ready_times.fill(composition.ready_in, job.name, job.kind)
        if job.expires is not None:
            log_rows.set_time(composition.expire_time, job.expires)
        return composition


def _listed_owner(narrowed: listing.ListFilter, method: str) -> str | None:
    """Return whose work a list shows: the caller's, or for admins that of an owner, or of all (None)."""
    asked = narrowed.owner or owner()
    check_reach(asked, method)
    return None if asked == ANYBODY else asked
