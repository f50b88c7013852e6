"""ComposerService: the edge that users call. It writes requests into the store and reads streams out of it."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

from segue.composer.v1 import composer_pb2, composer_pb2_grpc
from segue_gateway import acceptance, listing, log_rows, resource
from segue_gateway import cursor as cursors
from segue_gateway.kinds import ANALYSIS, COMPOSITION, MASTERING
from segue_gateway.watching import Watch, WatchOptions
from segue_runtime import errors, logs, scope
from segue_runtime.store import NewEvent, NewJob, not_found

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import grpc.aio

    from segue.composer.v1.composer_pb2 import Composition, CompositionEvent, CompositionSpec
    from segue_gateway.files import Files
    from segue_gateway.pool import Mesh
    from segue_runtime.artifacts import ArtifactStore
    from segue_runtime.metrics import Metrics
    from segue_runtime.settings import Settings
    from segue_runtime.store import Job, Store

    Context = grpc.aio.ServicerContext[Any, Any]

SERVICE: Final = "segue.composer.v1.ComposerService"
ATTACH_EVERY_S: Final = 5.0
log = logs.get("gateway")


class ComposerService(composer_pb2_grpc.ComposerServiceServicer):
    """The gateway. It shares nothing with conductors but store and artifacts."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        artifacts: ArtifactStore,
        files: Files,
        mesh: Mesh,
        draining: asyncio.Event,
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._store = store
        self._artifacts = artifacts
        self._files = files
        self._mesh = mesh
        self._draining = draining
        self._began = time.monotonic()
        self._num_watchers = 0
        self._metrics = metrics

    # Compositions.

    async def Compose(self, request: composer_pb2.ComposeRequest, context: Context) -> None:  # type: ignore[override]  # it writes instead of yielding
        """Create and watch."""
        cancels = request.disconnect_policy == composer_pb2.DISCONNECT_POLICY_CANCEL
        job = await self._create(request.spec, request.request_id, attached=cancels)
        await self._stream(context, job.name, cursors.START, request, composer_pb2.ComposeResponse)
        ended = await self._composition(job.name)
        if ended.state in {composer_pb2.STATE_FAILED, composer_pb2.STATE_CANCELLED}:
            raise errors.from_status(ended.error)

    async def CreateComposition(
        self, request: composer_pb2.CreateCompositionRequest, context: Context
    ) -> composer_pb2.CreateCompositionResponse:
        """Create."""
        job = await self._create(request.spec, request.request_id, attached=False)
        return composer_pb2.CreateCompositionResponse(composition=await self._live(job))

    async def GetComposition(
        self, request: composer_pb2.GetCompositionRequest, context: Context
    ) -> composer_pb2.GetCompositionResponse:
        """Return one as it stands."""
        return composer_pb2.GetCompositionResponse(composition=await self._live(await self._job(request.name)))

    async def ListCompositions(
        self, request: composer_pb2.ListCompositionsRequest, context: Context
    ) -> composer_pb2.ListCompositionsResponse:
        """Return a page."""
        narrowed = listing.parse_filter(request.filter)
        page = await self._store.list(
            _owner(),
            (COMPOSITION, MASTERING),
            states=narrowed.states,
            labels=narrowed.labels,
            limit=listing.page_size(request.page_size),
            after=listing.decode_token(request.page_token, request.filter),
        )
        return composer_pb2.ListCompositionsResponse(
            compositions=[resource.brief_view(await self._live(job)) for job in page.jobs],
            next_page_token=listing.encode_token(page.after, request.filter),
        )

    async def WatchComposition(self, request: composer_pb2.WatchCompositionRequest, context: Context) -> None:  # type: ignore[override]  # it writes instead of yielding
        """Send what happened and what happens."""
        job = await self._job(request.name)
        start = cursors.decode(request.cursor, job.name)
        await self._stream(context, job.name, start, request, composer_pb2.WatchCompositionResponse)

    async def CancelComposition(
        self, request: composer_pb2.CancelCompositionRequest, context: Context
    ) -> composer_pb2.CancelCompositionResponse:
        """Ask one to stop."""
        await self._job(request.name)
        job = await self._store.request_cancel(request.name, "CancelComposition")
        return composer_pb2.CancelCompositionResponse(composition=await self._live(job))

    async def DeleteComposition(
        self, request: composer_pb2.DeleteCompositionRequest, context: Context
    ) -> composer_pb2.DeleteCompositionResponse:
        """Remove a finished one with its files; its takes stay for others of the same owner."""
        await self._job(request.name)
        await self._store.delete(request.name)
        await self._artifacts.delete_prefix(request.name)
        return composer_pb2.DeleteCompositionResponse()

    async def PlanComposition(
        self, request: composer_pb2.PlanCompositionRequest, context: Context
    ) -> composer_pb2.PlanCompositionResponse:
        """Plan and estimate."""
        profile = await acceptance.accept(request.spec, self._mesh)
        answer = await self._mesh.create_plan(acceptance.plan_request(request.spec, profile))
        depth = (await self._store.depths()).get(COMPOSITION)
        if depth is not None and answer.estimate.HasField("render_time"):
            each_s = answer.estimate.render_time.ToNanoseconds() / 1e9
            answer.estimate.queue_wait.FromNanoseconds(round(each_s * (depth.waiting + depth.running) * 1e9))
        return composer_pb2.PlanCompositionResponse(plan=answer.plan, estimate=answer.estimate)

    # Files.

    async def DownloadArtifact(
        self, request: composer_pb2.DownloadArtifactRequest, context: Context
    ) -> AsyncIterator[composer_pb2.DownloadArtifactResponse]:
        """Send a file."""
        async for response in self._files.download(_owner(), request):
            yield response

    async def CreateUpload(
        self, request: composer_pb2.CreateUploadRequest, context: Context
    ) -> composer_pb2.CreateUploadResponse:
        """Open an upload."""
        upload = await self._files.create_upload(_owner(), request.media_type, request.size_bytes)
        return composer_pb2.CreateUploadResponse(upload=upload)

    async def WriteUpload(
        self, request: composer_pb2.WriteUploadRequest, context: Context
    ) -> composer_pb2.WriteUploadResponse:
        """Append bytes."""
        return composer_pb2.WriteUploadResponse(upload=await self._files.write_upload(_owner(), request))

    async def FinishUpload(
        self, request: composer_pb2.FinishUploadRequest, context: Context
    ) -> composer_pb2.FinishUploadResponse:
        """Close an upload."""
        upload = await self._files.finish_upload(_owner(), request.upload, request.sha256)
        return composer_pb2.FinishUploadResponse(upload=upload)

    # Analyses and masterings.

    async def CreateAnalysis(
        self, request: composer_pb2.CreateAnalysisRequest, context: Context
    ) -> composer_pb2.CreateAnalysisResponse:
        """Queue an analysis."""
        await self._files.source(_owner(), request.source)
        analysis = composer_pb2.Analysis(
            name=f"analyses/{secrets.token_hex(12)}", source=request.source, state=composer_pb2.STATE_QUEUED
        )
        log_rows.set_time(analysis.create_time, time.time())
        created = await self._store.create(
            NewJob(
                name=analysis.name,
                kind=ANALYSIS,
                owner=_owner(),
                request_id=request.request_id or None,
                spec_digest=request.source.encode(),
                spec=b"",
                resource=analysis.SerializeToString(),
                state=composer_pb2.State.Name(analysis.state),
            ),
            queue_limit=self._settings.queue.limit,
            retry_after_s=self._settings.queue.retry_after_s,
        )
        return composer_pb2.CreateAnalysisResponse(analysis=composer_pb2.Analysis.FromString(created.job.resource))

    async def GetAnalysis(
        self, request: composer_pb2.GetAnalysisRequest, context: Context
    ) -> composer_pb2.GetAnalysisResponse:
        """Return one as it stands."""
        job = await self._job(request.name)
        return composer_pb2.GetAnalysisResponse(analysis=composer_pb2.Analysis.FromString(job.resource))

    async def WatchAnalysis(
        self, request: composer_pb2.WatchAnalysisRequest, context: Context
    ) -> AsyncIterator[composer_pb2.WatchAnalysisResponse]:
        """Send it whenever it changed."""
        job = await self._job(request.name)
        while True:
            yield composer_pb2.WatchAnalysisResponse(analysis=composer_pb2.Analysis.FromString(job.resource))
            if job.is_finished:
                return
            seen = job.last_sequence
            while job.last_sequence == seen and not job.is_finished:
                if self._draining.is_set():
                    raise errors.ShuttingDown("this server is stopping; watch again", retry_after_s=1)
                await self._store.wait(request.name, seen, 1.0)
                job = await self._job(request.name)

    async def CreateMaster(
        self, request: composer_pb2.CreateMasterRequest, context: Context
    ) -> composer_pb2.CreateMasterResponse:
        """Queue the mastering of an upload."""
        if self._draining.is_set():
            raise errors.ShuttingDown("this server is stopping; try again", retry_after_s=2)
        acceptance.accept_master(request)
        await self._files.source(_owner(), request.source)
        name = f"compositions/{secrets.token_hex(12)}"
        composition = resource.new_composition(name, _owner(), composer_pb2.CompositionSpec(), time.time())
        job = await self._enqueue(
            composition,
            MASTERING,
            request_id=request.request_id,
            spec=request.SerializeToString(),
            spec_digest=acceptance.master_digest(request),
        )
        return composer_pb2.CreateMasterResponse(composition=await self._live(job))

    # The service.

    async def ListModels(
        self, request: composer_pb2.ListModelsRequest, context: Context
    ) -> composer_pb2.ListModelsResponse:
        """Say what can be played."""
        return composer_pb2.ListModelsResponse(models=await self._mesh.models())

    async def GetStats(self, request: composer_pb2.GetStatsRequest, context: Context) -> composer_pb2.GetStatsResponse:
        """Say how busy it is."""
        depth = (await self._store.depths()).get(COMPOSITION)
        stats = composer_pb2.GetStatsResponse(
            version=metadata.version("segue"),
            queued=depth.waiting if depth else 0,
            running=depth.running if depth else 0,
            queue_limit=self._settings.queue.limit,
            watchers=self._num_watchers,
            renderers=await self._mesh.statuses(),
        )
        stats.uptime.FromNanoseconds(round((time.monotonic() - self._began) * 1e9))
        return stats

    # Inside.

    async def _create(self, spec: CompositionSpec, request_id: str, *, attached: bool) -> Job:
        if self._draining.is_set():
            raise errors.ShuttingDown("this server is stopping; try again", retry_after_s=2)
        profile = await acceptance.accept(spec, self._mesh)
        name = f"compositions/{secrets.token_hex(12)}"
        now = time.time()
        composition = resource.new_composition(name, _owner(), spec, now)
        composition.model = profile.model
        grace_s = self._settings.gateway.attach_grace_s
        return await self._enqueue(
            composition,
            COMPOSITION,
            request_id=request_id,
            spec=spec.SerializeToString(),
            spec_digest=acceptance.spec_digest(spec),
            labels=dict(spec.labels) | ({listing.SESSION_LABEL: spec.session} if spec.session else {}),
            attached_until=now + grace_s if attached else None,
        )

    async def _enqueue(self, composition: Composition, kind: str, *, request_id: str, **more: Any) -> Job:
        accepted = composer_pb2.CompositionEvent(accepted=composer_pb2.Accepted(composition=composition))
        created = await self._store.create(
            NewJob(
                name=composition.name,
                kind=kind,
                owner=_owner(),
                request_id=request_id or None,
                resource=composition.SerializeToString(),
                state=composer_pb2.State.Name(composition.state),
                first_events=[NewEvent(log_rows.EVENT, accepted.SerializeToString())],
                **more,
            ),
            queue_limit=self._settings.queue.limit,
            retry_after_s=self._settings.queue.retry_after_s,
        )
        # Prompts stay out of logs; the size is enough to see what kind of request it was.
        log.info("created", composition=created.job.name, new=created.is_new, spec_bytes=len(more["spec"]))
        return created.job

    async def _stream(
        self,
        context: Context,
        name: str,
        start: cursors.Cursor,
        request: composer_pb2.ComposeRequest | composer_pb2.WatchCompositionRequest,
        response: Callable[..., object],
    ) -> None:
        options = WatchOptions(
            audio=request.audio,
            encoding=request.encoding,
            heartbeat_s=request.heartbeat_interval.ToNanoseconds() / 1e9 or self._settings.gateway.heartbeat_s,
        )
        watch = Watch(self._store, self._artifacts, self._draining, name, start, options)
        owns = request.disconnect_policy == composer_pb2.DISCONNECT_POLICY_CANCEL
        async with self._attached(name) if owns else contextlib.nullcontext():
            self._num_watchers += 1
            self._metrics.watchers.inc()
            try:
                await self._write_all(context, watch.messages(), response)
            finally:
                self._num_watchers -= 1
                self._metrics.watchers.dec()

    async def _write_all(
        self,
        context: Context,
        messages: AsyncIterator[tuple[str, CompositionEvent]],
        response: Callable[..., object],
    ) -> None:
        limit_s = self._settings.gateway.stall_limit_s
        async for cursor, event in messages:
            try:
                # A reader that does not read still answers keepalive: only an unfinished write tells.
                async with asyncio.timeout(limit_s):
                    await context.write(response(cursor=cursor, event=event))
            except TimeoutError:
                raise errors.ReaderTooSlow(
                    f"nothing was read for {limit_s:g} s; go on with WatchComposition and the last cursor",
                    retry_after_s=1,
                ) from None

    @contextlib.asynccontextmanager
    async def _attached(self, name: str) -> AsyncIterator[None]:
        """Keep a composition alive as long as this stream is there, and a little longer."""
        grace_s = self._settings.gateway.attach_grace_s

        async def keep() -> None:
            while True:
                await self._store.attach(name, time.time() + grace_s)
                await asyncio.sleep(min(ATTACH_EVERY_S, grace_s / 3))

        task = asyncio.create_task(keep())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _job(self, name: str) -> Job:
        job = await self._store.get(name)
        if job is None or job.owner != _owner():
            # The same for what exists and what does not: names of others are nobody's business.
            raise not_found(name)
        return job

    async def _composition(self, name: str) -> Composition:
        return composer_pb2.Composition.FromString((await self._job(name)).resource)

    async def _live(self, job: Job) -> Composition:
        composition = composer_pb2.Composition.FromString(job.resource)
        if job.is_waiting:
            composition.queue_position = await self._store.queue_position(job.name)
        if job.expires is not None:
            log_rows.set_time(composition.expire_time, job.expires)
        return composition


def _owner() -> str:
    here = scope.current()
    return here.owner if here else ""
