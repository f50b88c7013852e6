"""The models of this process: each section gets its model, loaded when needed, within the memory of the settings."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from segue_renderer.backend import BackendStatus
from segue_renderer.hosting.hosted_backend import UNHEALTHY, HostedBackend, HostedModel, ModelState
from segue_runtime import errors, logs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from segue_music.plan import ModelProfile
    from segue_renderer.backend import Backend
    from segue_renderer.hosting.load_records import LoadRecords
    from segue_renderer.hosting.step_watch import StepWatch

    ObserveLoad = Callable[[str, float], None]
    """Called after each load, with the model's name and the seconds."""

WATCH_S: Final = 0.5
MAX_MODELS: Final = 32
"""As in the contract."""
log = logs.get("renderer")


@dataclass(frozen=True)
class HostStatus:
    """Slots, queue and memory of the process, and the state of each model."""

    models: tuple[HostedModel, ...]
    whole: BackendStatus


class ModelHost:
    """Serves the models of several backends. The first is the default, and is loaded at the start."""

    def __init__(
        self,
        backends: Sequence[HostedBackend],
        *,
        memory_bytes: int = 0,
        records: LoadRecords | None = None,
        observe_load: ObserveLoad = lambda _model, _seconds: None,
    ) -> None:
        self._backends = tuple(backends)
        self._memory_bytes = memory_bytes
        self._records = records
        self._observe_load = observe_load
        self._one_load = asyncio.Lock()
        self._loads: dict[HostedBackend, asyncio.Task[None]] = {}
        self._retries: dict[HostedBackend, asyncio.Task[None]] = {}

    @classmethod
    def of(cls, backend: Backend) -> ModelHost:
        """Return a host of one loaded backend, which its caller closes."""
        return cls([HostedBackend(loaded=backend)])

    async def open(self) -> None:
        """Describe all models, without loading one."""
        for hosted in self._backends:
            await hosted.describe()
            if self._records is not None:
                await self._records.recall(hosted)
        names = [profile.model for profile in self.profiles]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise errors.InvalidField(f"renderer.backend: two models have the name {twice!r}")
        if len(names) > MAX_MODELS:
            raise errors.InvalidField(f"renderer.backend: {len(names)} models; a renderer serves at most {MAX_MODELS}")

    async def load_first(self) -> None:
        """Load the first model that can be loaded; raise the default's error if none can."""
        async with self._one_load:
            for hosted in self._backends:
                if hosted.ready is None:
                    await self._load(hosted)
                if hosted.is_loaded:
                    break
            else:
                raise self._backends[0].failure or errors.InternalError("no model could be loaded")
        for hosted in self._backends:
            if hosted.failure is not None:
                self._retry_later(hosted)

    async def close(self) -> None:
        """Stop loading, and close every backend."""
        tasks = [*self._loads.values(), *self._retries.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(hosted.close() for hosted in self._backends))

    @property
    def profiles(self) -> list[ModelProfile]:
        """The profiles of all models; the first is the default."""
        return [profile for hosted in self._backends for profile in hosted.profiles]

    def profile(self, model: str) -> ModelProfile:
        """Return a model's profile (empty: the default); ModelNotFound lists the models."""
        profiles = self.profiles
        for profile in profiles:
            if model in {"", profile.model}:
                return profile
        names = ", ".join(profile.model for profile in profiles)
        raise errors.ModelNotFound(
            f"this renderer has no model {model!r}; its models are {names}", metadata={"model": model, "models": names}
        )

    def num_free(self, model: str) -> int:
        """Return how many sections of a model can begin at once."""
        status = self._hosting(model).status()
        return max(0, status.slots - status.busy_slots)

    def status(self) -> HostStatus:
        """Return the state of each model, and of the whole process."""
        for hosted in self._backends:
            self._notice_failure(hosted)
        each = [hosted.status() for hosted in self._backends]
        # A GPU says more about the load than the machine's memory, in which the sketch band plays.
        needs_restart = any(hosted.needs_restart for hosted in self._backends)
        device = max(each, key=lambda status: (status.device != "cpu", status.device_memory_bytes))
        whole = BackendStatus(
            slots=max(1, self._num_slots()),
            busy_slots=sum(status.busy_slots for status in each),
            queued=sum(status.queued for status in each) + sum(hosted.num_waiting for hosted in self._backends),
            device=device.device,
            device_memory_bytes=device.device_memory_bytes,
            device_memory_used_bytes=device.device_memory_used_bytes,
            healthy=not needs_restart and any(hosted.state is not ModelState.FAILED for hosted in self._backends),
            needs_restart=needs_restart,
        )
        return HostStatus(tuple(model for hosted in self._backends for model in hosted.models()), whole)

    async def wait_for_restart(self) -> str:
        """Wait until only a new process can go on; return why."""
        while not self.status().whole.needs_restart:  # noqa: ASYNC110 - a backend says so only when it is asked
            await asyncio.sleep(WATCH_S)
        hanging = [hosted.name for hosted in self._backends if hosted.watch.is_stuck]
        if hanging:
            return f"{', '.join(hanging)} hangs: no step has ended for longer than renderer.step_limit"
        return "the device computes no more for this process"

    def watch(self, model: str) -> StepWatch:
        """Return what notices that a model's backend hangs."""
        return self._hosting(model).watch

    @contextlib.asynccontextmanager
    async def use(self, model: str) -> AsyncIterator[Backend]:
        """Give a section its backend, loaded; it stays loaded until the block is left."""
        hosted = self._hosting(model)
        backend = hosted.ready
        if backend is None:
            with hosted.waited_for():
                while (backend := hosted.ready) is None:
                    if hosted.failure is not None:
                        raise self._refusal(hosted, hosted.failure)
                    self._ask_for(hosted)
                    await hosted.changed()
        with hosted.used():
            yield backend

    def _hosting(self, model: str) -> HostedBackend:
        profile = self.profile(model)
        return next(hosted for hosted in self._backends if profile in hosted.profiles)

    def _refusal(self, hosted: HostedBackend, failure: errors.SegueError) -> errors.SegueError:
        return errors.NoRenderer(
            f"{hosted.name} could not be loaded on this renderer: {failure.message}",
            metadata={"service": "renderer"},
            retry_after_s=hosted.backoff_s,
        )

    def _ask_for(self, hosted: HostedBackend) -> None:
        """Let one task load a backend, for all who wait for it."""
        task = self._loads.get(hosted)
        if task is None or task.done():
            self._loads[hosted] = asyncio.create_task(self._load_for_waiting(hosted))

    async def _load_for_waiting(self, hosted: HostedBackend) -> None:
        async with self._one_load:
            if hosted.num_waiting and hosted.ready is None:
                await self._load(hosted)
        if hosted.failure is not None:
            self._retry_later(hosted)

    async def _load(self, hosted: HostedBackend) -> None:
        """Load a backend. A failure is kept in it."""
        try:
            await self._make_room(hosted)
            seconds = await self._load_or_unload_others(hosted)
        except errors.SegueError as error:
            hosted.fail(error)
            log.warning("a model could not be loaded", model=hosted.name, reason=error.message)
        except Exception as error:
            hosted.fail(errors.InternalError(f"{type(error).__name__} while it was loaded; see the renderer's log"))
            log.exception("a model could not be loaded", model=hosted.name, exc_info=error)
        else:
            log.info("model ready", model=hosted.name, seconds=round(seconds, 2))
            self._observe_load(hosted.name, seconds)
            if self._records is not None:
                await self._records.remember(hosted)

    async def _load_or_unload_others(self, hosted: HostedBackend) -> float:
        while True:
            try:
                seconds = await hosted.load()
                break
            except errors.OutOfMemory:
                others = [each for each in self._removable() if not each.num_users]
                if not others:
                    raise
                await self._unload(others[0])
        need = hosted.memory_bytes or 0
        if self._memory_bytes and self._loaded_bytes() > self._memory_bytes:
            await hosted.close()
            raise self._too_large(hosted, need)
        return seconds

    async def _make_room(self, hosted: HostedBackend) -> None:
        """Unload the backends of least use until a backend fits; alone, if its size is not known."""
        if not self._memory_bytes:
            return
        need = hosted.memory_bytes
        if need is not None and need > self._memory_bytes:
            raise self._too_large(hosted, need)
        while not self._fits(need) and (others := self._removable()):
            await self._unload(others[0])

    def _fits(self, need: int | None) -> bool:
        if not self._memory_bytes:
            return True
        used = self._loaded_bytes()
        return not used if need is None else used + need <= self._memory_bytes

    def _loaded_bytes(self) -> int:
        return sum(hosted.memory_bytes or 0 for hosted in self._backends if hosted.is_loaded)

    def _removable(self) -> list[HostedBackend]:
        """List the loaded backends that occupy memory: idle ones first, then by least use."""
        found = [each for each in self._backends if each.ready and each.can_reload and each.memory_bytes]
        return sorted(found, key=lambda each: (each.num_users > 0, each.last_used))

    async def _unload(self, hosted: HostedBackend) -> None:
        log.info("model unloaded", model=hosted.name, after_sections=hosted.num_users)
        await hosted.unload()

    def _too_large(self, hosted: HostedBackend, need: int) -> errors.SegueError:
        return errors.OutOfMemory(
            f"{hosted.name} needs {need} bytes; renderer.memory_bytes allows {self._memory_bytes} for all models"
        )

    def _num_slots(self) -> int:
        """Return the slots of the models that can be loaded together, those of most use first."""
        left, slots = self._memory_bytes, 0
        for hosted in sorted(self._backends, key=lambda each: (not each.is_loaded, -each.last_used)):
            need = hosted.memory_bytes
            need = self._memory_bytes if need is None else need
            if hosted.state is not ModelState.FAILED and (not self._memory_bytes or need <= left):
                left -= need
                slots += hosted.status().slots
        return slots

    def _notice_failure(self, hosted: HostedBackend) -> None:
        """Load a backend again that cannot render any more."""
        can_reload = hosted.can_reload and not hosted.needs_restart
        if hosted.ready and not hosted.is_healthy and can_reload and hosted not in self._retries:
            log.error("a model has failed", model=hosted.name)
            self._retry_later(hosted)

    def _retry_later(self, hosted: HostedBackend) -> None:
        if hosted not in self._retries:
            task = self._retries[hosted] = asyncio.create_task(self._retry(hosted))
            task.add_done_callback(lambda _: self._retries.pop(hosted, None))

    async def _retry(self, hosted: HostedBackend) -> None:
        """Load a failed backend again, with growing pauses. One that would displace others waits for a section."""
        while hosted.failure is not None or not hosted.is_healthy:
            await asyncio.sleep(hosted.backoff_s)
            async with self._one_load:
                if hosted.is_loaded and not hosted.is_healthy:
                    hosted.fail(errors.DeviceLost(UNHEALTHY))
                    await hosted.unload()
                if hosted.failure is not None and self._fits(hosted.memory_bytes):
                    await self._load(hosted)
                else:
                    hosted.failure = None
