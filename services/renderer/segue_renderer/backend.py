"""The interface of a backend: a request for one section goes in, events come out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from segue_music.elements import LayerKind
from segue_music.plan import GuideKind, LayerTask

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from segue_music.elements import Note
    from segue_music.plan import ModelProfile, SectionSpec, Warning  # noqa: A004  the contract's word

    Samples: TypeAlias = NDArray[np.float32]
    """Audio as float32 of shape (frames, channels); full scale is 1.0."""


@dataclass(frozen=True)
class AudioClip:
    """Audio that a caller sends: conditioning, following, a guide or a mix."""

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
    """Frames that the next join wants beyond spec.frames, at the timeline's rate."""
    conditioning: AudioClip | None = None
    """The end of the section before, for CONTINUITY_TAIL."""
    following: AudioClip | None = None
    """The start of the section after, which the audio leads into. It begins where spec.frames end."""
    guide: AudioClip | None = None
    guide_kind: GuideKind = GuideKind.UNSPECIFIED
    """What the guide is: MELODY_AUDIO or TIMBRE_AUDIO, and UNSPECIFIED without one."""
    guide_notes: tuple[Note, ...] = ()
    owner: str = ""
    layer_task: LayerTask = LayerTask.UNSPECIFIED
    """What to do with one layer instead of making the section: ADD or EXTRACT."""
    task_layer: LayerKind = LayerKind.UNSPECIFIED
    """The layer of `layer_task`; the audio that comes is this layer alone."""
    mix: AudioClip | None = None
    """What the layer is added to or taken out of: the section at the model's rate, and perhaps some of its tail."""


@dataclass(frozen=True)
class RenderAccepted:
    """The first event: the model and the audio format."""

    profile: ModelProfile
    sample_rate: int
    channels: int
    declared_lufs: float | None = None
    sample_locked: bool = False
    continuous: bool = False
    queue_position: int = 0


@dataclass(frozen=True)
class RenderProgress:
    """Progress in frames of the accepted format, as a fraction of the work, or the position in the queue."""

    frames_done: int
    frames_total: int
    queue_position: int = 0
    fraction: float = 0.0
    """The part of the work that is done, of models with `audio_at_end`."""


@dataclass(frozen=True)
class RenderedAudio:
    """Audio of one layer, in time order. An empty `layer` is the mix; others are stems ("bass", …, "fx")."""

    first_frame: int
    samples: Samples
    layer: str = ""


@dataclass(frozen=True)
class RenderedNotes:
    """Notes that the backend plays, in ticks from the section's start."""

    notes: tuple[Note, ...]


@dataclass(frozen=True)
class RenderFinished:
    """The last event: what the backend did."""

    frames: int
    tail_frames: int = 0
    conditioning_applied: bool = False
    guide_applied: bool = False
    windows: int = 1
    window_frames_used: int = 0
    ending: bool = False
    warnings: tuple[Warning, ...] = ()
    following_applied: bool = False
    lyrics_applied: bool = False


RenderEvent: TypeAlias = RenderAccepted | RenderProgress | RenderedAudio | RenderedNotes | RenderFinished


@dataclass(frozen=True)
class StepCounts:
    """What a backend that renders in steps over a batch has done since it was made."""

    steps: int = 0
    rows: int = 0
    """Sections that were in those steps, added up."""
    step_seconds: float = 0.0
    joins: int = 0
    codec_backlog_frames: int = 0
    """Frames of the model that are generated and not yet audio, now."""
    device_losses: int = 0
    out_of_memory: int = 0


@dataclass(frozen=True)
class BackendStatus:
    """Slots, queue and device memory."""

    slots: int
    busy_slots: int
    queued: int
    device: str = "cpu"
    device_memory_bytes: int = 0
    device_memory_used_bytes: int = 0
    healthy: bool = True
    """False while it cannot render: its device or its thread has failed. The renderer is NOT_SERVING then."""
    needs_restart: bool = False
    """True when only a new process can use the device again: this one ends with an error, for its supervisor."""
    loading_step: str = ""
    """While it is loaded: what it does now, for people."""
    counts: StepCounts | None = None


class Backend(Protocol):
    """Renders sections: `sketch`, `musicgen`, or a backend that you add.

    A backend honours a field of the request, names it in a warning of `RenderFinished`, or refuses it: it raises an
    error of segue_runtime.errors before `RenderAccepted`. Heavy work runs in threads, never on the event loop.
    """

    @property
    def profiles(self) -> Sequence[ModelProfile]:
        """The models that it plays, which are loaded together and share its slots; the first is the default."""
        ...

    async def describe(self) -> None:
        """Complete the profiles without loading weights; afterwards `load` changes measured values only.

        It may read files. A backend that knows its profiles from the start does nothing.
        """
        ...

    async def load(self) -> None:
        """Load weights and warm caches. After an error the backend is closed, and another one is made later."""
        ...

    def render(self, request: RenderRequest) -> AsyncGenerator[RenderEvent, None]:
        """Render one section. Closing the generator cancels within one step and frees the slot."""
        ...

    def status(self) -> BackendStatus:
        """Report slots, queue, memory and health."""
        ...

    async def close(self) -> None:
        """Stop threads and free the device."""
        ...
