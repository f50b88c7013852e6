"""MusicGen as a backend: many sections in one batch, each heard while it is generated."""

from __future__ import annotations

import contextlib
import statistics
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch

from segue_music.plan import Continuity, ModelProfile, Warning  # noqa: A004  the contract's word
from segue_renderer.backend import Accepted, AudioPiece, BackendStatus, Finished, Progress
from segue_renderer.musicgen import device, graphs
from segue_renderer.musicgen.conditions import conditions_of
from segue_renderer.musicgen.config import FRAMES_A_WINDOW, WEIGHTS_LICENSE
from segue_renderer.musicgen.engine import Engine, is_out_of_memory, trip
from segue_renderer.musicgen.loaded_model import open_model
from segue_renderer.musicgen.model.stream_decoder import StreamDecoder
from segue_renderer.musicgen.runner import Runner, Sampling, empty_prompt
from segue_renderer.musicgen.section_render import TEXT_TOKENS, Limits, Section, check
from segue_runtime import errors, failpoints, logs

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence

    from segue_renderer.backend import RenderEvent, RenderRequest
    from segue_renderer.musicgen.loaded_model import Model
    from segue_runtime.settings import MusicgenSettings

ENGINE_VERSION: Final = "musicgen-1"
SEEDED: Final = 2
GUIDES: Final = (1, 2)
STRIDE_FRAMES: Final = 900
CONDITIONING_S: Final = 4.0
PROGRESS_INTERVAL_S: Final = 0.1
WARM_UP_FRAMES: Final = 12
LOAD_MEMORY: Final = failpoints.declare("musicgen.load_memory", "there is no memory for the weights")
log = logs.get("musicgen")


class MusicgenBackend:
    """One checkpoint on one device."""

    def __init__(
        self, settings: MusicgenSettings, *, window_frames: int = FRAMES_A_WINDOW, stride_frames: int = STRIDE_FRAMES
    ) -> None:
        self._settings = settings
        self._folder = Path(settings.model).expanduser()
        self._place = device.choose(settings.device, settings.precision, settings.cuda_graphs)
        self._limits = Limits(window_frames, stride_frames)
        self._slots = settings.slots
        self._engine = Engine(self._make_runner, self._slots or 1)
        self._model: Model | None = None
        self._num_graphs = 0
        self._num_waiting = 0
        self._profile = ModelProfile(model=self._folder.name or "musicgen", backend="musicgen")

    @property
    def profiles(self) -> Sequence[ModelProfile]:
        """Its one model."""
        return (self._profile,)

    async def load(self) -> None:
        """Load the weights, allocate every slot and play a little, so that the first caller waits for nothing."""
        # Known before use: the published weights are not for sale.
        log.warning("the published MusicGen weights are licensed for non-commercial use", license=WEIGHTS_LICENSE)
        self._engine.start()
        self._profile = await self._engine.call(self._load)
        log.info(
            "model loaded",
            model=self._profile.model,
            device=str(self._place.device),
            precision=self._place.precision,
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
        trip(LOAD_MEMORY)
        model = self._model = open_model(self._folder, precision=self._place.precision, device=self._place.device)
        self._slots = device.num_slots(
            self._settings.slots,
            model.config.decoder,
            self._place,
            positions=self._limits.window,
            text_positions=TEXT_TOKENS,
        )
        self._engine.resize(self._slots)
        runner = self._engine.runner
        codec, decoder = model.config.codec, model.config.decoder
        second_ns = 1_000_000_000
        return ModelProfile(
            model=self._profile.model,
            backend="musicgen",
            model_digest=model.digest,
            engine_version=f"{ENGINE_VERSION}-{self._place.precision}{'-graphs' if self._num_graphs else ''}",
            sample_rate=codec.sample_rate,
            channels=decoder.channels,
            window_ns=round(self._limits.window / codec.frame_rate * second_ns),
            stride_ns=round(self._limits.stride / codec.frame_rate * second_ns),
            guides=GUIDES if model.config.melody else (),
            continuities=(Continuity.NONE, Continuity.TAIL, *([Continuity.MOTIF] if model.config.melody else [])),
            determinism=SEEDED,
            real_time_factor=_measure(model, runner),
            memory_bytes=model.num_bytes + runner.caches.bytes_a_slot * self._slots,
            uses_sampling=True,
            uses_prompt=True,
            weights_license=WEIGHTS_LICENSE,
            conditioning_ns=round(min(CONDITIONING_S, self._limits.context / codec.frame_rate) * second_ns),
        )

    def _make_runner(self) -> Runner:
        runner = Runner(
            self._loaded,
            slots=self._slots,
            columns=self._limits.window + 1 + max(self._loaded.config.decoder.delays),
            text_positions=TEXT_TOKENS,
            cache_dtype=self._place.cache_dtype,
        )
        if self._place.device.type == "cuda":
            recorder = partial(graphs.CudaRecorder, self._place.device)
            self._num_graphs = graphs.record(runner, self._settings.cuda_graphs, recorder)
        return runner

    @property
    def _loaded(self) -> Model:
        if self._model is None:
            raise errors.ModelNotInstalled("the model is not loaded")
        return self._model

    async def render(self, request: RenderRequest) -> AsyncGenerator[RenderEvent, None]:
        """Render one section; sound leaves as soon as nothing that follows can change it."""
        check(request, self._loaded)
        with contextlib.ExitStack() as waiting:
            waiting.enter_context(self._counted_as_waiting())
            section = await self._engine.call(lambda: Section(self._loaded, request, self._limits))
            await self._engine.call(section.prepare)
            reported = 0.0
            for index in range(len(section.windows)):
                if index > 0:
                    waiting.enter_context(self._counted_as_waiting())
                stream = self._engine.submit(await self._engine.call(partial(section.job, index)))
                try:
                    if index == 0:
                        # On the engine's thread: there it stands in the line by now.
                        yield self._accepted(section, await self._engine.call(stream.place))
                    async for place in stream.in_line():
                        yield Progress(section.sent_samples, section.samples, place)
                    waiting.close()
                    async for codes in stream:
                        sound = await self._engine.call(partial(section.sound, codes))
                        if len(sound):
                            yield AudioPiece(section.sent_samples - len(sound), sound)
                        if time.monotonic() - reported >= PROGRESS_INTERVAL_S:
                            reported = time.monotonic()
                            yield Progress(min(section.sent_samples, section.samples), section.samples)
                finally:
                    stream.cancel()
        yield Finished(
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
        """Count a request that waits, from its coming on: calls that come at once must not make the line too long."""
        self._num_waiting += 1
        try:
            yield
        finally:
            self._num_waiting -= 1

    def _accepted(self, section: Section, place: int) -> Accepted:
        config = self._loaded.config
        return Accepted(
            profile=self._profile,
            sample_rate=config.codec.sample_rate,
            channels=config.decoder.channels,
            continuous=section.context_frames > 0,
            queue_position=place,
        )

    def status(self) -> BackendStatus:
        """Say how busy it is."""
        total, free = device.memory(self._place.device)
        return BackendStatus(
            slots=max(1, self._slots),
            busy_slots=self._engine.busy_slots,
            queued=self._num_waiting,
            device=str(self._place.device),
            device_memory_bytes=total,
            device_memory_used_bytes=total - free,
        )

    @property
    def num_steps(self) -> int:
        """How many steps were made since the start, for measurements."""
        return self._engine.num_steps

    async def close(self) -> None:
        """Stop the thread and let go of the device."""
        await self._engine.close()
        self._model = None


def _measure(model: Model, runner: Runner) -> float:
    """Play a little alone; return seconds of sound a second."""
    conditions, _ = conditions_of(model, "warm up", TEXT_TOKENS)
    pattern = runner.pattern
    runner.begin(0, pattern.layout(empty_prompt(model), WARM_UP_FRAMES), 1, conditions, Sampling())
    steps = []
    for column in range(1, pattern.num_columns(WARM_UP_FRAMES)):
        began = time.perf_counter()
        runner.step(1, column + runner.prefix_positions)
        runner.is_finite(0)  # waits for the device
        steps.append(time.perf_counter() - began)
    began = time.perf_counter()
    decoder = StreamDecoder(model.codec, model.config.decoder.channels)
    decoder.push(torch.from_numpy(runner.frames(0, 0, WARM_UP_FRAMES)), last=True)
    decode_s = (time.perf_counter() - began) / WARM_UP_FRAMES
    return 1 / model.config.codec.frame_rate / (statistics.median(steps) + decode_s)


def _not_used(request: RenderRequest, section: Section) -> tuple[Warning, ...]:
    found = []
    if request.spec.negative_prompt:
        found.append(("negative_prompt_not_used", "the model is not told what it shall not play"))
    if (request.guide is not None or request.guide_notes) and not section.guide_applied:
        found.append(("guide_not_used", "nothing of the guide sounds within the section"))
    elif request.spec.continuity == Continuity.MOTIF and not section.guide_applied:
        found.append(("motif_not_used", "the section has no motif, or the model takes none"))
    return tuple(Warning(code, text, request.spec.section_id) for code, text in found)
