"""The form as requested by the caller, the prompt or a language model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from segue_music.plan import Role
    from segue_planner.prompt.prompt_facts import MetreChange


@dataclass(frozen=True)
class FormRequest:
    """The requested sections."""

    roles: tuple[Role, ...] = ()
    """The sections in order; empty: genre and length decide."""
    role_bars: Mapping[Role, int] = field(default_factory=dict)
    form_bars: tuple[int, ...] = ()
    """The stated bars of each of `roles`."""
    counts: Mapping[Role, int] = field(default_factory=dict)
    """How often a role occurs."""
    least_sections: int = 0
    first: Role | None = None
    """The role that begins the piece."""
    last: Role | None = None
    """The role that ends the piece."""
    metres: tuple[MetreChange, ...] = ()
    """Sections in another metre than the piece."""
    has: tuple[Role, ...] = ()
    """Roles that must occur."""
    without: frozenset[Role] = frozenset()
    long_start: bool = False
    long_end: bool = False
    loop: bool = False
    most_bars: int = 0
    """The bars of the longest section that the model accepts, 0 for no limit. Longer sections are divided."""
    first_bars: int = 0
    """The bars of the longest first section, 0 for no limit. A longer one that nobody asked for is divided."""
    proposed_bars: tuple[int, ...] = ()
    """The bars that a language model proposes for each of `roles`, 0 for the usual number.

    When they are set, `roles` is a proposal, which a length without room for it may drop.
    """
    cuts: tuple[int, ...] = ()
    """The bars at which sections are divided, because something happens there."""
    keeps_roles: bool = False
    """Whether the roles stay even so, and only the proposed bars are dropped."""


@dataclass(frozen=True)
class ProposedSection:
    """A section that a language model proposes. Bars 0: the usual number; no chords: those of the genre."""

    role: Role
    bars: int = 0
    chords: tuple[str, ...] = ()
    words: str = ""
