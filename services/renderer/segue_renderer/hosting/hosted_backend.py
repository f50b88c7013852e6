"""One backend of this process: its state, its users, and how it is made, loaded, closed and made again."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from segue_renderer.backend import BackendStatus
from segue_renderer.hosting.step_watch import StepWatch
from segue_runtime import errors, logs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from segue_music.plan import ModelProfile
    from segue_renderer.backend import Backend, StepCounts

    MakeBackend = Callable[[], Backend]

FIRST_BACKOFF_S: Final = 2.0
LONGEST_BACKOFF_S: Final = 300.0
UNHEALTHY: Final = "it cannot render any more; see the renderer's log"
log = logs.get("renderer")


class ModelState(Enum):
    """Whether a model can play at once."""

    COLD = "cold"
    LOADING = "loading"
    WARM = "warm"
    FAILED = "failed"


@dataclass(frozen=True)
class HostedModel:
    """The present state of one model."""

    profile: ModelProfile
    state: ModelState
    slots: int
    busy_slots: int
    load_s: float | None
    """Expected seconds until it can play; None if they are unknown, or it can play."""
    reason: str
    memory_bytes: int
    loading_step: str
    counts: StepCounts | None


class HostedBackend:
    """A backend with its models. Only ModelHost calls `load` and `unload`, one at a time."""

    def __init__(
        self, make: MakeBackend | None = None, *, loaded: Backend | None = None, watch: StepWatch | None = None
    ) -> None:
        """Take a maker, or a backend that is loaded and belongs to somebody else: it is never unloaded."""
        self.watch = watch or StepWatch()
        self._make = make
        self._backend = loaded
        self._is_loaded = loaded is not None
        self._load_began: float | None = None
        self._status = BackendStatus(slots=1, busy_slots=0, queued=0)
        self._idle = asyncio.Event()
        self._idle.set()
        self._none_waiting = asyncio.Event()
        self._none_waiting.set()
        self._changed = asyncio.Event()
        self.profiles: Sequence[ModelProfile] = loaded.profiles if loaded else ()
        self.known_load_s: float | None = None
        """How long loading took before."""
        self.failure: errors.SegueError | None = None
        self.num_failures = 0
        self.is_leaving = False
        """It is unloaded as soon as its last section ends; new sections wait until it is loaded again."""
        self.num_users = 0
        self.num_waiting = 0
        self.last_used = 0.0

    @property
    def name(self) -> str:
        """The name of its first model, for logs and messages."""
        return self.profiles[0].model if self.profiles else "?"

    @property
    def ready(self) -> Backend | None:
        """The backend, if sections may begin on it now."""
        return self._backend if self._is_loaded and not self.is_leaving else None

    @property
    def is_loaded(self) -> bool:
        """Whether it occupies memory."""
        return self._is_loaded

    @property
    def can_reload(self) -> bool:
        """Whether it can be unloaded and loaded again."""
        return self._make is not None

    @property
    def state(self) -> ModelState:
        """Whether its models can play."""
        if self._load_began is not None:
            return ModelState.LOADING
        if self.failure is not None or not self.is_healthy:
            return ModelState.FAILED
        return ModelState.WARM if self.ready else ModelState.COLD

    @property
    def is_healthy(self) -> bool:
        """Whether a loaded backend can render."""
        return not self._is_loaded or self.status().healthy

    @property
    def needs_restart(self) -> bool:
        """Whether only a new process can load it again."""
        return self._is_loaded and (self.watch.is_stuck or self.status().needs_restart)

    @property
    def memory_bytes(self) -> int | None:
        """The memory that it needs when it is loaded; None if it was never measured."""
        measured = sum(profile.memory_bytes for profile in self.profiles)
        has_weights = any(profile.model_digest for profile in self.profiles)
        return None if has_weights and not measured else measured

    @property
    def backoff_s(self) -> float:
        """Seconds between a failure and the next try."""
        return min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** max(0, self.num_failures - 1))

    def status(self) -> BackendStatus:
        """Return slots, queue and memory; the last known slots while it is not loaded."""
        if self._backend is not None:
            self._status = self._backend.status()
        return self._status

    def models(self) -> list[HostedModel]:
        """Return the state of each model."""
        status, state = self.status(), self.state
        reason = self.failure.message if self.failure else UNHEALTHY
        return [
            HostedModel(
                profile=profile,
                state=state,
                slots=status.slots,
                busy_slots=status.busy_slots,
                load_s=self._expected_load_s(state),
                reason=reason if state is ModelState.FAILED else "",
                memory_bytes=profile.memory_bytes if self._is_loaded else 0,
                loading_step=status.loading_step if state is ModelState.LOADING else "",
                counts=status.counts,
            )
            for profile in self.profiles
        ]

    def _expected_load_s(self, state: ModelState) -> float | None:
        if self.known_load_s is None or state not in {ModelState.COLD, ModelState.LOADING}:
            return None
        began = self._load_began
        return self.known_load_s if began is None else max(0.0, self.known_load_s - (time.monotonic() - began))

    async def describe(self) -> None:
        """Make the backend and read its profiles, without its weights."""
        if self._is_loaded:
            return
        backend = await self._made()
        await backend.describe()
        self.profiles = tuple(backend.profiles)

    async def load(self) -> float:
        """Load it; return the seconds. After an error it is not loaded, and a later call tries again."""
        self._load_began = time.monotonic()
        try:
            backend = await self._made()
            await backend.load()
        except BaseException:
            await self._discard()
            raise
        finally:
            seconds, self._load_began = time.monotonic() - self._load_began, None
        self.profiles = tuple(backend.profiles)
        self._is_loaded = True
        self.failure = None
        self.known_load_s = seconds
        self.last_used = time.monotonic()
        self._notify()
        return seconds

    async def unload(self) -> None:
        """Wait until its sections have ended, then close it."""
        # The sections that it was loaded for begin first: two models must not displace each other for ever.
        await self._none_waiting.wait()
        self.is_leaving = True
        try:
            await self._idle.wait()
            await self._discard()
        finally:
            self.is_leaving = False

    async def close(self) -> None:
        """Close it at once."""
        if self._make is not None:
            await self._discard()

    @contextlib.contextmanager
    def used(self) -> Iterator[None]:
        """Count a section that runs on it, or waits in its queue."""
        self.num_users += 1
        self._idle.clear()
        try:
            yield
            self.num_failures = 0
        finally:
            self.num_users -= 1
            self.last_used = time.monotonic()
            if not self.num_users:
                self._idle.set()

    @contextlib.contextmanager
    def waited_for(self) -> Iterator[None]:
        """Count a section that waits until it is loaded."""
        self.num_waiting += 1
        self._none_waiting.clear()
        try:
            yield
        finally:
            self.num_waiting -= 1
            if not self.num_waiting:
                self._none_waiting.set()

    def fail(self, error: errors.SegueError) -> None:
        """Remember why it could not be loaded."""
        self.failure = error
        self.num_failures += 1
        self._notify()

    async def changed(self) -> None:
        """Wait until it was loaded, or could not be."""
        await self._changed.wait()

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _made(self) -> Backend:
        if self._backend is None:
            if self._make is None:
                raise errors.InternalError("this backend cannot be made again")
            # In a thread: the packages of a backend may take seconds to import.
            self._backend = await asyncio.to_thread(self._make)
        return self._backend

    async def _discard(self) -> None:
        backend, self._backend, self._is_loaded = self._backend, None, False
        if backend is not None:
            self._status = BackendStatus(slots=self._status.slots, busy_slots=0, queued=0, device=self._status.device)
            await backend.close()
