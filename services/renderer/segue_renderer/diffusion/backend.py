"""Diffusion models as a backend: sections are made as latents, alone or in a batch, and decoded tile by tile."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import diffusers
import torch

from segue_music.plan import Continuity, Determinism, GuideKind, Honours, ModelProfile, SectionSpec
from segue_music.plan import Role as SectionRole
from segue_renderer.backend import (
    BackendStatus,
    RenderAccepted,
    RenderedAudio,
    RenderFinished,
    RenderProgress,
    RenderRequest,
    StepCounts,
)
from segue_renderer.diffusion.facts import facts_of
from segue_renderer.diffusion.families.pipeline import RenderStopped
from segue_renderer.diffusion.folder import ACE_STEP, DiffusersFolder
from segue_renderer.diffusion.network import ModelPlacement, weight_bytes
from segue_renderer.diffusion.passes import DenoisePasses, DenoiseRow
from segue_renderer.diffusion.section_render import WindowRender, check_request
from segue_renderer.model_card import UNKNOWN_LICENSE
from segue_renderer.torch_device import is_out_of_memory, memory, raise_out_of_memory_at, release
from segue_renderer.wait_queue import WaitQueue
from segue_runtime import errors, failpoints, logs

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Sequence

    from segue_renderer.backend import RenderEvent, Samples
    from segue_renderer.diffusion.facts import ModelFacts
    from segue_renderer.diffusion.families.pipeline import LatentPipeline, OnStep
    from segue_runtime.settings import DiffusionSettings

T = TypeVar("T")
ENGINE_VERSION: Final = "diffusion-1"
SHARE_OF_STEPS: Final = 0.9
"""The part of a section's work that is done when its latents are."""
DEAD_AFTER_LOSSES: Final = 2
MEMORY_INTERVAL_S: Final = 1.0
STEP: Final = failpoints.declare("diffusion.step", "the device is lost at the next step")
STEP_MEMORY: Final = failpoints.declare("diffusion.step_memory", "the next step runs out of memory")
LOAD_MEMORY: Final = failpoints.declare("diffusion.load_memory", "there is no memory for the weights")
log = logs.get("diffusion")


class DiffusionBackend:
    """One model on one device."""

    def __init__(self, settings: DiffusionSettings, *, longest_s: float = 0.0) -> None:
        """Take the settings, and the longest window; 0: the family's."""
        self._settings = settings
        self._longest_s = longest_s
        self._path = Path(settings.model).expanduser()
        self._placement = ModelPlacement.of(settings.device, settings.precision, settings.offload)
        # A pipeline has state of its own, so it makes one section at a time, or one batch.
        self._queue, self._passes = WaitQueue(1), DenoisePasses(1, self._run_pass)
        self._counts = StepCounts()
        # All torch work runs on this thread, in the order in which it is asked for.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="diffusion")
        self._pipeline: LatentPipeline | None = None
        self._facts: ModelFacts | None = None
        self._num_losses = 0
        self._memory_asked, self._memory_found = -MEMORY_INTERVAL_S, (0, 0)
        self._profile = ModelProfile(model=self._path.name or "diffusion", backend="diffusion")

    @property
    def profiles(self) -> Sequence[ModelProfile]:
        """The one model."""
        return (self._profile,)

    async def describe(self) -> None:
        """Read the configurations, the card and the digest of the folder."""
        self._profile = await asyncio.to_thread(self._described)

    def _described(self) -> ModelProfile:
        folder = DiffusersFolder.open(self._path)
        self._facts = self._limited(facts_of(folder))
        if self._facts.makes_batches:
            slots = self._settings.slots
            self._queue, self._passes = WaitQueue(slots), DenoisePasses(slots, self._run_pass)
        return self._profile_of(folder, self._facts)

    async def load(self) -> None:
        """Load the weights and make a short sound, which the first section then need not wait for."""
        await self.describe()
        if self._profile.weights_license == UNKNOWN_LICENSE:
            log.warning("the folder's card names no licence of the weights", model=self._profile.model)
        self._profile = await self._call(self._load)
        log.info(
            "model loaded",
            model=self._profile.model,
            device=str(self._placement.device),
            precision=self._placement.precision,
            offload=self._placement.offload,
            license=self._profile.weights_license,
            real_time_factor=round(self._profile.real_time_factor, 2),
        )

    def _load(self) -> ModelProfile:
        try:
            raise_out_of_memory_at(LOAD_MEMORY)
            folder = DiffusersFolder.open(self._path)
            self._pipeline = self._placement.load(folder)
            speed = self._measure()
            size = self._placement.peak_bytes() or weight_bytes(self._pipeline.pipe)
            return replace(self._profile, real_time_factor=speed, memory_bytes=size)
        except Exception as error:
            self._pipeline = None
            if not is_out_of_memory(error):
                raise
            raise errors.OutOfMemory(
                f"no memory to load {self._path}: {error}; try renderer.diffusion.precision bf16, "
                "renderer.diffusion.offload parts, or a smaller model"
            ) from error

    def _measure(self) -> float:
        """Make the shortest window with one step; return the seconds of audio per second with the usual steps."""
        _, facts = self._loaded
        rate = facts.grid.sample_rate
        spec = SectionSpec("warm", SectionRole.VERSE, 1, frames=facts.grid.fewest * facts.grid.hop, sample_rate=rate)
        section = WindowRender(RenderRequest(spec, "", 0), facts, 1)
        began = time.perf_counter()
        self._denoise([section], lambda _done, _all: None)
        step_s, began = time.perf_counter() - began, time.perf_counter()
        sounds = section.audio(self._loaded[0])
        while self._decode(sounds) is not None:
            pass
        decode_s = time.perf_counter() - began
        return (facts.grid.fewest / facts.grid.rate) / (step_s * self._steps(facts) + decode_s)

    def _steps(self, facts: ModelFacts) -> int:
        return self._settings.steps or facts.steps

    def _limited(self, facts: ModelFacts) -> ModelFacts:
        if not self._longest_s:
            return facts
        most = min(facts.grid.most, round(self._longest_s * facts.grid.rate))
        return replace(facts, grid=replace(facts.grid, most=most))

    def _profile_of(self, folder: DiffusersFolder, facts: ModelFacts) -> ModelProfile:
        """Return the profile without what only a loaded model can measure."""
        grid, is_ace_step = facts.grid, facts.family is ACE_STEP
        advisory = Honours.ADVISORY if is_ace_step else Honours.UNSPECIFIED
        version = f"{ENGINE_VERSION}-{self._placement.precision}-{self._steps(facts)}-diffusers-{diffusers.__version__}"
        return ModelProfile(
            model=self._profile.model,
            backend="diffusion",
            model_digest=folder.digest,
            engine_version=version,
            sample_rate=grid.sample_rate,
            channels=facts.channels,
            window_ns=_ns(grid.most, grid.rate),
            guides=(GuideKind.TIMBRE_AUDIO,) if is_ace_step else (),
            continuities=(Continuity.NONE, Continuity.TAIL),
            determinism=Determinism.SEEDED,
            uses_sampling=True,
            uses_prompt=True,
            uses_negative_prompt=facts.reads_negative_prompt,
            weights_license=folder.license,
            conditioning_ns=_ns(grid.context, grid.rate),
            max_duration_ns=_ns(grid.most, grid.rate),
            audio_at_end=True,
            min_window_ns=_ns(grid.fewest, grid.rate),
            grid_ns=_ns(1, grid.rate),
            honours_tempo=advisory,
            honours_key=advisory,
            honours_metre=advisory,
            uses_lyrics=is_ace_step,
            following_ns=_ns(grid.context, grid.rate),
            sampling=("steps",) if facts.is_distilled else ("steps", "guidance"),
            layer_tasks=facts.layer_tasks,
        )

    @property
    def _loaded(self) -> tuple[LatentPipeline, ModelFacts]:
        if self._pipeline is None or self._facts is None:
            raise errors.ModelNotInstalled("the model is not loaded")
        return self._pipeline, self._facts

    async def render(self, request: RenderRequest) -> AsyncGenerator[RenderEvent, None]:
        """Render one section. Its first audio comes after its last step."""
        _, facts = self._loaded
        check_request(request, facts)
        section = WindowRender(request, facts, self._steps(facts))
        total = section.window.samples
        with self._queue.enter(request.owner) as position:
            yield RenderAccepted(
                profile=self._profile,
                sample_rate=facts.grid.sample_rate,
                channels=facts.channels,
                queue_position=self._place(position.current),
            )
            async for current in position.updates():
                yield RenderProgress(0, total, self._place(current))
            steps = DenoiseRow(section)
            self._passes.join(steps)
            try:
                async for current in self._passes.positions(steps):
                    yield RenderProgress(0, total, current)
                async for fraction in steps.fractions():
                    yield RenderProgress(0, total, fraction=fraction * SHARE_OF_STEPS)
                await steps.done
                sent, sounds = 0, section.audio(self._loaded[0])
                while (sound := await self._call(partial(self._decode, sounds))) is not None:
                    yield RenderedAudio(sent, sound)
                    sent += len(sound)
                    part = SHARE_OF_STEPS + (1 - SHARE_OF_STEPS) * sent / (total + section.window.tail)
                    yield RenderProgress(min(sent, total), total, fraction=min(1.0, part))
            finally:
                steps.leave()
            yield self._finished(section)

    def _place(self, position: int) -> int:
        """Return a section's place in the queue: those that have a slot and wait for a pass come before it."""
        return position and position + self._passes.num_waiting

    def _finished(self, section: WindowRender) -> RenderFinished:
        window = section.window
        return RenderFinished(
            frames=window.samples,
            tail_frames=window.tail,
            conditioning_applied=len(window.before) > 0,
            following_applied=len(window.after) > 0,
            guide_applied=section.request.guide is not None,
            lyrics_applied=section.conditions.lyrics is not None and self._profile.uses_lyrics,
            window_frames_used=window.latents,
            warnings=tuple(section.warnings),
        )

    async def _run_pass(self, together: Sequence[DenoiseRow]) -> None:
        """Take the steps of sections together, and count them."""
        began, done = time.perf_counter(), 0

        def on_step(step: int, of: int) -> None:
            nonlocal done
            if all(steps.is_stopped for steps in together):
                raise RenderStopped
            done = step
            for steps in together:
                steps.report(step, of)

        try:
            await self._call(partial(self._denoise, [steps.section for steps in together], on_step))
        finally:
            self._counts = replace(
                self._counts,
                steps=self._counts.steps + done,
                rows=self._counts.rows + done * len(together),
                step_seconds=self._counts.step_seconds + time.perf_counter() - began,
                joins=self._counts.joins + len(together),
            )

    # on the thread

    def _denoise(self, sections: Sequence[WindowRender], on_step: OnStep) -> None:
        pipeline, _ = self._loaded

        def stepped(done: int, of: int) -> None:
            failpoints.hit(STEP)
            raise_out_of_memory_at(STEP_MEMORY)
            on_step(done, of)

        try:
            with torch.inference_mode():
                latents = pipeline.denoise([section.task(pipeline) for section in sections], stepped)
                for section, made in zip(sections, latents, strict=True):
                    section.keep(made)
        except BaseException:
            pipeline.release()
            raise

    def _decode(self, sounds: Iterator[Samples]) -> Samples | None:
        with torch.inference_mode():
            sound = next(sounds, None)
        if sound is None:
            self._loaded[0].release()
        return sound

    async def _call(self, work: Callable[[], T]) -> T:
        """Run a function on the thread; failures of the device become errors of the contract."""
        try:
            result = await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except (errors.SegueError, RenderStopped):
            raise
        except Exception as error:
            if is_out_of_memory(error):
                await asyncio.to_thread(release, self._placement.device)
                raise errors.OutOfMemory(f"no memory for this section: {error}", retry_after_s=2) from error
            self._num_losses += 1
            log.exception("the device failed")
            raise errors.DeviceLost(f"the device failed: {type(error).__name__}", retry_after_s=1) from error
        self._num_losses = 0
        return result

    def status(self) -> BackendStatus:
        """Report the slot, the queue and the memory."""
        total, free = self._memory()
        return BackendStatus(
            slots=self._queue.slots,
            busy_slots=self._queue.busy,
            queued=self._queue.queued,
            device=str(self._placement.device),
            device_memory_bytes=total,
            device_memory_used_bytes=total - free,
            healthy=self._num_losses < DEAD_AFTER_LOSSES,
            counts=self._counts,
        )

    def _memory(self) -> tuple[int, int]:
        """Return the device's memory and its free part. The driver may take long to answer, so it is asked seldom."""
        now = time.monotonic()
        if now - self._memory_asked >= MEMORY_INTERVAL_S:
            self._memory_asked, self._memory_found = now, memory(self._placement.device)
        return self._memory_found

    async def close(self) -> None:
        """Stop the thread and free the device."""
        await asyncio.to_thread(self._thread.shutdown, wait=True, cancel_futures=True)
        self._pipeline = None
        await asyncio.to_thread(release, self._placement.device)


def _ns(latents: int, rate: float) -> int:
    return round(latents / rate * 1_000_000_000)
