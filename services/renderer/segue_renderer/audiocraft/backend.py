"""Models of audiocraft as a backend: one section at a time, whose sound comes at its end."""

from __future__ import annotations

import asyncio
import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch

from segue_music.plan import Continuity, Determinism, GuideKind, ModelProfile
from segue_renderer import torch_device
from segue_renderer.audiocraft.folder import AudiocraftFamily, AudiocraftFolder
from segue_renderer.audiocraft.package import AudiocraftModel
from segue_renderer.audiocraft.section_run import AudiocraftRun, CancelledRun
from segue_renderer.backend import BackendStatus, RenderAccepted, RenderedAudio, RenderFinished, RenderProgress
from segue_renderer.model_card import UNKNOWN_LICENSE
from segue_renderer.wait_queue import WaitQueue
from segue_runtime import errors, failpoints, logs

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from segue_renderer.backend import AudioClip, RenderEvent, RenderRequest
    from segue_runtime.settings import AudiocraftSettings

ENGINE_VERSION: Final = "audiocraft-1.3.0-1"
SAMPLING: Final = ("temperature", "top_k", "top_p", "guidance")
CONDITIONING_S: Final = 4.0
PROGRESS_INTERVAL_S: Final = 0.25
WARM_UP_FRAMES: Final = 25
SECOND_NS: Final = 1_000_000_000
LOAD_MEMORY: Final = failpoints.declare("audiocraft.load_memory", "there is no memory for the weights")
STEP: Final = failpoints.declare("audiocraft.step", "the device is lost while a section plays")
STEP_MEMORY: Final = failpoints.declare("audiocraft.step_memory", "there is no memory for a section")
log = logs.get("audiocraft")


class AudiocraftBackend:
    """One model on one device. audiocraft has one generator of random numbers for a batch, so there is one slot."""

    def __init__(self, settings: AudiocraftSettings) -> None:
        self._settings = settings
        self._path = Path(settings.model).expanduser()
        self._device = _device(settings.device)
        self._queue = WaitQueue(1)
        self._thread = ThreadPoolExecutor(1, "audiocraft", torch_device.use, (self._device,))
        self._runs: set[AudiocraftRun] = set()
        self._model: AudiocraftModel | None = None
        self._needs_restart = False
        self._profile = ModelProfile(model=self._path.name or "audiocraft", backend="audiocraft")

    @property
    def profiles(self) -> Sequence[ModelProfile]:
        """The one model."""
        return (self._profile,)

    async def describe(self) -> None:
        """Read settings, sizes, licence and digest of the folder."""
        self._profile = await asyncio.to_thread(lambda: self._profile_of(AudiocraftFolder.open(self._path)))

    def _profile_of(self, folder: AudiocraftFolder) -> ModelProfile:
        rate = folder.sizes.codec.frame_rate
        window_s, stride_s = folder.window_frames / rate, folder.stride_frames / rate
        precision = "fp32" if self._device.type == "cpu" else "fp16"
        return ModelProfile(
            model=self._profile.model,
            backend="audiocraft",
            model_digest=folder.digest,
            engine_version=f"{ENGINE_VERSION}-{precision}",
            sample_rate=folder.sizes.codec.sample_rate,
            channels=folder.sizes.decoder.channels,
            window_ns=round(window_s * SECOND_NS),
            stride_ns=round(stride_s * SECOND_NS),
            grid_ns=round(SECOND_NS / rate),
            min_window_ns=round(window_s * SECOND_NS) if folder.family is AudiocraftFamily.MAGNET else None,
            guides=(GuideKind.MELODY_AUDIO,) if folder.sizes.melody else (),
            continuities=(Continuity.NONE, Continuity.TAIL),
            determinism=Determinism.SEEDED,
            audio_at_end=True,
            uses_sampling=True,
            sampling=SAMPLING,
            uses_prompt=True,
            weights_license=folder.license,
            conditioning_ns=round(min(CONDITIONING_S, window_s - stride_s) * SECOND_NS),
        )

    async def load(self) -> None:
        """Load the weights and play a moment twice, which measures the speed."""
        await self.describe()
        if self._profile.weights_license == UNKNOWN_LICENSE:
            log.warning("the folder's card names no licence of the weights", model=self._profile.model)
        self._profile = await asyncio.get_running_loop().run_in_executor(self._thread, self._load)
        log.info(
            "model loaded",
            model=self._profile.model,
            device=str(self._device),
            license=self._profile.weights_license,
            real_time_factor=round(self._profile.real_time_factor, 2),
        )

    def _load(self) -> ModelProfile:
        if self._settings.threads:
            torch.set_num_threads(self._settings.threads)
        folder = AudiocraftFolder.open(self._path)
        try:
            torch_device.raise_out_of_memory_at(LOAD_MEMORY)
            self._model = AudiocraftModel(folder, self._device)
            factor = [_speed(self._model) for _ in range(2)][-1]
        except errors.SegueError:
            raise
        except Exception as error:
            self._model = None
            if torch_device.is_out_of_memory(error):
                raise errors.OutOfMemory(f"no memory to load {self._path}: {error}; try a smaller model") from error
            raise errors.ModelInvalid(
                f"{self._path}: audiocraft cannot load it: {type(error).__name__}: {error}"
            ) from error
        return replace(self._profile_of(folder), real_time_factor=factor, memory_bytes=max(1, self._model.num_bytes))

    async def render(self, request: RenderRequest) -> AsyncGenerator[RenderEvent, None]:
        """Render one section. Closing the generator ends the work at its next step."""
        model = self._loaded
        _check_request(request, model.folder)
        with self._queue.enter(request.owner) as position:
            run = AudiocraftRun(model.folder, request)
            yield RenderAccepted(
                profile=self._profile,
                sample_rate=self._profile.sample_rate,
                channels=self._profile.channels,
                continuous=run.context_frames > 0,
                queue_position=position.current,
            )
            async for current in position.updates():
                yield RenderProgress(0, run.samples, current)
            sound = None
            async with contextlib.aclosing(self._steps(run, model)) as steps:
                async for step in steps:
                    if isinstance(step, float):
                        yield RenderProgress(0, run.samples, fraction=step)
                    else:
                        sound = step
        if sound is None:
            raise errors.DeviceLost("the renderer is being closed")
        for first in range(0, len(sound), self._profile.sample_rate):
            yield RenderedAudio(first, sound[first : first + self._profile.sample_rate])
        yield RenderFinished(
            frames=run.samples,
            tail_frames=run.tail_samples,
            conditioning_applied=run.context_frames > 0,
            guide_applied=run.guide_applied,
            windows=len(run.windows),
            window_frames_used=run.window_frames_used,
            warnings=tuple(run.warnings_after()),
        )

    async def _steps(
        self, run: AudiocraftRun, model: AudiocraftModel
    ) -> AsyncGenerator[float | NDArray[np.float32], None]:
        """Yield the fraction that is done, from time to time, and then the sound."""
        loop = asyncio.get_running_loop()
        updates: asyncio.Queue[float | None] = asyncio.Queue()

        reported = 0.0

        def report(done: float) -> None:
            # On the thread: waking the event loop at every step takes a tenth of a small model's time.
            nonlocal reported
            if time.monotonic() - reported >= PROGRESS_INTERVAL_S:
                reported = time.monotonic()
                loop.call_soon_threadsafe(updates.put_nowait, done)

        work = loop.run_in_executor(self._thread, self._play, run, model, report)

        def ended(work: asyncio.Future[NDArray[np.float32] | None]) -> None:
            updates.put_nowait(None)
            if not work.cancelled():
                work.exception()  # a caller who has gone asks for no error

        work.add_done_callback(ended)
        self._runs.add(run)
        try:
            while (done := await updates.get()) is not None:
                yield done
            if (sound := await work) is not None:
                yield sound
        finally:
            run.cancel()
            self._runs.discard(run)

    def _play(
        self, run: AudiocraftRun, model: AudiocraftModel, report: Callable[[float], None]
    ) -> NDArray[np.float32] | None:
        try:
            failpoints.hit(STEP)
            torch_device.raise_out_of_memory_at(STEP_MEMORY)
            return run.play(model, report)
        except CancelledRun:
            return None
        except Exception as error:
            if torch_device.is_out_of_memory(error):
                raise errors.OutOfMemory(f"no memory for the section: {error}", retry_after_s=2) from error
            if "probability tensor contains" in str(error):
                raise errors.RenderInvalid("the model computed values that are not numbers") from error
            if torch_device.is_device_failure(error) or isinstance(error, failpoints.FailpointError):
                self._needs_restart = not torch_device.computes(self._device)
                raise errors.DeviceLost(f"the device failed: {error}", retry_after_s=1) from error
            raise

    @property
    def _loaded(self) -> AudiocraftModel:
        if self._model is None:
            raise errors.ModelNotInstalled("the model is not loaded")
        return self._model

    def status(self) -> BackendStatus:
        """Report slots, queue and memory."""
        total, free = torch_device.memory(self._device)
        return BackendStatus(
            slots=1,
            busy_slots=self._queue.busy,
            queued=self._queue.queued,
            device=str(self._device),
            device_memory_bytes=total,
            device_memory_used_bytes=total - free,
            healthy=not self._needs_restart,
            needs_restart=self._needs_restart,
        )

    async def close(self) -> None:
        """End all work, stop the thread and free the device."""
        for run in self._runs:
            run.cancel()
        await asyncio.to_thread(self._thread.shutdown)
        self._model = None
        await asyncio.to_thread(torch_device.release, self._device)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    found = torch_device.find_device(name, "renderer.audiocraft.device")
    if found.type not in {"cpu", "cuda"}:
        raise errors.DeviceRequired("renderer.audiocraft.device: audiocraft runs on cpu and cuda; use one of these")
    return found


def _speed(model: AudiocraftModel) -> float:
    """Play a moment; return the seconds of audio per second."""
    sizes = model.folder.sizes
    frames = min(WARM_UP_FRAMES, model.folder.window_frames)
    if model.folder.family is AudiocraftFamily.MAGNET:
        frames = model.folder.window_frames
    began = time.perf_counter()
    codes = model.generate(
        "warm up", None, frames, melody=None, seed=0, sampling={"top_k": 1}, report=lambda _done, _all: None
    )
    for _ in model.decode(codes, 0):
        pass
    seconds = time.perf_counter() - began
    return int(codes.shape[1]) / sizes.codec.frame_rate / seconds


def _check_request(request: RenderRequest, folder: AudiocraftFolder) -> None:
    """Refuse requests that the model cannot render, before any work."""
    if request.spec.frames < 1 or request.spec.sample_rate < 1:
        text = "a section needs at least one frame and a sample rate"
        raise errors.InvalidField(f"spec.frames: {text}", violations=[errors.FieldViolation("spec.frames", text)])
    rate, channels = folder.sizes.codec.sample_rate, folder.sizes.decoder.channels
    clips: list[tuple[str, AudioClip | None, set[int]]] = [
        ("conditioning", request.conditioning, {channels}), ("guide", request.guide, {1, 2})
    ]  # fmt: skip
    for name, clip, allowed in clips:
        if clip is None:
            continue
        if clip.sample_rate != rate:
            raise errors.InvalidAudio(f"{name}: its sample rate is {clip.sample_rate} Hz; resample it to {rate} Hz")
        if clip.samples.shape[1] not in allowed:
            raise errors.InvalidAudio(f"{name}: it has {clip.samples.shape[1]} channels; the model has {channels}")
