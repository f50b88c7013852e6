"""The facts that hold for the whole piece."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from segue_music.elements import Key, Metre
    from segue_music.plan import Kind
    from segue_planner.genres.genre import Genre


@dataclass(frozen=True)
class TempoRange:
    """A tempo in quarters a minute: a preferred value in a range. A stated tempo is a range of one value."""

    preferred: float
    slowest: float
    fastest: float
    is_stated: bool


@dataclass(frozen=True)
class PieceFacts:
    """The values that are decided before the form."""

    genre: Genre
    metre: Metre
    metre_is_stated: bool
    key: Key
    tempo: TempoRange
    frames: int | None
    """The length, stated or by default; None: it follows from `bars`."""
    bars: int | None
    sample_rate: int
    kind: Kind
    valence: float
    arousal: float
