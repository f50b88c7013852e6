"""One call to a renderer: its inputs are sent, its audio is checked and written into a take."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from segue.composer.v1 import stream_pb2
from segue.renderer.v1 import renderer_pb2
from segue_composition.model_catalog import key_of
from segue_composition.section_models import made_s
from segue_conductor.backoff import LOSSES
from segue_conductor.pool.renderer_pool import WrongModel
from segue_conductor.render.audio_check import AudioCheck
from segue_conductor.render.take_store import MIX
from segue_runtime import errors
from segue_runtime.rpc.addresses import is_unix
from segue_runtime.rpc.chunks import cut, f32le
from segue_runtime.rpc.duplex import exchange

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from segue.music.v1 import music_pb2
    from segue.renderer.v1.renderer_pb2 import RenderSectionRequest, RenderSectionResponse
    from segue_conductor.composition_job import CompositionJob
    from segue_conductor.pool.renderer_pool import RendererSlot
    from segue_conductor.render.take_inputs import TakeInputs
    from segue_conductor.render.take_store import Take


class RendererCall:
    """Renders one take."""

    def __init__(
        self, job: CompositionJob, slot: RendererSlot, take: Take, start: renderer_pb2.RenderStart, inputs: TakeInputs
    ) -> None:
        self._job = job
        self._slot = slot
        self._take = take
        self._start = start
        if slot.lease.joined:
            start.lease = slot.lease.lease
        self._inputs = inputs
        self._notes: list[music_pb2.Note] = []
        self._check = AudioCheck(start, inputs.profile)
        self._start_time = time.monotonic()
        self._has_waited = False
        self._fraction = 0.0
        """The largest part of the work that was reported."""

    async def run(self) -> None:
        """Render into the take; RenderInvalid if the audio cannot be used."""
        try:
            await self._run()
        except LOSSES as error:
            if not is_unix(self._slot.lease.address):
                error.metadata["address"] = self._slot.lease.address
            raise

    async def _run(self) -> None:
        answers = exchange(
            self._slot.renderer.RenderSection,
            self._requests(),
            service="renderer",
            timeout_s=self._job.claim.remaining_s(),
        )
        finished: renderer_pb2.RenderFinished | None = None
        async with contextlib.aclosing(answers):
            while response := await self._next(answers):
                finished = await self._receive(response) or finished
        if finished is None:
            raise errors.RoleLost("the renderer ended without a result", metadata={"service": "renderer"})
        self._check.finished(finished)
        if not self._has_waited:
            elapsed_s = max(1e-3, time.monotonic() - self._start_time)
            self._slot.speed = made_s(self._start.spec, self._inputs.profile) / elapsed_s
        await self._take.complete(finished, self._notes)

    async def _next(self, answers: AsyncGenerator[RenderSectionResponse, None]) -> RenderSectionResponse | None:
        """Return the next response, or None at the end. A process that hangs may still answer pings."""
        limit_s = self._job.stall_limit_s
        try:
            async with asyncio.timeout(limit_s):
                return await anext(answers, None)
        except TimeoutError:
            raise errors.RoleLost(
                f"the renderer sent nothing for {limit_s:g} s", metadata={"service": "renderer"}
            ) from None

    async def _requests(self) -> AsyncIterator[RenderSectionRequest]:
        yield renderer_pb2.RenderSectionRequest(start=self._start)
        profile = self._inputs.profile
        sound = f32le(profile.sample_rate or self._start.spec.sample_rate, profile.channels)
        for piece in cut(self._inputs.conditioning, sound):
            yield renderer_pb2.RenderSectionRequest(conditioning=piece)
        for piece in cut(self._inputs.following, sound):
            yield renderer_pb2.RenderSectionRequest(following=piece)
        for request in self._inputs.guide.messages():
            yield request

    async def _receive(self, response: RenderSectionResponse) -> renderer_pb2.RenderFinished | None:
        self._job.claim.progress.answered("renderer")
        kind = response.WhichOneof("message")
        if kind == "accepted":
            self._check_model(response.accepted.profile)
            self._check.accepted(response.accepted)
            self._take.accept(response.accepted)
        elif kind == "audio":
            await self._store_audio(response)
        elif kind == "notes":
            self._notes.extend(response.notes.notes)
        elif kind == "progress":
            done = response.progress
            # What is not a number counts as nothing: max returns its first argument then.
            fraction = min(1.0, max(0.0, done.fraction)) or _part(done.frames_done, done.frames_total)
            self._report_progress(fraction, done.queue_position)
        elif kind == "finished":
            return response.finished
        return None

    def _check_model(self, playing: renderer_pb2.ModelProfile) -> None:
        """Refuse another model than the one that the take is named for."""
        expected = self._inputs.profile
        if key_of(playing) != key_of(expected):
            raise WrongModel(
                f"the renderer plays {playing.model!r} with digest {playing.model_digest!r} and engine "
                f"{playing.engine_version!r}, not the {expected.model} that it offered",
                metadata={"section_id": self._start.spec.section_id, "model": expected.model},
            )

    async def _store_audio(self, response: RenderSectionResponse) -> None:
        audio = response.audio
        layer = audio.layer or MIX
        self._check.audio(audio, layer)
        await self._take.write(layer, audio.data)
        if layer == MIX:
            accepted = await self._take.wait_accepted()
            spec = self._start.spec
            total = spec.frames * accepted.format.sample_rate / max(1, spec.sample_rate)
            self._report_progress(_part(self._take.frames(), round(total)), 0)

    def _report_progress(self, fraction: float, queue_position: int) -> None:
        spec = self._start.spec
        self._has_waited = self._has_waited or queue_position > 0
        # The audio of a model with audio_at_end begins when its work is done.
        fraction = self._fraction = max(self._fraction, fraction)
        elapsed_s = max(1e-3, time.monotonic() - self._start_time)
        self._job.claim.progress.set(
            stream_pb2.SectionProgress(
                section_id=spec.section_id,
                fraction_done=fraction,
                real_time_factor=fraction * spec.frames / max(1, spec.sample_rate) / elapsed_s,
                queue_position=queue_position,
            )
        )


def _part(done: int, total: int) -> float:
    return min(1.0, done / total) if total else 0.0
