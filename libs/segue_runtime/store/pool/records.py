"""The records of the pool: what renderers offer, sections in the line, and leases of slots."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, order=True)
class ModelKey:
    """A model as takes depend on it: equal keys make equal audio."""

    model: str
    model_digest: str = ""
    engine_version: str = ""


class Warmth(IntEnum):
    """Whether a model can play at once; a lower value is preferred."""

    WARM = 0
    LOADING = 1
    COLD = 2


@dataclass(frozen=True, slots=True)
class OfferedModel:
    """One model of a renderer, as it is now."""

    key: ModelKey
    slots: int
    """How many of its sections the renderer renders at once."""
    profile: bytes = b""
    warmth: Warmth = Warmth.WARM
    load_s: float | None = None
    """The expected time until it can play; None if it is unknown."""
    speed: float = 0.0
    """The declared speed in seconds of audio a second; 0 if it is unknown."""


@dataclass(frozen=True, slots=True)
class RendererOffer:
    """What a renderer offers. It was checked: the numbers are bounded, and no model occurs twice."""

    renderer: str
    """The id of the renderer: its address, unless it joined by itself."""
    address: str
    slots: int
    """How many sections it renders at once, of all models together."""
    models: Sequence[OfferedModel]
    server_name: str = ""
    """The name in its certificate, if that is not the host of the address."""
    accepts: bool = True
    """Whether it accepts sections."""
    joined: bool = False
    """Whether it joined by itself."""
    stream: str = ""
    """The stream over which it joined; empty if it is known by address."""
    status: bytes = b""


@dataclass(frozen=True, slots=True)
class KnownRenderer:
    """A renderer that is present."""

    offer: RendererOffer
    num_leases: int
    """How many of its slots are leased."""


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model that a renderer offers, or offered within the retention time."""

    key: ModelKey
    profile: bytes
    is_served: bool
    """Whether a present renderer offers it."""
    speed: float
    """The median of its measured speeds, in seconds of audio a second; 0 if none was measured."""


@dataclass(frozen=True, slots=True)
class WaitingSection:
    """A section that a claim wants to have rendered."""

    job: str
    epoch: int
    section_id: str
    key: ModelKey
    due_in_s: float
    """The time until the listener needs it; negative if that is over."""
    audio_s: float
    """How much audio the model makes for it."""
    excluded: frozenset[str] = field(default_factory=frozenset[str])
    """Renderers that failed it. They are used only if no other renderer offers the model."""


@dataclass(frozen=True, slots=True)
class SectionLease:
    """The right of a claim to have one section rendered in a slot of a renderer."""

    ticket: int
    """The number of the section in the line."""
    lease: str
    """A random text that renderers can compare."""
    renderer: str
    address: str
    server_name: str
    was_warm: bool
    """Whether the model was loaded when the lease was given."""
    joined: bool = False
    """Whether the renderer joined by itself, and compares leases."""


@dataclass(frozen=True, slots=True)
class LeasedSection:
    """A lease as its renderer knows it."""

    lease: str
    section_id: str
    model: str


@dataclass(frozen=True, slots=True)
class LinePlace:
    """The place of a waiting section in the line of its model."""

    position: int
    """The number of sections that come before it, plus one."""
    wait_s: float | None
    """The expected wait; None while no speed is known."""
    is_served: bool
    """Whether a present renderer offers the model."""


class LeaseEnd(IntEnum):
    """How a lease ended."""

    RELEASED = 0
    """Neither success nor failure of the renderer."""
    DONE = 1
    """The section was rendered."""
    FULL = 2
    """The renderer had no room: it gets no sections for a moment."""
    ABSENT = 3
    """The renderer does not answer, or is shutting down: it counts as absent until it answers again."""
    LOST = 4
    """The renderer was lost while it had the section, or played another model: it is absent, and that is counted."""
