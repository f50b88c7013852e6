"""The small interface behind which every way of making a section stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from segue_music.elements import Note
    from segue_music.plan import ModelProfile, SectionSpec, Warning  # noqa: A004  the contract's word

    Samples: TypeAlias = NDArray[np.float32]
    """Sound as float32 of shape (frames, channels), full scale 1.0."""


@dataclass(frozen=True)
class Sound:
    """Sound with its rate, as it is handed to a backend."""

    samples: Samples
    sample_rate: int


@dataclass(frozen=True)
class RenderRequest:
    """One section to render."""

    spec: SectionSpec
    model: str
    seed: int
    stems: bool = False
    notes: bool = False
    overlap_frames: int = 0
    """How many frames beyond spec.frames the next join wants, of the timeline."""
    conditioning: Sound | None = None
    """The end of the section before, for CONTINUITY_TAIL."""
    guide: Sound | None = None
    guide_notes: tuple[Note, ...] = ()
    owner: str = ""


@dataclass(frozen=True)
class Accepted:
    """First of every rendering: who plays and in which format."""

    profile: ModelProfile
    sample_rate: int
    channels: int
    declared_lufs: float | None = None
    sample_locked: bool = False
    continuous: bool = False
    queue_position: int = 0


@dataclass(frozen=True)
class Progress:
    """How far it is, in frames of the accepted format."""

    frames_done: int
    frames_total: int
    queue_position: int = 0


@dataclass(frozen=True)
class AudioPiece:
    """Sound in time order for each layer; `layer` empty is the mix, else a stem ("bass", …, "fx")."""

    first_frame: int
    samples: Samples
    layer: str = ""


@dataclass(frozen=True)
class NotesPiece:
    """Notes that are played, in ticks from the section's start."""

    notes: tuple[Note, ...]


@dataclass(frozen=True)
class Finished:
    """Last of every rendering: what was really done."""

    frames: int
    tail_frames: int = 0
    conditioning_applied: bool = False
    guide_applied: bool = False
    windows: int = 1
    window_frames_used: int = 0
    ending: bool = False
    warnings: tuple[Warning, ...] = ()


RenderEvent: TypeAlias = Accepted | Progress | AudioPiece | NotesPiece | Finished


@dataclass(frozen=True)
class BackendStatus:
    """How busy a backend is."""

    slots: int
    busy_slots: int
    queued: int
    device: str = "cpu"
    device_memory_bytes: int = 0
    device_memory_used_bytes: int = 0


class Backend(Protocol):
    """A way of making sections: `sketch`, `musicgen`, or what you add.

    A backend refuses what it cannot honour by raising an error of segue_runtime.errors before `Accepted`, or names
    it in a warning of `Finished`. It never blocks the event loop: heavy work runs in a thread of its own.
    """

    @property
    def profiles(self) -> Sequence[ModelProfile]:
        """The models that it plays; the first is its default."""
        ...

    async def load(self) -> None:
        """Make ready: load weights, warm caches. SERVING comes after this."""
        ...

    def render(self, request: RenderRequest) -> AsyncGenerator[RenderEvent, None]:
        """Render one section. Closing the iterator cancels within one step and frees the slot."""
        ...

    def status(self) -> BackendStatus:
        """Say how busy it is."""
        ...

    async def close(self) -> None:
        """Stop its threads and free its device."""
        ...
