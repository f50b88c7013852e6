"""RendererService over any backends. This module and `call_inputs` alone know the messages of the contract."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from segue.audio.v1 import audio_pb2
from segue.renderer.v1 import renderer_pb2, renderer_pb2_grpc
from segue_music import codec
from segue_renderer.backend import RenderAccepted, RenderedAudio, RenderedNotes, RenderFinished, RenderProgress
from segue_renderer.call_inputs import check_mix, check_options, read_call, unread_hints
from segue_renderer.hosting.drain import RenderDrain
from segue_renderer.hosting.hosted_backend import ModelState
from segue_renderer.takes import MOST_TAKES, together
from segue_runtime import errors, logs
from segue_runtime.rpc.chunks import MESH_CHUNK_BYTES, cut

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator

    import grpc.aio

    from segue_music.elements import Note
    from segue_music.plan import ModelProfile, SectionSpec
    from segue_renderer.backend import RenderEvent, RenderRequest
    from segue_renderer.hosting.hosted_backend import HostedModel
    from segue_renderer.hosting.leases import SectionLeases
    from segue_renderer.hosting.metrics import RendererMetrics
    from segue_renderer.hosting.model_host import ModelHost

    Context = grpc.aio.ServicerContext[Any, Any]
    BandMelody = Callable[[SectionSpec, int], tuple[Note, ...]]

SERVICE: Final = "segue.renderer.v1.RendererService"
NOTES_PER_MESSAGE: Final = 1024
MAX_QUEUED: Final = 64
REASON_BYTES: Final = 1024
STEP_BYTES: Final = 256
STATES: Final = {
    ModelState.COLD: renderer_pb2.MODEL_STATE_COLD,
    ModelState.LOADING: renderer_pb2.MODEL_STATE_LOADING,
    ModelState.WARM: renderer_pb2.MODEL_STATE_WARM,
    ModelState.FAILED: renderer_pb2.MODEL_STATE_FAILED,
}
log = logs.get("renderer")


class RendererService(renderer_pb2_grpc.RendererServiceServicer):
    """Serves the models of one host. `band_melody` returns the melody for `guide_band`.

    With `leases` the renderer has joined a pool, and renders only what it was assigned.
    """

    def __init__(
        self,
        host: ModelHost,
        band_melody: BandMelody,
        metrics: RendererMetrics | None = None,
        leases: SectionLeases | None = None,
    ) -> None:
        self._host = host
        self._band_melody = band_melody
        self._metrics = metrics
        self._leases = leases
        self.drain = RenderDrain()

    async def RenderSection(
        self, request_iterator: AsyncIterator[renderer_pb2.RenderSectionRequest], context: Context
    ) -> AsyncIterator[renderer_pb2.RenderSectionResponse]:
        """Render one section."""
        start, request = await read_call(request_iterator, self._check)
        await self._check_lease(start)
        # If the section ends this process, its name is among the last lines.
        log.info("renders", section=start.spec.section_id, attempt=start.attempt, model=start.model)
        profile = self._host.profile(request.model)
        check_mix(request, profile)
        takes = await self._takes(start, dataclasses.replace(request, model=profile.model))
        # Checked again: other calls may have filled the queue while this one was read.
        self._refuse_when_full(profile.model)
        encoders = [_Encoder(start, index) for index in range(len(takes))]
        async with contextlib.aclosing(together([self._take_events(each) for each in takes])) as events:
            async for index, event in events:
                for response in encoders[index].encode(event):
                    yield response

    async def _takes(self, start: renderer_pb2.RenderStart, request: RenderRequest) -> list[RenderRequest]:
        """Return a request for each seed."""
        takes = [dataclasses.replace(request, seed=seed) for seed in (start.seed, *start.more_seeds)]
        if not start.guide_band:
            return takes
        melodies = [await asyncio.to_thread(self._band_melody, each.spec, each.seed) for each in takes]
        return [dataclasses.replace(each, guide_notes=notes) for each, notes in zip(takes, melodies, strict=True)]

    async def _check_lease(self, start: renderer_pb2.RenderStart) -> None:
        if self._leases is not None:
            model = self._host.profile(start.model).model
            await self._leases.check(start.lease, start.spec.section_id, model)
        elif start.lease:
            raise errors.LeaseUnknown("this renderer has joined no pool, and has no leases")

    async def _take_events(self, request: RenderRequest) -> AsyncGenerator[RenderEvent, None]:
        """Yield the events of one take, count them, and end them when the renderer drains."""
        counted = self._metrics.counted(request.model) if self._metrics else contextlib.nullcontext(_no_metrics)
        with counted as hear, self.drain.entered(request.model) as call:
            async with contextlib.aclosing(call.events(self._events(request))) as events:
                async for event in events:
                    if isinstance(event, RenderedAudio):
                        hear()
                    yield event

    async def _events(self, request: RenderRequest) -> AsyncGenerator[RenderEvent, None]:
        async with self._host.use(request.model) as backend:
            watched = self._host.watch(request.model).watched(backend.render(request))
            async with contextlib.aclosing(watched) as events:
                async for event in events:
                    yield self._with_unread(event, request)

    def _with_unread(self, event: RenderEvent, request: RenderRequest) -> RenderEvent:
        """Add a warning about hints that the model does not read to a section's end."""
        if not isinstance(event, RenderFinished):
            return event
        unread = unread_hints(request, self._host.profile(request.model))
        return dataclasses.replace(event, warnings=event.warnings + unread)

    async def ListModels(
        self, request: renderer_pb2.ListModelsRequest, context: Context
    ) -> renderer_pb2.ListModelsResponse:
        """List the models of all backends."""
        models = [_profile_message(profile) for profile in self._host.profiles]
        return renderer_pb2.ListModelsResponse(models=models)

    async def GetStatus(
        self, request: renderer_pb2.GetStatusRequest, context: Context
    ) -> renderer_pb2.GetStatusResponse:
        """Report slots, queue, memory and the state of each model."""
        return self.status()

    def status(self) -> renderer_pb2.GetStatusResponse:
        """Return what GetStatus reports, and what the renderer offers to a pool."""
        status = self._host.status()
        whole = status.whole
        answer = renderer_pb2.GetStatusResponse(
            slots=whole.slots,
            busy_slots=whole.busy_slots,
            queued=whole.queued,
            models=[_profile_message(each.profile) for each in status.models],
            device=whole.device,
            device_memory_bytes=whole.device_memory_bytes,
            device_memory_used_bytes=whole.device_memory_used_bytes,
            model_statuses=[_model_status(each) for each in status.models],
            state=renderer_pb2.RENDERER_STATE_READY,
        )
        if self.drain.is_draining:
            answer.state = renderer_pb2.RENDERER_STATE_DRAINING
        elif not whole.healthy:
            answer.state = renderer_pb2.RENDERER_STATE_FAILED
            answer.reason = _cut(status.models[0].reason)
        return answer

    async def check(self) -> None:
        """Raise DeviceLost while no model can play."""
        status = self._host.status()
        if not status.whole.healthy:
            raise errors.DeviceLost(f"{status.models[0].profile.model}: {status.models[0].reason}")

    def _check(self, start: renderer_pb2.RenderStart) -> None:
        self.drain.refuse()
        profile = self._host.profile(start.model)
        check_options(start, _offered(profile))
        self._refuse_when_full(profile.model)

    def _refuse_when_full(self, model: str) -> None:
        self.drain.refuse()
        if self.drain.num_waiting(model) - self._host.num_free(model) >= MAX_QUEUED:
            raise errors.QueueFull("this renderer's queue is full", retry_after_s=2)


def _no_metrics() -> None:
    pass


def _offered(profile: ModelProfile) -> ModelProfile:
    """Return a profile with the takes of a call: any backend can make several, together or one after the other."""
    return dataclasses.replace(profile, max_takes=profile.max_takes or MOST_TAKES)


def _profile_message(profile: ModelProfile) -> renderer_pb2.ModelProfile:
    return codec.to_message(_offered(profile), renderer_pb2.ModelProfile())


class _Encoder:
    """Turns a backend's events into messages of one take."""

    def __init__(self, start: renderer_pb2.RenderStart, seed_index: int) -> None:
        self._start = start
        self._seed_index = seed_index
        self._format = audio_pb2.AudioFormat()

    def encode(self, event: RenderEvent) -> Iterator[renderer_pb2.RenderSectionResponse]:
        """Yield the messages for one event."""
        for response in self._responses(event):
            response.seed_index = self._seed_index
            yield response

    def _responses(self, event: RenderEvent) -> Iterator[renderer_pb2.RenderSectionResponse]:
        if isinstance(event, RenderedAudio):
            yield from self._audio(event)
        elif isinstance(event, RenderAccepted):
            yield renderer_pb2.RenderSectionResponse(accepted=self._accepted(event))
        elif isinstance(event, RenderProgress):
            yield renderer_pb2.RenderSectionResponse(
                progress=renderer_pb2.RenderProgress(
                    frames_done=event.frames_done,
                    frames_total=event.frames_total,
                    queue_position=event.queue_position,
                    fraction=event.fraction,
                )
            )
        elif isinstance(event, RenderedNotes):
            for index in range(0, len(event.notes), NOTES_PER_MESSAGE):
                notes = renderer_pb2.Notes()
                for note in event.notes[index : index + NOTES_PER_MESSAGE]:
                    codec.to_message(note, notes.notes.add())
                yield renderer_pb2.RenderSectionResponse(notes=notes)
        else:
            yield renderer_pb2.RenderSectionResponse(finished=_finished(event))

    def _accepted(self, event: RenderAccepted) -> renderer_pb2.RenderAccepted:
        self._format = audio_pb2.AudioFormat(
            sample_rate=event.sample_rate, channels=event.channels, sample_format=audio_pb2.SAMPLE_FORMAT_F32LE
        )
        accepted = renderer_pb2.RenderAccepted(
            profile=_profile_message(event.profile),
            queue_position=event.queue_position,
            format=self._format,
            sample_locked=event.sample_locked,
            continuous=event.continuous,
        )
        if event.declared_lufs is not None:
            accepted.declared_lufs = event.declared_lufs
        return accepted

    def _audio(self, event: RenderedAudio) -> Iterator[renderer_pb2.RenderSectionResponse]:
        template = audio_pb2.AudioChunk(
            format=self._format,
            stage=audio_pb2.STAGE_TAKE,
            section_id=self._start.spec.section_id,
            take=self._start.take_key,
            attempt=self._start.attempt,
            layer=event.layer,
        )
        content = np.ascontiguousarray(event.samples, "<f4").tobytes()
        for chunk in cut(content, template, event.first_frame, most_bytes=MESH_CHUNK_BYTES):
            yield renderer_pb2.RenderSectionResponse(audio=chunk)


def _model_status(model: HostedModel) -> renderer_pb2.ModelStatus:
    status = renderer_pb2.ModelStatus(
        model=model.profile.model,
        state=STATES[model.state],
        slots=model.slots,
        busy_slots=model.busy_slots,
        reason=_cut(model.reason),
        memory_bytes=model.memory_bytes,
        loading_step=_cut(model.loading_step, STEP_BYTES),
    )
    if model.load_s is not None:
        status.load_time.FromNanoseconds(round(model.load_s * 1e9))
    return status


def _cut(text: str, limit: int = REASON_BYTES) -> str:
    """Return a text within the contract's limit."""
    return text.encode()[:limit].decode(errors="ignore")


def _finished(event: RenderFinished) -> renderer_pb2.RenderFinished:
    finished = renderer_pb2.RenderFinished(
        frames=event.frames,
        tail_frames=event.tail_frames,
        conditioning_applied=event.conditioning_applied,
        guide_applied=event.guide_applied,
        windows=event.windows,
        window_frames_used=event.window_frames_used,
        ending=event.ending,
        following_applied=event.following_applied,
        lyrics_applied=event.lyrics_applied,
    )
    for warning in event.warnings:
        codec.to_message(warning, finished.warnings.add())
    return finished
