"""The client: compositions, their streams and files, for asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from typing import TYPE_CHECKING, Final, TypeVar

import grpc

from segue.analyzer.v1 import analyzer_pb2
from segue.audio.v1 import audio_pb2
from segue.composer.v1 import (
    analysis_pb2,
    composer_pb2,
    composition_pb2,
    files_pb2,
    mastering_pb2,
    separation_pb2,
    spec_pb2,
    stream_pb2,
    usage_pb2,
)
from segue.music.v1 import music_pb2
from segue_client.channel import Access
from segue_client.errors import SegueError, from_status
from segue_client.file_formats import media_type_of
from segue_client.stream import Stream, StreamOptions
from segue_client.transport import transfers
from segue_client.transport.connection import Connection, read_within
from segue_client.transport.resumption import STUCK_LIMIT_S, ResumingStream
from segue_client.transport.retry import RetryBackoff, is_temporary
from segue_client.transport.stream_check import StreamPosition

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path
    from typing import Any, BinaryIO, Self

    from segue.analyzer.v1.analyzer_pb2 import Report
    from segue.composer.v1.composition_pb2 import Composition, Output
    from segue.composer.v1.separation_pb2 import Separation
    from segue.composer.v1.spec_pb2 import CompositionSpec
    from segue.mixer.v1.mixer_pb2 import MasterSettings
    from segue.renderer.v1.renderer_pb2 import ModelProfile, ModelStatus
    from segue_client.transport.connection import Stub
    from segue_client.transport.resumption import Call
    from segue_client.transport.retry import Clock

JobT = TypeVar("JobT", "analysis_pb2.Analysis", "separation_pb2.Separation")
PATIENCE_S: Final = 60.0
SILENCE_S: Final = 30.0
PAGE_SIZE: Final = 100
SHORTEST_HEARTBEAT_S: Final = 1.0
LONGEST_HEARTBEAT_S: Final = 60.0
NO_AUDIO: Final = stream_pb2.AUDIO_SELECTION_NONE
F32LE: Final = audio_pb2.SAMPLE_FORMAT_F32LE
FLAC: Final = audio_pb2.FILE_FORMAT_FLAC
ANY_STEMS: Final = analyzer_pb2.SEPARATOR_KIND_UNSPECIFIED


def spec(
    prompt: str,
    *,
    duration_s: float | None = None,
    seed: int | None = None,
    model: str = "",
    priority: spec_pb2.Priority.ValueType = spec_pb2.PRIORITY_UNSPECIFIED,
) -> CompositionSpec:
    """Return a spec for a prompt. Set the fields of the returned message for everything else."""
    brief = music_pb2.Brief(prompt=prompt, seed=seed)
    if duration_s is not None:
        brief.duration.FromNanoseconds(round(duration_s * 1e9))
    return spec_pb2.CompositionSpec(brief=brief, model=model, priority=priority)


class Client:
    """A connection to a gateway: `async with Client("127.0.0.1:7300") as client`.

    When the connection breaks or the server restarts, streams and calls are retried for `patience_s`. A server that
    sends nothing for `silence_s` counts as gone. A stream with only heartbeats for `stuck_limit_s` fails. `clock` is
    for tests.
    """

    def __init__(
        self,
        access: Access | str = "127.0.0.1:7300",
        *,
        patience_s: float = PATIENCE_S,
        silence_s: float = SILENCE_S,
        stuck_limit_s: float = STUCK_LIMIT_S,
        clock: Clock | None = None,
    ) -> None:
        self.access = Access(access) if isinstance(access, str) else access
        self._stuck_limit_s = stuck_limit_s
        self._connection = Connection(self.access, patience_s=patience_s, silence_s=silence_s, clock=clock)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()

    # Compositions.

    def compose(
        self,
        what: CompositionSpec | str,
        *,
        audio: stream_pb2.AudioSelection.ValueType = NO_AUDIO,
        encoding: audio_pb2.SampleFormat.ValueType = F32LE,
        cancel_when_gone: bool = False,
        request_id: str = "",
    ) -> Stream:
        """Create a composition from a prompt or a spec; the stream raises the error of a failed composition."""
        wanted = spec_pb2.CompositionSpec()
        wanted.CopyFrom(spec(what) if isinstance(what, str) else what)
        # The id allows a retry when the connection breaks before the first answer.
        request_id = request_id or str(uuid.uuid4())

        def begin(options: StreamOptions) -> ResumingStream:
            request = stream_pb2.ComposeRequest(
                spec=options.spec,
                request_id=request_id,
                audio=options.audio,
                encoding=options.encoding,
                disconnect_policy=_policy(cancel_when_gone),
            )
            self._ask_for_heartbeats(request)
            return ResumingStream(
                self._connection,
                lambda stub: stub.Compose(request, metadata=self._connection.metadata),
                lambda stub, name, cursor: self._watch(stub, name, cursor, options, cancel_when_gone),
                _beginning(options),
                stuck_limit_s=self._stuck_limit_s,
            )

        return Stream(self._connection, StreamOptions(audio, encoding, wanted), begin, raises=True)

    def watch(
        self,
        name: str,
        *,
        cursor: str = "",
        audio: stream_pb2.AudioSelection.ValueType = NO_AUDIO,
        encoding: audio_pb2.SampleFormat.ValueType = F32LE,
        cancel_when_gone: bool = False,
    ) -> Stream:
        """Follow a composition from a cursor to its end; without a cursor, from its first event."""

        def begin(options: StreamOptions) -> ResumingStream:
            # In the middle of a stream neither the next frame nor the plan is known.
            position = StreamPosition(name=name) if cursor else _beginning(options, name)
            return ResumingStream(
                self._connection,
                None,
                lambda stub, again, after: self._watch(stub, again, after, options, cancel_when_gone),
                position,
                cursor=cursor,
                stuck_limit_s=self._stuck_limit_s,
            )

        return Stream(self._connection, StreamOptions(audio, encoding), begin, raises=False)

    async def create(self, spec: CompositionSpec, *, request_id: str = "") -> Composition:
        """Queue a composition and return at once."""
        request = composition_pb2.CreateCompositionRequest(spec=spec, request_id=request_id or str(uuid.uuid4()))
        return (await self._connection.call(lambda stub: stub.CreateComposition, request)).composition

    async def get(self, name: str) -> Composition:
        """Return the current state of a composition."""
        return (
            await self._connection.call(
                lambda stub: stub.GetComposition, composition_pb2.GetCompositionRequest(name=name)
            )
        ).composition

    async def compositions(self, filter_text: str = "") -> AsyncIterator[Composition]:
        """Yield the caller's compositions, newest first."""
        token = ""
        while True:
            request = composition_pb2.ListCompositionsRequest(page_size=PAGE_SIZE, page_token=token, filter=filter_text)
            page = await self._connection.call(lambda stub: stub.ListCompositions, request)
            for composition in page.compositions:
                yield composition
            token = page.next_page_token
            if not token:
                return

    async def cancel(self, name: str) -> Composition:
        """Ask a composition to stop."""
        return (
            await self._connection.call(
                lambda stub: stub.CancelComposition, composition_pb2.CancelCompositionRequest(name=name)
            )
        ).composition

    async def retry(self, name: str, *, request_id: str = "") -> Composition:
        """Queue a failed or cancelled composition again, as a new one that reuses its finished takes."""
        request = composition_pb2.RetryCompositionRequest(name=name, request_id=request_id or str(uuid.uuid4()))
        return (await self._connection.call(lambda stub: stub.RetryComposition, request)).composition

    async def delete(self, name: str) -> None:
        """Delete a composition that has ended, with its files."""
        request = composition_pb2.DeleteCompositionRequest(name=name)
        done = ("COMPOSITION_NOT_FOUND", composition_pb2.DeleteCompositionResponse())
        await self._connection.call(lambda stub: stub.DeleteComposition, request, done=done)

    async def plan(self, spec: CompositionSpec) -> composition_pb2.PlanCompositionResponse:
        """Return a plan and an estimate, without rendering."""
        return await self._connection.call(
            lambda stub: stub.PlanComposition, composition_pb2.PlanCompositionRequest(spec=spec)
        )

    async def models(self) -> list[ModelProfile]:
        """Return the profiles of the models that can play; the first is the default."""
        return [*(await self._list_models()).models]

    async def model_statuses(self) -> list[ModelStatus]:
        """Return the states of the models in the whole pool: warm, cold, loading or failed, with slots and memory."""
        return [*(await self._list_models()).statuses]

    async def _list_models(self) -> composer_pb2.ListModelsResponse:
        return await self._connection.call(lambda stub: stub.ListModels, composer_pb2.ListModelsRequest())

    async def stats(self) -> composer_pb2.GetStatsResponse:
        """Return the statistics of the service."""
        return await self._connection.call(lambda stub: stub.GetStats, composer_pb2.GetStatsRequest())

    async def usage(
        self, owner: str = "", *, first_day: dt.date | None = None, last_day: dt.date | None = None
    ) -> AsyncIterator[usage_pb2.DayUsage]:
        """Yield what the caller has used, by day in UTC; of the last 30 days by default.

        `owner` is another owner, or `*` for all owners, which needs the grant admin.
        """
        request = usage_pb2.GetUsageRequest(owner=owner, page_size=PAGE_SIZE)
        request.first_day, request.last_day = (str(day) if day else "" for day in (first_day, last_day))
        while True:
            page = await self._connection.call(lambda stub: stub.GetUsage, request)
            for day in page.days:
                yield day
            request.page_token = page.next_page_token
            if not request.page_token:
                return

    # Files.

    async def download(self, output: Output, target: Path, *, replace: bool = False) -> None:
        """Write an output to a file: complete and with the announced digest, or not at all. Broken downloads resume."""
        await transfers.download(self._connection, output, target, replace=replace)

    async def read(self, output: Output) -> AsyncIterator[bytes]:
        """Yield the bytes of an output. They are checked, and a broken download resumes at its last byte."""
        async for piece in transfers.read(self._connection, output):
            yield piece

    async def url(self, output: Output, lifetime_s: int = 3600) -> str:
        """Return a URL of an output for a limited time; an error if the server's store has none."""
        request = files_pb2.GetArtifactUrlRequest(name=output.name)
        request.lifetime.FromSeconds(lifetime_s)
        return (await self._connection.call(lambda stub: stub.GetArtifactUrl, request)).url

    async def upload(self, file: Path | BinaryIO, media_type: str = "") -> files_pb2.Upload:
        """Upload a file, for `analyze`, `separate` or `create_master`. Without a media type, its name tells it."""
        return await transfers.upload(self._connection, file, media_type or media_type_of(file))

    async def uploads(self, filter_text: str = "") -> AsyncIterator[files_pb2.Upload]:
        """Yield the caller's uploads, newest first, finished or not."""
        request = files_pb2.ListUploadsRequest(page_size=PAGE_SIZE, filter=filter_text)
        while True:
            page = await self._connection.call(lambda stub: stub.ListUploads, request)
            for upload in page.uploads:
                yield upload
            request.page_token = page.next_page_token
            if not request.page_token:
                return

    async def delete_upload(self, name: str) -> None:
        """Delete an upload, finished or not, unless a job that has not ended needs it."""
        request = files_pb2.DeleteUploadRequest(upload=name)
        done = ("ARTIFACT_NOT_FOUND", files_pb2.DeleteUploadResponse())
        await self._connection.call(lambda stub: stub.DeleteUpload, request, done=done)

    async def analyze(
        self,
        source: str,
        on_change: Callable[[analysis_pb2.Analysis], object] | None = None,
        *,
        find_tracks: bool = False,
    ) -> Report:
        """Measure an upload, an output or a take, and wait for the report. `on_change` gets each state.

        With `find_tracks`, the report has the tracks of a recording that may hold several, such as a DJ set.
        """
        created = await self._connection.call(
            lambda stub: stub.CreateAnalysis,
            analysis_pb2.CreateAnalysisRequest(source=source, request_id=str(uuid.uuid4()), find_tracks=find_tracks),
        )
        request = analysis_pb2.WatchAnalysisRequest(name=created.analysis.name)
        analysis = await self._follow(created.analysis, "analysis", lambda stub: stub.WatchAnalysis, request, on_change)
        if analysis.state != composition_pb2.STATE_SUCCEEDED:
            raise from_status(analysis.error)
        return analysis.report

    async def analyses(self, filter_text: str = "") -> AsyncIterator[analysis_pb2.Analysis]:
        """Yield the caller's analyses, newest first, without their reports."""
        request = analysis_pb2.ListAnalysesRequest(page_size=PAGE_SIZE, filter=filter_text)
        while True:
            page = await self._connection.call(lambda stub: stub.ListAnalyses, request)
            for analysis in page.analyses:
                yield analysis
            request.page_token = page.next_page_token
            if not request.page_token:
                return

    async def cancel_analysis(self, name: str) -> analysis_pb2.Analysis:
        """Ask an analysis to stop."""
        request = analysis_pb2.CancelAnalysisRequest(name=name)
        return (await self._connection.call(lambda stub: stub.CancelAnalysis, request)).analysis

    async def separate(
        self,
        source: str,
        *,
        kind: analyzer_pb2.SeparatorKind.ValueType = ANY_STEMS,
        file_format: audio_pb2.FileFormat.ValueType = FLAC,
        on_change: Callable[[Separation], object] | None = None,
    ) -> Separation:
        """Separate an upload or an output into stems, and wait for them; `download` its outputs.

        `on_change` gets each state, with `ready_in`. A cancelled call cancels the separation.
        """
        asked = separation_pb2.CreateSeparationRequest(
            source=source, kind=kind, file_format=file_format, request_id=str(uuid.uuid4())
        )
        created = (await self._connection.call(lambda stub: stub.CreateSeparation, asked)).separation
        request = separation_pb2.WatchSeparationRequest(name=created.name)
        try:
            separation = await self._follow(
                created, "separation", lambda stub: stub.WatchSeparation, request, on_change
            )
        except asyncio.CancelledError:
            with contextlib.suppress(SegueError):
                await self.cancel_separation(created.name)
            raise
        if separation.state != composition_pb2.STATE_SUCCEEDED:
            raise from_status(separation.error)
        return separation

    async def separations(self, filter_text: str = "") -> AsyncIterator[Separation]:
        """Yield the caller's separations, newest first."""
        request = separation_pb2.ListSeparationsRequest(page_size=PAGE_SIZE, filter=filter_text)
        while True:
            page = await self._connection.call(lambda stub: stub.ListSeparations, request)
            for separation in page.separations:
                yield separation
            request.page_token = page.next_page_token
            if not request.page_token:
                return

    async def cancel_separation(self, name: str) -> Separation:
        """Ask a separation to stop."""
        request = separation_pb2.CancelSeparationRequest(name=name)
        return (await self._connection.call(lambda stub: stub.CancelSeparation, request)).separation

    async def delete_separation(self, name: str) -> None:
        """Delete a finished separation with its files."""
        request = separation_pb2.DeleteSeparationRequest(name=name)
        done = ("JOB_NOT_FOUND", separation_pb2.DeleteSeparationResponse())
        await self._connection.call(lambda stub: stub.DeleteSeparation, request, done=done)

    async def create_master(
        self,
        source: str,
        *,
        settings: MasterSettings | None = None,
        exports: Sequence[spec_pb2.Export] = (),
        request_id: str = "",
    ) -> Composition:
        """Queue the mastering of an upload. The result is a composition without a plan; watch it like any other."""
        request = mastering_pb2.CreateMasterRequest(
            source=source, settings=settings, exports=exports, request_id=request_id or str(uuid.uuid4())
        )
        return (await self._connection.call(lambda stub: stub.CreateMaster, request)).composition

    # Implementation.

    async def _follow(
        self,
        job: JobT,
        field: str,
        method: Callable[[Any], Any],
        request: Any,
        on_change: Callable[[JobT], object] | None,
    ) -> JobT:
        """Wait for the end of an analysis or a separation; `on_change` gets it as it is, and after each change."""
        on_change = on_change or (lambda _job: None)
        on_change(job)
        backoff = RetryBackoff(self._connection.clock, self._connection.patience_s)
        while not job.HasField("end_time"):
            async with self._connection.stub() as stub:
                call = method(stub)(request, metadata=self._connection.metadata)
                try:
                    # This stream has no heartbeats, and the work may take long.
                    while response := await read_within(call, self._stuck_limit_s):
                        job = getattr(response, field)
                        on_change(job)
                        backoff.record_progress()
                    failure = SegueError(grpc.StatusCode.UNAVAILABLE, f"the stream of {request.name} ended too early")
                except SegueError as error:
                    failure = error
                finally:
                    call.cancel()
                if is_temporary(failure):
                    self._connection.renew(stub)
            if not job.HasField("end_time"):
                await backoff.wait(failure)
        return job

    def _watch(
        self,
        stub: Stub,
        name: str,
        cursor: str,
        options: StreamOptions,
        cancel_when_gone: bool,  # noqa: FBT001 - passed through
    ) -> Call:
        request = stream_pb2.WatchCompositionRequest(
            name=name,
            cursor=cursor,
            audio=options.audio,
            encoding=options.encoding,
            disconnect_policy=_policy(cancel_when_gone),
        )
        self._ask_for_heartbeats(request)
        return stub.WatchComposition(request, metadata=self._connection.metadata)

    def _ask_for_heartbeats(self, request: stream_pb2.ComposeRequest | stream_pb2.WatchCompositionRequest) -> None:
        # Two heartbeats may be late before the silence counts.
        interval_s = min(max(self._connection.silence_s / 3, SHORTEST_HEARTBEAT_S), LONGEST_HEARTBEAT_S)
        request.heartbeat_interval.FromNanoseconds(round(interval_s * 1e9))


def _beginning(options: StreamOptions, name: str = "") -> StreamPosition:
    """Return the position of a stream before its first event."""
    # UNSPECIFIED means the draft only.
    draft = options.audio != stream_pb2.AUDIO_SELECTION_MASTER
    master = options.audio in {stream_pb2.AUDIO_SELECTION_MASTER, stream_pb2.AUDIO_SELECTION_BOTH}
    wanted = {audio_pb2.STAGE_DRAFT: draft, audio_pb2.STAGE_MASTER: master}
    silent = options.audio == NO_AUDIO
    stages = [stage for stage, is_wanted in wanted.items() if is_wanted and not silent]
    return StreamPosition(name=name, next_frame=dict.fromkeys(stages, 0), draft_done=False)


def _policy(cancel_when_gone: bool) -> stream_pb2.DisconnectPolicy.ValueType:  # noqa: FBT001 - maps a flag to its enum
    return stream_pb2.DISCONNECT_POLICY_CANCEL if cancel_when_gone else stream_pb2.DISCONNECT_POLICY_CONTINUE
