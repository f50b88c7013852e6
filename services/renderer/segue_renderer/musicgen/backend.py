"""MusicGen as a backend: many sections in one batch, each streamed while it is generated."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch

from segue_music.plan import Continuity, Determinism, GuideKind, ModelProfile, Warning  # noqa: A004  the contract's word
from segue_renderer.backend import BackendStatus, RenderAccepted, RenderedAudio, RenderFinished, RenderProgress
from segue_renderer.musicgen import device, graphs
from segue_renderer.musicgen.config import FRAMES_A_WINDOW, WEIGHTS_LICENSE
from segue_renderer.musicgen.engine import Engine
from segue_renderer.musicgen.loaded_model import load_model, open_folder
from segue_renderer.musicgen.runner import BatchRunner, capture_steps
from segue_renderer.musicgen.section_render import TEXT_TOKENS, SectionRender, WindowLimits, check_request
from segue_renderer.musicgen.warm_up import WarmUp
from segue_renderer.torch_device import DeviceMemory, is_out_of_memory, raise_out_of_memory_at, release
from segue_runtime import errors, failpoints, logs

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence

    from segue_renderer.backend import RenderEvent, RenderRequest
    from segue_renderer.musicgen.code_stream import CodeStream
    from segue_renderer.musicgen.config import ModelConfig
    from segue_renderer.musicgen.loaded_model import LoadedModel
    from segue_runtime.settings import MusicgenSettings

ENGINE_VERSION: Final = "musicgen-2"
GUIDES: Final = (GuideKind.NOTES, GuideKind.MELODY_AUDIO)
STRIDE_FRAMES: Final = 900
CONDITIONING_S: Final = 4.0
PROGRESS_INTERVAL_S: Final = 0.1
LOAD_MEMORY: Final = failpoints.declare("musicgen.load_memory", "there is no memory for the weights")
log = logs.get("musicgen")


class MusicgenBackend:
    """One model on one device."""

    def __init__(
        self,
        settings: MusicgenSettings,
        *,
        window_frames: int = FRAMES_A_WINDOW,
        stride_frames: int = STRIDE_FRAMES,
        memory_bytes: int = 0,
    ) -> None:
        """Take the settings, and the memory for weights and slots; 0: no limit."""
        self._settings = settings
        self._memory_bytes = memory_bytes
        self._folder = Path(settings.model).expanduser()
        self._device = device.choose(settings.device, settings.precision, settings.cuda_graphs)
        self._limits = WindowLimits(window_frames, stride_frames)
        self._slots = settings.slots
        self._engine = Engine(self._make_runner, self._slots or 1, self._device.device)
        self._model: LoadedModel | None = None
        self._num_graphs = 0
        self._loading = ""
        self._num_waiting = 0
        self._streams: set[CodeStream] = set()
        self._memory = DeviceMemory(self._device.device)
        self._profile = ModelProfile(model=self._folder.name or "musicgen", backend="musicgen")

    @property
    def profiles(self) -> Sequence[ModelProfile]:
        """The one model."""
        return (self._profile,)

    async def describe(self) -> None:
        """Read the sizes and the digest of the checkpoint."""
        self._profile = await asyncio.to_thread(self._described)

    def _described(self) -> ModelProfile:
        folder = open_folder(self._folder)
        uses_graphs = self._device.device.type == "cuda" and self._settings.cuda_graphs != "off"
        return self._profile_of(folder.config, folder.digest, has_graphs=uses_graphs)

    async def load(self) -> None:
        """Load the weights, allocate every slot and run a few steps, which the first request then need not wait for."""
        # The operator must know the licence before the first use.
        log.warning("the published MusicGen weights are licensed for non-commercial use", license=WEIGHTS_LICENSE)
        self._engine.start()
        self._profile = await self._engine.call(self._load)
        log.info(
            "model loaded",
            model=self._profile.model,
            device=str(self._device.device),
            precision=self._device.precision,
            slots=self._slots,
            graphs=self._num_graphs,
            real_time_factor=round(self._profile.real_time_factor, 2),
        )

    def _load(self) -> ModelProfile:
        try:
            return self._load_all()
        except Exception as error:
            self._model = None
            if not is_out_of_memory(error):
                raise
            raise errors.OutOfMemory(
                f"no memory to load {self._folder}: {error}; try fewer renderer.musicgen.slots, "
                "renderer.musicgen.precision bf16, or a smaller model"
            ) from error

    def _load_all(self) -> ModelProfile:
        if self._settings.threads:
            torch.set_num_threads(self._settings.threads)
        raise_out_of_memory_at(LOAD_MEMORY)
        self._report("weights")
        model = self._model = load_model(self._folder, precision=self._device.precision, device=self._device.device)
        self._slots = device.num_slots(
            self._settings.slots,
            model.config.decoder,
            self._device,
            positions=self._limits.window,
            text_positions=TEXT_TOKENS,
            left_bytes=self._memory_bytes - model.num_bytes if self._memory_bytes else None,
            percent=self._settings.memory_percent,
        )
        self._engine.resize(self._slots)
        self._report(f"{self._slots} slots")
        runner = self._engine.runner
        speed = self._warm_up(model, runner)
        self._memory.ask()
        self._report("")
        return replace(
            self._profile_of(model.config, model.digest, has_graphs=self._num_graphs > 0),
            real_time_factor=speed,
            memory_bytes=model.num_bytes + runner.caches.bytes_per_slot * self._slots,
        )

    def _warm_up(self, model: LoadedModel, runner: BatchRunner) -> float:
        contexts = sorted({self._conditioning_frames(model.config), self._limits.context})
        warm_up = WarmUp(model, runner, slots=self._slots, contexts=contexts)
        # On the CPU no kernel is loaded or planned, and the runs would take seconds.
        works = warm_up.works() if self._device.device.type != "cpu" else []
        for number, (name, work) in enumerate(works, 1):
            self._report(f"first runs, {number} of {len(works)}: {name}")
            work()
        self._report("its speed")
        return warm_up.speed()

    def _report(self, step: str) -> None:
        """Note the present step of loading for the log and the status."""
        self._loading = step
        if step:
            log.info("loading", model=self._profile.model, step=step)

    def _conditioning_frames(self, config: ModelConfig) -> int:
        return min(round(CONDITIONING_S * config.codec.frame_rate), self._limits.context)

    def _profile_of(self, config: ModelConfig, digest: str, *, has_graphs: bool) -> ModelProfile:
        """Return the profile without what only a loaded model can measure."""
        codec, decoder = config.codec, config.decoder
        second_ns = 1_000_000_000
        return ModelProfile(
            model=self._profile.model,
            backend="musicgen",
            model_digest=digest,
            engine_version=f"{ENGINE_VERSION}-{self._device.precision}{'-graphs' if has_graphs else ''}",
            sample_rate=codec.sample_rate,
            channels=decoder.channels,
            window_ns=round(self._limits.window / codec.frame_rate * second_ns),
            stride_ns=round(self._limits.stride / codec.frame_rate * second_ns),
            guides=GUIDES if config.melody else (),
            continuities=(Continuity.NONE, Continuity.TAIL, *([Continuity.MOTIF] if config.melody else [])),
            determinism=Determinism.SEEDED,
            uses_sampling=True,
            uses_prompt=True,
            uses_negative_prompt=True,
            weights_license=WEIGHTS_LICENSE,
            conditioning_ns=round(self._conditioning_frames(config) / codec.frame_rate * second_ns),
        )

    def _make_runner(self) -> BatchRunner:
        runner = BatchRunner(
            self._loaded,
            slots=self._slots,
            columns=self._limits.window + 1 + max(self._loaded.config.decoder.delays),
            text_positions=TEXT_TOKENS,
            cache_dtype=self._device.cache_dtype,
        )
        if self._device.device.type == "cuda":
            self._report("captured steps")
            capture = partial(graphs.CudaStepCapture, self._device.device)
            self._num_graphs = capture_steps(runner, self._settings.cuda_graphs, capture)
        return runner

    @property
    def _loaded(self) -> LoadedModel:
        if self._model is None:
            raise errors.ModelNotInstalled("the model is not loaded")
        return self._model

    async def render(self, request: RenderRequest) -> AsyncGenerator[RenderEvent, None]:
        """Render one section. Audio is sent as soon as later codes cannot change it."""
        check_request(request, self._loaded)
        with contextlib.ExitStack() as waiting:
            waiting.enter_context(self._counted_as_waiting())
            section = await self._engine.call(lambda: SectionRender(self._loaded, request, self._limits))
            await self._engine.call(section.prepare)
            reported = 0.0
            for index in range(len(section.windows)):
                if index > 0:
                    waiting.enter_context(self._counted_as_waiting())
                stream = self._engine.submit(await self._engine.call(partial(section.job, index)))
                self._streams.add(stream)
                try:
                    if index == 0:
                        # On the engine's thread the job is in the queue by now.
                        yield self._accepted(section, await self._engine.call(stream.queue_position))
                    async for position in stream.queue_positions():
                        yield RenderProgress(section.sent_samples, section.samples, position)
                    waiting.close()
                    async for codes in stream:
                        sound = await self._engine.call(partial(section.sound, codes))
                        stream.num_decoded += codes.shape[1]
                        if len(sound):
                            yield RenderedAudio(section.sent_samples - len(sound), sound)
                        if time.monotonic() - reported >= PROGRESS_INTERVAL_S:
                            reported = time.monotonic()
                            yield RenderProgress(min(section.sent_samples, section.samples), section.samples)
                finally:
                    self._streams.discard(stream)
                    stream.cancel()
        yield RenderFinished(
            frames=section.samples,
            tail_frames=section.tail_samples,
            conditioning_applied=section.context_frames > 0,
            guide_applied=section.guide_applied,
            windows=len(section.windows),
            window_frames_used=section.window_frames_used,
            warnings=tuple(section.warnings) + _not_used(request, section),
        )

    @contextlib.contextmanager
    def _counted_as_waiting(self) -> Iterator[None]:
        """Count a waiting request from its arrival on: simultaneous calls must not exceed the queue's limit."""
        self._num_waiting += 1
        try:
            yield
        finally:
            self._num_waiting -= 1

    def _accepted(self, section: SectionRender, position: int) -> RenderAccepted:
        config = self._loaded.config
        return RenderAccepted(
            profile=self._profile,
            sample_rate=config.codec.sample_rate,
            channels=config.decoder.channels,
            continuous=section.context_frames > 0,
            queue_position=position,
        )

    def status(self) -> BackendStatus:
        """Report slots, queue and memory."""
        total, free = self._memory.read()
        return BackendStatus(
            slots=max(1, self._slots),
            busy_slots=self._engine.busy_slots,
            queued=self._num_waiting,
            device=str(self._device.device),
            device_memory_bytes=total,
            device_memory_used_bytes=total - free,
            healthy=self._engine.healthy,
            needs_restart=self._engine.device_is_dead,
            loading_step=self._loading,
            counts=replace(
                self._engine.counts,
                codec_backlog_frames=sum(each.num_put - each.num_decoded for each in self._streams),
            ),
        )

    @property
    def num_steps(self) -> int:
        """The number of steps since the start, for benchmarks."""
        return self._engine.counts.steps

    async def close(self) -> None:
        """Stop the thread and free the device."""
        await self._engine.close()
        self._model = None
        await asyncio.to_thread(release, self._device.device)


def _not_used(request: RenderRequest, section: SectionRender) -> tuple[Warning, ...]:
    found = []
    sampling = request.spec.sampling
    if request.spec.negative_prompt and sampling is not None and sampling.guidance == 1:
        text = "guidance 1 does not compare with the negative_prompt, which has no effect"
        found.append(("negative_prompt_not_used", text))
    if request.spec.loop:
        found.append(
            ("loop_not_used", "the model cannot lead the end of a section into its own start; loop has no effect")
        )
    if (request.guide is not None or request.guide_notes) and not section.guide_applied:
        found.append(("guide_not_used", "the guide has no notes within the section"))
    elif request.spec.continuity == Continuity.MOTIF and not section.guide_applied:
        found.append(("motif_not_used", "the section has no motif, or the model follows no melody"))
    return tuple(Warning(code, text, request.spec.section_id) for code, text in found)
